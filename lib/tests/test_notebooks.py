"""The chapters themselves, through papermill as a reader would call it."""

import ast
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
RUNS = {
    "good": ("03_snr_trajectories", "-p gamma 20 -p T 200 -p profile smoke", None),
    "good digits": ("10_progressive_ddgan", "-p data_name digits -p profile smoke", None),
    "gamma beyond T": ("03_snr_trajectories", "-p gamma 300 -p T 200", "gamma must be a number above 0 and below 200"),
    "T of 0": ("03_snr_trajectories", "-p T 0", "T must be an integer from 1 to 100000, not 0."),
    "gamma of letters": ("03_snr_trajectories", "-p gamma abc", "gamma must be a number above 0"),
    "unknown profile": (
        "01_wiener_evolution",
        "-p profile fast",
        "profile must be one of smoke, cpu, gpu",
    ),
    "lam of 0": ("04_few_step_error", "-p lam 0", "lam must be a number above 0"),
    "unknown sampler": ("04_few_step_error", "-p sampler euler", "sampler must be one of reverse, ancestral"),
    "network of another kind": (
        "00_sampling",
        "-p network mnist-classifier",
        "must hold a network under EDM's preconditioning",
    ),
    "steps of 1": ("00_sampling", "-p steps 1", "steps must be an integer from 2 to 60, not 1."),
    "exponent NaN": ("01_wiener_evolution", "-p exponent nan", "exponent must be a number of at least 0 and at most 4"),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Every run of the table, two at a time, in an environment without this project's settings."""
    folder = tmp_path_factory.mktemp("papermill")
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(RUNS, pool.map(lambda name: papermill(name, folder), RUNS), strict=True))


def papermill(name, folder):
    """Exit code and everything printed, of papermill as a reader calls it."""
    notebook, options, _ = RUNS[name]
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "papermill", NOTEBOOKS / f"{notebook}.ipynb", folder / f"{name}.ipynb"]
    for _ in range(3):
        done = subprocess.run(
            [*command, "--no-progress-bar", *options.split()],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        # A kernel's ports are chosen before it takes them; where another program was quicker, nothing of ours has run.
        if "Address already in use" not in done.stdout:
            break
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", [name for name in RUNS if RUNS[name][2] is None])
def test_a_chapter_runs_with_the_readers_parameters(name, ended):
    """Chapter 10's with networks that are there, of digits."""
    code, said = ended[name]
    assert code == 0, said


@pytest.mark.parametrize("name", [name for name in RUNS if RUNS[name][2] is not None])
def test_bad_parameters_end_with_one_sentence(name, ended):
    """Non-zero, and the last thing papermill says is the sentence, without a traceback of ours above it."""
    code, said = ended[name]
    assert code != 0
    last = said.strip().splitlines()[-1]
    assert last.startswith("ParameterError: ") and RUNS[name][2] in last and last.endswith("."), said
    assert "parameters.py" not in said


def thrown_away(source):
    """Lines of a cell on which a table is made and not shown: as a statement that is not the cell's last expression."""
    code = re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.MULTILINE)
    tree = ast.parse(code)
    last = tree.body[-1] if tree.body else None
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and node is not last
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "figures.table"
    ]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_table_is_shown(path):
    """`figures.table` returns what the end of a cell displays; in a loop it has to be told to."""
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert thrown_away("".join(cell["source"])) == []


def test_a_table_that_is_thrown_away_is_found():
    loop = "for k in range(2):\n    figures.table(k)"
    assert thrown_away(loop) == [2] and thrown_away("!ls\nfigures.table(1)\nx = 1") == [2]
    assert thrown_away("for k in range(2):\n    display(figures.table(k))\nfigures.table(3)") == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_that_is_opened_alone_brings_what_it_needs(path):
    """Colab opens one file: its first code cell but the parameters' must fetch the rest, and not in a comment."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = "".join("".join(cell["source"]) + "\n" for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "    !git clone -q --depth 1" in code and '\n    %pip install -q -e "./fewsteps[book]"\n' in code
    assert notebook["metadata"]["language_info"]["pygments_lexer"] == "ipython3"  # or its magics are no code to Sphinx

"""The chapters themselves, through papermill as a reader would call it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
RUNS = {
    "good": ("03_snr_trajectories", "-p gamma 20 -p T 200 -p profile smoke", None),
    "gamma beyond T": ("03_snr_trajectories", "-p gamma 300 -p T 200", "gamma must be a number above 0 and below 200"),
    "T of 0": ("03_snr_trajectories", "-p T 0", "T must be an integer from 1 to 100000, not 0."),
    "gamma of letters": ("03_snr_trajectories", "-p gamma abc", "gamma must be a number above 0"),
    "unknown profile": (
        "01_wiener_evolution",
        "-p profile fast",
        "profile must be one of smoke, cpu, gpu",
    ),
    "exponent NaN": ("01_wiener_evolution", "-p exponent nan", "exponent must be a number of at least 0 and at most 4"),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Every run of the table, two at a time, in an environment without this project's settings."""
    folder = tmp_path_factory.mktemp("papermill")
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ} | {"OMP_NUM_THREADS": "1"}
    waiting, ended = list(RUNS), {}
    while waiting:
        pair = [waiting.pop(0) for _ in range(min(2, len(waiting)))]
        running = {}
        for name in pair:
            notebook, options, _ = RUNS[name]
            command = [
                sys.executable,
                "-m",
                "papermill",
                str(NOTEBOOKS / f"{notebook}.ipynb"),
                str(folder / f"{name}.ipynb"),
            ]
            running[name] = subprocess.Popen(
                [*command, "--no-progress-bar", *options.split()],
                cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        for name, process in running.items():
            said, _ = process.communicate(timeout=300)
            ended[name] = process.returncode, said
    return ended


def test_a_chapter_runs_with_the_readers_parameters(ended):
    code, said = ended["good"]
    assert code == 0, said


@pytest.mark.parametrize("name", [name for name in RUNS if name != "good"])
def test_bad_parameters_end_with_one_sentence(name, ended):
    """Non-zero, and the last thing papermill says is the sentence, without a traceback of ours above it."""
    code, said = ended[name]
    assert code != 0
    last = said.strip().splitlines()[-1]
    assert last.startswith("ParameterError: ") and RUNS[name][2] in last and last.endswith("."), said
    assert "parameters.py" not in said

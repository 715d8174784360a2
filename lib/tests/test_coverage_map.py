"""The coverage map says the truth: every row is there, and what it lists exists and cites it."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from fewsteps.book.coverage import PAPERS, Row, cites, load, page
from fewsteps.errors import UserError

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parents[1]

# Written out, not counted: this list is the contract, the yaml file is checked against it.
IDS = """
    BASE-NCSN BASE-NCSNv2 BASE-VE-PC BASE-VE-ANC BASE-DDPM BASE-DDIM BASE-ADDIM BASE-DPMS BASE-HEUN BASE-DDGAN BASE-LDM
    BASE-VP BASE-DIFFAE
    TDAS-1 TDAS-2 TDAS-3 TDAS-4 TDAS-5 TDAS-6 TDAS-7 TDAS-8 TDAS-9 TDAS-10 TDAS-11 TDAS-12
    PDS-1 PDS-2 PDS-3 PDS-4 PDS-5 PDS-6 PDS-7 PDS-8 PDS-9 PDS-10 PDS-11
    SD-1 SD-2 SD-3 SD-4 SD-5 SD-6 SD-7 SD-8 SD-9 SD-10 SD-11
    PX-1 PX-2 PX-3 PX-4 PX-5 PX-6 PX-7 PX-8 PX-9 PX-10 PX-11
    PD-1 PD-2 PD-3 PD-4 PD-5 PD-6 PD-7 PD-8
""".split()


def rows() -> tuple[Row, ...]:
    """The rows, or none where the file is broken: its own test reports that."""
    try:
        return load(ROOT)
    except UserError:
        return ()


def resolve(name: str) -> object:
    """The object behind a dotted name: the longest importable module, then attributes."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if not name.startswith(error.name or " "):  # a module it needs is missing, not the module itself
                raise
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def source_of(test: str, folder: Path = TESTS) -> str | None:
    """Source of a listed test function, or None where there is no such function."""
    file, *names = test.partition("[")[0].split("::")
    if not (folder / file).is_file():
        return None
    text = (folder / file).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for name in names:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        inside = [child for child in getattr(node, "body", []) if isinstance(child, kinds) and child.name == name]
        if not inside:
            return None
        node = inside[-1]
    return ast.get_source_segment(text, node)


def notebook_text(path: Path) -> str:
    """All cells of a notebook, one after the other."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_every_row_of_the_papers_is_there_once():
    found = [row.id for row in load(ROOT)]
    assert sorted(found) == sorted(IDS), f"missing {set(IDS) - set(found)}, extra {set(found) - set(IDS)}"


def test_listed_functions_exist_and_cite_their_row():
    for row in rows():
        for name in row.functions:
            try:
                thing = resolve(name)
            except (ModuleNotFoundError, AttributeError):
                pytest.fail(f"{row.id} lists the function {name}, which does not exist.")
            assert callable(thing), f"{row.id} lists {name}, which is neither a function nor a class."
            assert cites(thing.__doc__, row.id), f"the docstring of {name} does not say 'Source: {row.id}'."


def test_listed_tests_exist_and_cite_their_row():
    for row in rows():
        for test in row.tests:
            source = source_of(test)
            assert source is not None, f"{row.id} lists the test {test}, which does not exist."
            assert cites(source, row.id), f"the test {test} does not name {row.id} in its docstring or source."


def test_listed_notebooks_exist_and_cite_their_row():
    for row in rows():
        if row.notebook is not None:
            path = ROOT / row.notebook
            assert path.is_file(), f"{row.id} lists {row.notebook}, which does not exist."
            assert cites(notebook_text(path), row.id), f"{row.notebook} does not name {row.id}."


@pytest.mark.parametrize(
    ("text", "row_id", "expected"),
    [
        ("Source: SD-1, Eq. 6.", "SD-1", True),
        ("Source: SD-1.", "SD-1", True),
        ("(SD-1)", "SD-1", True),
        ("Source: PX-1, PX-2", "PX-2", True),
        ("Source: SD-11", "SD-1", False),
        ("Source: PX-1..4", "PX-1", False),
        ("Source: PX-1 .. PX-4", "PX-1", False),
        ("Source: PX-1\N{EN DASH}4", "PX-1", False),
        ("Source: PX-1-4", "PX-1", False),
        ("Source: BASE-VE-ANC", "BASE-VE", False),
        (None, "SD-1", False),
    ],
)
def test_a_row_is_cited_literally(text, row_id, expected):
    assert cites(text, row_id) is expected


DONE = {"functions": "[fewsteps.a.b]", "tests": "[test_a.py::test_b]", "notebook": "notebooks/01_a.ipynb"}


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "coverage.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    return tmp_path


def entry(**fields: str) -> str:
    lines = [f"{key}: {value}" for key, value in fields.items()]
    return "- " + "\n  ".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must be a list"),
        ("SD-1: {todo: x}", "must be a list"),
        ("- [", "not valid YAML"),
        ("- what: x\n  todo: y", "has no 'id'"),
        (entry(id="XX-1", what="x", todo="y"), "has the id 'XX-1'"),
        (entry(id="SD-01", what="x", todo="y"), "has the id 'SD-01'"),
        (entry(id="SD-1", todo="y"), "no 'what'"),
        (entry(id="SD-1", what="x", todo="y", colour="red"), "unknown key 'colour'"),
        (entry(id="SD-1", what="x", todo="y", open="z"), "both 'todo' and 'open'"),
        (entry(id="SD-1", what="x", todo="y", **DONE), "both 'todo' and 'functions'"),
        (entry(id="SD-1", what="x"), "neither 'todo' nor 'functions'"),
        (entry(id="SD-1", what="x", functions="[fewsteps.a.b]", open="z"), "no 'tests'"),
        (entry(id="SD-1", what="x", functions="[fewsteps.a.b]", tests="[test_a.py::test_b]"), "no 'notebook'"),
        (entry(id="SD-1", what="x", **DONE | {"functions": "[numpy.sum]"}), "'numpy.sum'"),
        (entry(id="SD-1", what="x", **DONE | {"functions": "fewsteps.a.b"}), "must be a list"),
        (entry(id="SD-1", what="x", **DONE | {"tests": "[lib/tests/a.py]"}), "'lib/tests/a.py'"),
        (entry(id="SD-1", what="x", **DONE | {"notebook": "book/a.md"}), "'book/a.md'"),
        (entry(id="SD-1", what="x", todo="7"), "must be text, not 7"),
        (entry(id="SD-1", what="x", todo="y") * 2, "lists SD-1 twice"),
    ],
)
def test_a_wrong_entry_is_refused_in_one_sentence(tmp_path, text, sentence):
    root = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(root)
    message = str(caught.value)
    assert sentence in message
    assert "\n" not in message
    assert message.endswith(".")


def test_a_missing_file_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)


def test_the_states_of_a_row(tmp_path):
    text = (
        entry(id="SD-1", what="x", todo="y")
        + entry(id="SD-2", what="x", **DONE)
        + entry(id="SD-3", what="x", open="z", **DONE)
        + entry(id="SD-4", what="x", open="not drawn", functions="[fewsteps.a.b]", tests="['test_a.py::test_b[1]']")
    )
    found = load(written(tmp_path, text))
    assert [row.state for row in found] == ["not yet", "done", "in part", "in part"]
    assert {row.paper for row in found} == {"SD"}


def test_the_page_has_every_row_and_counts_them(tmp_path):
    text = page(ROOT)
    for row_id in IDS:
        assert text.count(f"| {row_id} |") == 1
    assert text.count("\n# ") + text.startswith("# ") == 1
    assert text.count("\n## ") == len(PAPERS)

    made = page(written(tmp_path, entry(id="SD-1", what="'a|b $x$'", todo="y") + entry(id="PD-1", what="x", **DONE)))
    assert r"| SD-1 | a\|b \$x\$ |  | not yet: y |" in made
    assert "| PD-1 | x | `fewsteps.a.b`<br>`test_a.py::test_b`<br>`notebooks/01_a.ipynb` | done |" in made
    assert "| SD | 0 | 0 | 1 | 1 |" in made
    assert "| **all** | 1 | 0 | 1 | 2 |" in made


# ------------------------------------------------ the plugin, on a project of its own, in a process of its own

GUARDED = """
    import sys
    from pathlib import Path

    sys.path[:0] = {path!r}
    from coverage_plugin import CoverageGuard

    def pytest_configure(config):
        if not hasattr(config, "workerinput"):
            here = Path(__file__).resolve().parent
            config.pluginmanager.register(CoverageGuard(here.parents[1], here))
"""
SUITE = """
    import pytest

    def test_good(): pass

    @pytest.mark.parametrize("a", [1, 2])
    def test_many(a): pass

    def test_skipped(): pytest.skip("not here")

    @pytest.mark.parametrize("a", [1, 2])
    def test_one_skipped(a):
        if a == 2:
            pytest.skip("not here")

    @pytest.mark.xfail
    def test_xfailed(): assert False

    @pytest.mark.xfail
    def test_xpassed(): pass

    @pytest.fixture
    def broken():
        yield
        raise RuntimeError

    def test_teardown(broken): pass
"""


@pytest.fixture
def project(tmp_path):
    """A repository with a suite and a guard; call it with the listed tests and pytest's arguments."""
    tests = tmp_path / "lib" / "tests"
    tests.mkdir(parents=True)
    (tests / "conftest.py").write_text(textwrap.dedent(GUARDED.format(path=[str(TESTS), str(TESTS.parent)])))
    (tests / "test_a.py").write_text(textwrap.dedent(SUITE))
    (tests / "test_b.py").write_text("def test_other(): pass\n")

    def run(listed: list[str], *arguments: str) -> tuple[int, str]:
        written(tmp_path, entry(id="SD-1", what="x", **DONE | {"tests": json.dumps(listed)}))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_guard_is_content_when_every_listed_test_passed(project):
    listed = ["test_a.py::test_good", "test_a.py::test_many", "test_a.py::test_many[2]", "test_b.py::test_other"]
    code, output = project(listed, "lib/tests", "--deselect=lib/tests/test_a.py::test_teardown")
    assert code == 0, output


def test_guard_fails_a_full_run_and_names_each_test(project):
    names = ["missing", "skipped", "one_skipped", "xfailed", "xpassed", "teardown"]
    code, output = project([f"test_a.py::test_{name}" for name in names] + ["test_gone.py::test_x"])
    assert code == 1
    for name, what in [
        ("test_a.py::test_missing", "was not collected"),
        ("test_gone.py::test_x", "was not collected"),
        ("test_a.py::test_skipped", "was skipped"),
        ("test_a.py::test_one_skipped", "was skipped"),
        ("test_a.py::test_xfailed", "is marked as an expected failure"),
        ("test_a.py::test_xpassed", "is marked as an expected failure"),
        ("test_a.py::test_teardown", "failed"),
    ]:
        assert f"SD-1 lists the test {name}, which {what}." in output


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n", "2"]], ids=["one process", "xdist"])
def test_guard_turns_a_green_full_run_red(project, tmp_path, workers):
    (tmp_path / "lib" / "tests" / "test_a.py").unlink()
    code, output = project(["test_b.py::test_gone"], "lib/tests", *workers)
    assert "1 passed" in output
    assert (code, "test_b.py::test_gone, which was not collected." in output) == (1, True), output
    code, output = project(["test_b.py::test_other"], "lib/tests", *workers)
    assert code == 0, output


def test_guard_judges_only_what_a_partial_run_collected(project):
    missing = ["test_a.py::test_gone", "test_b.py::test_gone"]
    code, output = project(missing, "lib/tests/test_b.py")
    assert code == 0, output
    code, output = project(missing, "lib/tests", "-k", "good")
    assert code == 0, output
    code, output = project(["test_a.py::test_skipped", *missing], "lib/tests/test_a.py::test_skipped")
    assert code == 1
    assert "which was skipped." in output
    assert "not collected" not in output


def test_guard_reports_a_broken_map(project, tmp_path):
    code, output = project(["not a test"], "lib/tests/test_b.py")
    assert code == 1
    assert "holds 'not a test'" in output


def test_this_suite_is_guarded(pytestconfig):
    worker = hasattr(pytestconfig, "workerinput")
    assert pytestconfig.pluginmanager.hasplugin("fewsteps-coverage") is not worker


def test_claims_say_how_they_are_judged():
    """Every claim names its row once, with metric, budget, baseline and what would overturn it."""
    claims = yaml.safe_load((ROOT / "data" / "claims.yaml").read_text(encoding="utf-8"))
    keys = {"id", "claim", "where", "metric", "budget", "baseline", "overturned_by", "chapter"}
    for claim in claims:
        assert keys <= set(claim), claim["id"]
        # A row may make several claims (TDAS-8b); ours, of no paper's, are BEST-n.
        row = re.match(r"[A-Z]+-\d+", claim["id"]).group()
        assert row in IDS or row.startswith("BEST-"), claim["id"]
        assert all(isinstance(value, str) and value.strip() for value in claim.values()), claim["id"]
        chapters = list((ROOT / "notebooks").glob(f"{claim['chapter']}_*.ipynb"))
        if chapters or claim.get("verdict"):
            assert chapters and cites(notebook_text(chapters[0]), row), claim["id"]
    assert len({claim["id"] for claim in claims}) == len(claims)

"""The repository itself: one source of truth for dependencies, locks without addresses, notebooks without outputs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

VISIBLE = {
    *("README.md", "LICENSE", "Makefile", "_config.yml", "pyproject.toml", "requirements.lock", "environment.yml"),
    *("package.json", "package-lock.json", "CITATION.cff", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("book", "notebooks", "lib", "data", "tools"),
}
MADE = {"node_modules"}


def committed() -> set[str]:
    """Names at the top level: those in git, or where this is no checkout, all."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return {name.split("/")[0] for name in listed.stdout.splitlines()}
    return {path.name for path in ROOT.iterdir()} - MADE


def tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_top_level_holds_what_it_should_and_nothing_else():
    there = {name for name in committed() if not name.startswith(".")}
    assert there <= VISIBLE, f"not foreseen at the top level: {there - VISIBLE}"
    wanted = ["README.md", "_config.yml", "environment.yml", "book", "notebooks", "lib", "data"]
    assert [name for name in wanted if not (ROOT / name).exists()] == []


def test_environment_yml_agrees_with_pyproject():
    assert tool("tools/environment.py", "--check").returncode == 0


def test_environment_yml_has_every_dependency_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = len(project["dependencies"]) + sum(map(len, project["optional-dependencies"].values()))
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert len(listed) == len(set(listed)) == wanted + 2  # python and pip


def test_requirements_lock_is_hashed_and_has_no_address():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith(("-i", "--index", "--extra", "--find"))]
    pins = [index for index, line in enumerate(lines) if re.match(r"[a-z0-9]", line)]
    assert pins
    assert all("==" in lines[index] and lines[index + 1].strip().startswith("--hash=") for index in pins)


def test_requirements_lock_covers_pyproject():
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    assert {re.match(r"[\w-]+", name)[0] for name in names} <= locked


def test_front_end_packages_are_pinned_and_locked_without_address():
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)


def test_plotly_of_the_pages_is_that_of_python():
    from plotly.offline import get_plotlyjs_version

    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]["plotly.js-basic-dist-min"]
    assert wanted == get_plotlyjs_version()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path):
    check = tool("tools/outputs.py", "--check", path)
    assert check.returncode == 0, check.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_one_parameters_cell_with_the_profile(path):
    notebook = json.loads(path.read_text())
    tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert re.search(r"^profile\s*=", "".join(tagged[0]["source"]), re.MULTILINE)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_outputs_are_found_and_taken_out(tmp_path):
    cell = {"cell_type": "code", "id": "a", "source": ["1"], "execution_count": 3}
    cell |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": ["1"]}]}
    cell |= {"metadata": {"tags": ["parameters"], "papermill": {"duration": 1}}}
    notebook = {"cells": [cell], "metadata": {"widgets": {}, "kernelspec": {"name": "python3"}}}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook | {"nbformat": 4, "nbformat_minor": 5}))

    assert tool("tools/outputs.py", "--check", path).returncode == 1
    assert tool("tools/outputs.py", path).returncode == 0
    assert tool("tools/outputs.py", "--check", path).returncode == 0
    stripped = json.loads(path.read_text())
    assert stripped["metadata"] == {"kernelspec": {"name": "python3"}}
    assert stripped["cells"][0]["metadata"] == {"tags": ["parameters"]}


@pytest.mark.parametrize("path", [".github/workflows/book.yml", ".pre-commit-config.yaml", "_config.yml"])
def test_yaml_can_be_read(path):
    assert yaml.safe_load((ROOT / path).read_text())


def test_a_python_that_does_not_run_is_refused_in_a_sentence(tmp_path):
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    finder = ["sh", str(ROOT / "tools" / "find_python.sh")]
    named = subprocess.run(finder, env={"PYTHON": str(shim), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert named.returncode == 1
    assert named.stdout == ""
    assert len(named.stderr.splitlines()) == 1
    nothing = subprocess.run(
        ["/bin/sh", finder[1]], cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert nothing.returncode == 1
    assert "3.11 or 3.12" in nothing.stderr


def test_a_working_python_is_found():
    found = subprocess.run(
        ["sh", "tools/find_python.sh"], cwd=ROOT, env={"PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert found.stdout.strip() == sys.executable

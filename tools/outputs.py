"""Take the outputs out of notebooks, or (``--check``) say which hold some: what they show is made by the pipeline."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

# Metadata of a run, of an editor's session, or of saved widgets; the rest of the metadata is written by hand.
NOTEBOOK_METADATA = ("widgets", "papermill", "toc", "vscode")
CELL_METADATA = ("execution", "papermill", "collapsed", "scrolled", "ExecuteTime")


def strip(notebook: dict) -> dict:
    """The notebook without what running it has left in it."""
    cells = [_strip_cell(cell) for cell in notebook["cells"]]
    return {**notebook, "cells": cells, "metadata": _without(notebook["metadata"], NOTEBOOK_METADATA)}


def _strip_cell(cell: dict) -> dict:
    cell = {**cell, "metadata": _without(cell["metadata"], CELL_METADATA)}
    return {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell


def _without(mapping: dict, names: tuple[str, ...]) -> dict:
    return {name: value for name, value in mapping.items() if name not in names}


def main() -> int:
    """Strip the notebooks that are named; with ``--check``, list those that hold outputs and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("notebooks", nargs="*", type=Path)
    chosen = parser.parse_args()
    found = False
    for path in chosen.notebooks:
        if not path.exists():  # the shell's pattern, where there is no notebook yet
            continue
        notebook = json.loads(path.read_text())
        if strip(notebook) == notebook:
            continue
        found = True
        if chosen.check:
            print(f"{path} holds outputs: python tools/outputs.py {path} takes them out", file=sys.stderr)
        else:
            path.write_text(json.dumps(strip(notebook), indent=1, ensure_ascii=False) + "\n")
    return int(found and chosen.check)


if __name__ == "__main__":
    sys.exit(main())

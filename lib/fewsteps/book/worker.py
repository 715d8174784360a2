"""Run one notebook in a process of its own; started by :mod:`fewsteps.book.execute`, one per notebook.

A process, because the number of threads must be set before torch is imported, and because a notebook that takes its
process down (out of memory) must not take the others with it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from fewsteps.files import write_atomic


def main(notebook: str, output: str, parameters: str, report: str) -> int:
    """Execute ``notebook`` into ``output`` with ``parameters`` (JSON); what went wrong goes to ``report`` (JSON).

    Returns
    -------
    int
        0 if the notebook ran, 1 if a cell of it failed, 3 if it could not be run, 4 if it could not be written (then
        the last line that is printed says why: a full disk has no room for a report).
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # After the thread: this import takes a second, in which the parent may already be gone.
    import papermill
    from papermill.exceptions import PapermillExecutionError, strip_color

    source, target = Path(notebook), Path(output)

    def run() -> None:
        papermill.execute_notebook(
            source,
            target,
            parameters=json.loads(parameters),
            kernel_name="python3",
            cwd=source.parent,
            progress_bar=False,
        )

    try:
        try:
            run()
        except RuntimeError:
            # A kernel's ports are chosen before it takes them, and now and then another program is quicker.
            if _last_started_cell(target)[0] is not None:
                raise
            run()
        _tidy(target)
    except PapermillExecutionError as error:
        number = _number_in_source(target, error.cell_index, inserted=2)
        _write_report(report, cell=number, source=error.source, traceback=strip_color("\n".join(error.traceback)))
        return 1
    except OSError as error:
        print(f"The executed notebook could not be written: {error.strerror or error}.", flush=True)
        return 4
    except Exception as error:
        cell, text = _last_started_cell(target)
        _write_report(report, cell=cell, source=text, traceback=f"{type(error).__name__}: {error}")
        return 3
    return 0


def _end_with_parent() -> None:
    """End when the other end of standard input is closed, as it is however the parent ends; the kernel follows."""
    while os.read(0, 1):
        pass
    os._exit(3)


def _tidy(path: Path) -> None:
    """Take out of an executed notebook what belongs to this run: papermill's times and the paths of this machine."""
    notebook = json.loads(path.read_text())
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:
            cell["metadata"]["tags"] = [*tags, "hide-cell"]  # the page folds it away: which profile made these numbers
    write_atomic(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def _number_in_source(path: Path, index: int, inserted: int = 0) -> int:
    """The number, from 1, that a cell of papermill's copy has in the notebook that was written by hand.

    papermill adds a cell with the parameters, and after an error ``inserted`` cells with remarks before the failed one.
    """
    cells = _cells(path)[: index + inserted + 1]
    added = sum("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells)
    return index + 1 - added


def _last_started_cell(path: Path) -> tuple[int | None, str]:
    """Number and source of the cell in which the kernel ended, from the copy that papermill saves as it goes."""
    cells = list(enumerate(_cells(path)))
    for index, cell in reversed(cells):
        if cell["cell_type"] == "code" and cell["metadata"].get("papermill", {}).get("start_time"):
            return _number_in_source(path, index), "".join(cell["source"])
    return None, ""


def _cells(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text())["cells"]
    except (OSError, ValueError):
        return []


def _write_report(path: str, **content: object) -> None:
    try:
        write_atomic(Path(path), json.dumps(content))
    except OSError:  # the disk is full: the parent reads what is printed
        print(content["traceback"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

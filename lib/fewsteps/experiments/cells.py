"""Tables filled cell by cell: every cell is a plan, its row is kept the moment it is there, and none is made twice.

A row's key is the hash of everything that decides its numbers: the plan, the weights, the references and
`VERSION`. Hashing the source instead would throw away days of computing for every comment that changes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from fewsteps import checkpoints
from fewsteps.errors import DataError, UserError
from fewsteps.experiments import choosing, references
from fewsteps.experiments.evaluation import evaluate
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.files import digest, write_atomic

VERSION = 1
"""Raise it when a change alters what a plan's images or metrics are."""


Work = Callable[["Cell"], "dict[str, Any] | UserError"]


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes
    ----------
    method : str
        What the table calls it.
    plan : Plan
    rule : mapping, optional
        How its filter is chosen (:func:`fewsteps.experiments.choosing.choose`), where it is not in the plan.
    """

    method: str
    plan: Plan
    rule: Mapping[str, Any] = field(default_factory=dict)

    def key(self, folder: Path = checkpoints.FOLDER) -> str:
        """Hash of all that decides the numbers."""
        card = checkpoints.card(self.plan.checkpoint, folder)
        judged = _judged(card["data"]["name"], card["data"]["size"])
        said = [self.method, self.plan.described(), dict(self.rule), card["weights"]["sha256"], judged, VERSION]
        return digest(json.dumps(said, sort_keys=True).encode())[:16]

    def choice(self, folder: Path = checkpoints.FOLDER) -> Cell | None:
        """The search that has to come first, as a cell of its own that all seeds share; None without a rule."""
        if not self.rule:
            return None
        plan = replace(self.plan, count=1, seed=choosing.CHOICE_SEED)
        return Cell("choice", plan, self.rule)


@cache
def _judged(dataset: str, size: int) -> list[str]:
    """Hashes of the references that images of a data set are measured against."""
    known = references.networks_for(dataset, size)
    return [references.read(dataset, size, name).train.sha256() for name in known]


class Table:
    """Rows on disk by key, written whole after each.

    Parameters
    ----------
    path : Path
        JSON with ``made_by`` and ``rows``.
    made_by : str
        The command that fills it.

    Raises
    ------
    DataError
        If the file is damaged.
    """

    def __init__(self, path: Path, made_by: str) -> None:
        self.path, self.made_by = path, made_by
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            try:
                self.rows = {row["key"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path.name} is damaged: restore it, or remove it to start again.") from error

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.rows[row["key"]] = row
        rows = sorted(self.rows.values(), key=lambda row: (row["method"], row["key"]))
        lines = ",\n".join(json.dumps(row) for row in rows)
        write_atomic(self.path, f'{{"made_by": {json.dumps(self.made_by)}, "rows": [\n{lines}\n]}}\n')


def fill(
    table: Table,
    cells: Sequence[Cell],
    *,
    workers: int = 1,
    folder: Path = checkpoints.FOLDER,
    device: str = "cpu",
    say: Callable[[str], None] | None = None,
) -> list[str]:
    """Make every row that is not there yet; what has to be chosen first, first.

    Parameters
    ----------
    table : Table
    cells : sequence of Cell
    workers : int
        Processes, each with one thread; 1 stays in this one.
    folder : Path
        Of the checkpoints.
    device : str
        Where images are made; what is measured is measured on the CPU.
    say : callable, optional
        Gets a sentence per row.

    Returns
    -------
    list of str
        A sentence for every cell that failed; the others are made all the same.
    """
    say = say or (lambda sentence: None)
    searches = {cell.key(folder): cell for c in cells if (cell := c.choice(folder)) is not None}
    work = partial(_row, folder=folder, device=device)
    failed = _make(table, searches, work, workers, say)
    ready: dict[str, Cell] = {}
    for cell in cells:
        search = cell.choice(folder)
        if search is None:
            ready[cell.key(folder)] = cell
            continue
        chosen = table.rows.get(search.key(folder))
        if chosen is not None:
            plan = replace(cell.plan, filt=chosen["filt"], named=chosen.get("named", cell.plan.named))
            ready[cell.key(folder)] = replace(cell, plan=plan)
    return failed + _make(table, ready, work, workers, say)


def _make(table: Table, cells: Mapping[str, Cell], work: Work, workers: int, say: Callable[[str], None]) -> list[str]:
    missing = {key: cell for key, cell in cells.items() if key not in table.rows}
    failed = []
    done = 0
    for key, result in _results(missing, work, workers):
        done += 1
        name = f"{missing[key].method}, {missing[key].plan.sampler}, {missing[key].plan.nfe} NFE"
        if isinstance(result, UserError):
            failed.append(f"{name}: {result}")
            say(f"{done} of {len(missing)}: {failed[-1]}")
            continue
        table.add({"key": key, **result})
        say(f"{done} of {len(missing)}: {name}, {result['seconds']:.0f} s, {_brief(result)}")
    return failed


def _brief(result: Mapping[str, Any]) -> str:
    if "rows" in result:
        return f"{result['rows'][0]['metric']} {result['rows'][0]['value']:.4g}"
    return json.dumps(result["filt"])[:80]


def _results(cells: Mapping[str, Cell], work: Work, workers: int) -> Iterable[tuple[str, dict[str, Any] | UserError]]:
    if workers == 1:
        for key, cell in cells.items():
            yield key, work(cell)
        return
    waiting = list(cells.items())
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running: dict[Future, str] = {}
        while waiting or running:
            while waiting and len(running) < workers:
                key, cell = waiting.pop(0)
                running[pool.submit(work, cell)] = key
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def _row(cell: Cell, *, folder: Path, device: str) -> dict[str, Any] | UserError:
    """What a cell comes to; an error that a user can understand is a result, and others stop the sweep."""
    began = time.monotonic()
    try:
        if cell.method == "choice":
            said = choosing.choose(cell.rule, cell.plan, folder, device)
            said["rule"] = dict(cell.rule)
        else:
            drawn = sample(cell.plan, folder, device=device)
            said = evaluate(cell.plan, [drawn], [cell.plan.seed], folder=folder)
            said.pop("plan")
    except UserError as error:
        return error
    seconds = round(time.monotonic() - began, 1)
    return {"method": cell.method, "plan": cell.plan.described(), **said, "device": device, "seconds": seconds}

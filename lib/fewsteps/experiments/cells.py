"""Tables filled cell by cell: every cell is a plan, its row is kept the moment it is there, and none is made twice.

A row's key is the hash of everything that decides its numbers: the plan, the weights, the shipped statistics that it is
made from and measured against, what a rule chooses among, and `VERSION`. Hashing the source instead would throw away
days of computing for every comment that changes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from traceback import extract_tb
from typing import Any

from fewsteps import checkpoints
from fewsteps.errors import DataError, UserError
from fewsteps.experiments import choosing, families, onestep, pixels, prediction, references, sampling
from fewsteps.experiments.engine import Engine, Here, Job
from fewsteps.experiments.evaluation import Observed, evaluate, observe
from fewsteps.experiments.families import COARSE, FAMILIES, FINE
from fewsteps.experiments.sampling import SHARD, Plan
from fewsteps.files import digest, write_atomic

VERSION = 1
"""Raise it when a change alters what a plan's images or metrics are."""


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes
    ----------
    method : str
        What the table calls it.
    plan : Plan
    rule : mapping, optional
        How its filter is chosen (:func:`fewsteps.experiments.choosing.choose`), where it is not in the plan. With
        ``at``, at that many network calls and not at the plan's, which may be too many to search with.
    """

    method: str
    plan: Plan
    rule: Mapping[str, Any] = field(default_factory=dict)

    def key(self, folder: Path = checkpoints.FOLDER) -> str:
        """Hash of all that decides the numbers."""
        card = checkpoints.card(self.plan.checkpoint, folder)
        made_of = [
            card["weights"]["sha256"],
            card["predicts"],
            *_statistics(card["data"]["name"], card["data"]["size"]),
        ]
        if latent := card["data"].get("latent"):
            made_of.append(latent["sha256"])
        if self.plan.prediction != "as it is" or self.plan.sampler in ("analytic", "spectral"):
            made_of += [_file(onestep.path_of(card["name"])), prediction.CALIBRATION]
        among = FAMILIES.get(self.rule.get("among", ""))
        counts = [choosing.TRIED, choosing.GAMMA, choosing.STATISTICS] if self.rule else []
        said = [self.method, self.plan.described(), dict(self.rule), among, counts, made_of, VERSION]
        if self.rule.get("rule") == "best" and families.VERSION > 1:
            said.append(families.VERSION)
        return digest(json.dumps(said, sort_keys=True).encode())[:16]

    def choice(self, folder: Path = checkpoints.FOLDER) -> Cell | None:
        """The search that has to come first, as a cell of its own that all seeds share; None without a rule."""
        if not self.rule:
            return None
        rule = dict(self.rule)
        plan = replace(self.plan, nfe=rule.pop("at", self.plan.nfe), count=1, seed=choosing.CHOICE_SEED)
        return Cell("choice", plan, rule)


def _statistics(dataset: str, size: int) -> list[str]:
    """Hashes of what filters for a data set are made from and of what its images are measured against."""
    known = references.networks_for(dataset, size)
    used = [pixels.path_of(dataset, size), *(references.path_of(dataset, size, name) for name in known)]
    return [_file(path) for path in used]


def _file(path: Path) -> str:
    if not path.exists():
        raise DataError(f"{path.name} is missing, and rows hang on it: git checkout data/statistics restores it.")
    return _hash(path, path.stat().st_mtime_ns)


@cache
def _hash(path: Path, changed: int) -> str:
    return digest(path.read_bytes())


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
        self._write()

    def _write(self) -> None:
        rows = sorted(self.rows.values(), key=lambda row: (row["method"], row["key"]))
        lines = ",\n".join(json.dumps(row) for row in rows)
        write_atomic(self.path, f'{{"made_by": {json.dumps(self.made_by)}, "rows": [\n{lines}\n]}}\n')

    def keep(self, keys: set[str], methods: set[str]) -> int:
        """Forget rows of other weights, statistics or settings; how many there were.

        Parameters
        ----------
        keys : set of str
            Of the rows that are up to date.
        methods : set of str
            Rows of no other method are touched: what cannot be made here and now is not stale.
        """
        stale = {key for key, row in self.rows.items() if key not in keys and row["method"] in methods}
        for key in stale:
            del self.rows[key]
        if stale:
            self._write()
        return len(stale)


def fill(
    table: Table,
    cells: Sequence[Cell],
    *,
    engine: Engine | None = None,
    folder: Path = checkpoints.FOLDER,
    device: str = "cpu",
    say: Callable[[str], None] | None = None,
) -> list[str]:
    """Make every row that is not there yet; what has to be chosen first, first.

    Parameters
    ----------
    table : Table
    cells : sequence of Cell
    engine : Engine, optional
        Where they are computed; default this process.
    folder : Path
        Of the checkpoints.
    device : str
        Where images are made; what is measured is measured on the CPU.
    say : callable, optional
        Gets a sentence per row, with the rate so far and the time that is left at it.

    Returns
    -------
    list of str
        A sentence for every cell that failed; the others are made all the same.
    """
    engine, say = engine or Here(), say or (lambda sentence: None)
    searches = _searches(cells, folder)
    on = {"folder": folder, "device": device}
    failed = _make(table, searches, engine, say, **on)
    ready: dict[str, Cell] = {}
    for cell in cells:
        search = cell.choice(folder)
        if search is None:
            ready[cell.key(folder)] = cell
            continue
        chosen = table.rows.get(search.key(folder))
        if chosen is None:
            failed.append(f"{_name(cell)}: its filter could not be chosen")
            continue
        plan = replace(cell.plan, filt=chosen["filt"], named=chosen.get("named", cell.plan.named))
        ready[cell.key(folder)] = replace(cell, plan=plan)
    return failed + _make(table, ready, engine, say, **on)


def keys(cells: Sequence[Cell], folder: Path = checkpoints.FOLDER) -> set[str]:
    """Of all rows that a table of these cells holds, searches included."""
    return {cell.key(folder) for cell in cells} | set(_searches(cells, folder))


def _searches(cells: Sequence[Cell], folder: Path) -> dict[str, Cell]:
    return {cell.key(folder): cell for c in cells if (cell := c.choice(folder)) is not None}


def _name(cell: Cell) -> str:
    return f"{cell.method}, {cell.plan.sampler}, {cell.plan.nfe} NFE, seed {cell.plan.seed}"


def _make(
    table: Table, cells: Mapping[str, Cell], engine: Engine, say: Callable[[str], None], *, folder: Path, device: str
) -> list[str]:
    missing = {key: cell for key, cell in cells.items() if key not in table.rows}
    jobs = {key: _job(cell, folder, device) for key, cell in missing.items()}
    failed, began = [], time.monotonic()
    cost = {key: _cost(cell) for key, cell in missing.items()}
    done, spent, total = 0, 0, sum(cost.values())
    for key, result in engine.run(jobs):
        done, spent = done + 1, spent + cost[key]
        rate = spent / (time.monotonic() - began)
        left = f"{rate:,.0f} network calls/s, {_time((total - spent) / rate)} left"
        name = _name(missing[key])
        if isinstance(result, BaseException):
            if not isinstance(result, Exception):
                raise result
            failed.append(f"{name}: {_sentence(result)}")
            say(f"{done} of {len(missing)}: {failed[-1]}")
            continue
        table.add({"key": key, **result})
        say(f"{done} of {len(missing)}: {name}, {result['seconds']:.0f} s, {_brief(result)}; {left}")
    return failed


def _sentence(error: Exception) -> str:
    """What a user's error says; of any other also its kind, and the line of this package that it came from."""
    if isinstance(error, UserError):
        return str(error)
    ours = [line for line in extract_tb(error.__traceback__) if f"{os.sep}fewsteps{os.sep}" in line.filename]
    where = f" ({Path(ours[-1].filename).name}, line {ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {error}{where}"


def _cost(cell: Cell) -> int:
    """Network calls that a cell takes, about."""
    images = cell.plan.count
    if cell.method == "choice":
        images = {
            "best": choosing.TRIED * (COARSE + FINE),
            "gamma": choosing.GAMMA,
        }.get(cell.rule["rule"], choosing.STATISTICS)
    return images * cell.plan.nfe


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _brief(result: Mapping[str, Any]) -> str:
    if "rows" in result:
        return f"{result['rows'][0]['metric']} {result['rows'][0]['value']:.4g}"
    return "; ".join([json.dumps(result["filt"])[:80], *result["why"].get("ends", [])])


def _job(cell: Cell, folder: Path, device: str) -> Job:
    """A search as one piece; a measured cell as its shards, whose statistics are merged."""
    if cell.method == "choice":
        return Job([], partial(_chosen, cell, folder, device))
    weights = checkpoints.card(cell.plan.checkpoint, folder)["weights"]["sha256"]
    shards = [partial(_shard, cell.plan, folder, device, weights, index) for index in range(len(cell.plan.shards))]
    return Job(shards, partial(_row, cell, folder, device))


def _chosen(cell: Cell, folder: Path, device: str, parts: list[Any]) -> dict[str, Any] | UserError:
    began = time.monotonic()
    try:
        said = choosing.choose(cell.rule, cell.plan, folder, device)
    except UserError as error:
        return error
    return _described(cell, device, time.monotonic() - began) | said | {"rule": dict(cell.rule)}


def _shard(plan: Plan, folder: Path, device: str, weights: str, index: int) -> tuple[Observed, float] | UserError:
    """What is measured of one shard, and the seconds it took; a user's error is a result, so that none tries again."""
    began = time.monotonic()
    try:
        if checkpoints.card(plan.checkpoint, folder)["weights"]["sha256"] != weights:
            raise DataError(f"the weights of {plan.checkpoint} were replaced during the sweep: start it again.")
        seen = observe(plan, sampling.shard(plan, folder, SHARD, device, index), folder=folder)
    except UserError as error:
        return error
    return seen, time.monotonic() - began


def _row(cell: Cell, folder: Path, device: str, parts: list[Any]) -> dict[str, Any] | UserError:
    began = time.monotonic()
    for part in parts:
        if isinstance(part, UserError):
            return part
    try:
        said = evaluate(cell.plan, [seen for seen, _ in parts], [cell.plan.seed], folder=folder)
    except UserError as error:
        return error
    said.pop("plan")
    return _described(cell, device, sum(seconds for _, seconds in parts) + time.monotonic() - began) | said


def _described(cell: Cell, device: str, seconds: float) -> dict[str, Any]:
    return {
        "method": cell.method,
        "plan": cell.plan.described(),
        "device": device,
        "seconds": round(seconds, 1),
    }

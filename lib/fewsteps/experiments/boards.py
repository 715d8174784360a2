"""The tables of `fewsteps sweep` as the chapters read them: means over seeds, their intervals, and who is apart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewsteps import figures, results
from fewsteps.errors import DataError


@dataclass(frozen=True)
class Entry:
    """One method at one budget.

    Attributes
    ----------
    method : str
    nfe : int
        Network calls that were allowed.
    calls : float
        That were made; half a call is one of a network's half.
    value, low, high : float
        Mean over seeds and its 95 % interval. Every seed's own interval is from resampling its images; seeds are
        independent, so the mean's is narrower by the root of their number.
    floor : float
        What real images measure.
    seeds, count : int
        How many, and images for each.
    filt : mapping or None
        The filter, where there was one.
    """

    method: str
    nfe: int
    calls: float
    value: float
    low: float
    high: float
    floor: float
    seeds: int
    count: int
    filt: Any = None

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def seeds(table: str) -> list[int]:
    """Of the rows of a table, in order.

    Raises
    ------
    DataError
        If the table is not there.
    """
    return sorted({row["plan"]["seed"] for row in results.read(table)["rows"] if row["method"] != "choice"})


def read(
    table: str, metric: str = "FD", methods: Iterable[str] | None = None, *, seeds: Iterable[int] | None = None
) -> list[Entry]:
    """What a table says, by method and budget.

    Parameters
    ----------
    table : str
        In ``data/results``.
    metric : str
        A metric of :mod:`fewsteps.experiments.evaluation`; "FD" is the Fréchet distance to the training images in the
        first feature network.
    methods : iterable of str, optional
        In this order; default all, in that of the table.
    seeds : iterable of int, optional
        Rows of these alone; default all.

    Raises
    ------
    DataError
        If the table is not there, or holds no such metric.
    """
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    among = None if seeds is None else set(seeds)
    for row in results.read(table)["rows"]:
        if row["method"] != "choice" and (among is None or row["plan"]["seed"] in among):
            found.setdefault((row["method"], row["plan"]["nfe"]), []).append(row)
    for (method, nfe), rows in found.items():
        if len({row["plan"]["seed"] for row in rows}) < len(rows) or len({row["count"] for row in rows}) > 1:
            raise DataError(
                f"{table} holds rows of other weights or counts beside those of now ({method}, {nfe} calls): "
                f"fewsteps sweep {table} drops them."
            )
    known = list(dict.fromkeys(method for method, _ in found))
    wanted = known if methods is None else [method for method in methods if method in known]
    return [
        _entry(method, nfe, found[method, nfe], metric)
        for method in wanted
        for nfe in sorted(nfe for name, nfe in found if name == method)
    ]


def _entry(method: str, nfe: int, rows: list[dict[str, Any]], metric: str) -> Entry:
    values = []
    for row in rows:
        measured = [m for m in row["rows"] if m["metric"] == metric or (metric == "FD" and m is row["rows"][0])]
        if not measured:
            raise DataError(f"the table holds no {metric}: there are {', '.join(m['metric'] for m in row['rows'])}.")
        values.append(measured[0])
    first = rows[0]
    return pooled(method, nfe, first["nfe"], [{"count": first["count"], **m} for m in values], first["plan"]["filt"])


def pooled(method: str, nfe: int, calls: float, rows: Sequence[Mapping[str, Any]], filt: Any = None) -> Entry:
    """One method at one budget out of what was measured of it, a row for each seed.

    Parameters
    ----------
    method : str
    nfe : int
    calls : float
    rows : sequence of mappings
        ``value``, ``low``, ``high``, ``floor`` and ``count``.
    filt : optional
    """
    mean = sum(row["value"] for row in rows) / len(rows)
    # An interval of a distance is cut at 0, so its wider half is the honest one.
    halves = [max(row["high"] - row["value"], row["value"] - row["low"]) for row in rows]
    half = math.sqrt(sum(h**2 for h in halves)) / len(rows)
    first = rows[0]
    return Entry(method, nfe, calls, mean, mean - half, mean + half, first["floor"], len(rows), first["count"], filt)


def apart(one: Entry, other: Entry) -> int:
    """-1 if `one` is smaller, 1 if it is larger, 0 if the interval of their difference holds 0.

    The interval of the difference is that of independent samples, the root of the sum of squares. Methods share their
    seeds, which makes it too wide if anything: 0 means that these images do not tell the two apart.
    """
    difference = one.value - other.value
    return 0 if abs(difference) <= math.hypot(one.half, other.half) else int(math.copysign(1, difference))


def overlap(one: Entry, other: Entry) -> bool:
    """Whether the two intervals have a value in common, which is stricter than not being apart."""
    return one.low <= other.high and other.low <= one.high


def verdicts(table: str, method: str, against: Iterable[str], metric: str = "FD") -> list[tuple[int, str, float, int]]:
    """A method against others at equal network calls.

    Returns
    -------
    list of (nfe, other, ratio of distances, apart)

    Raises
    ------
    DataError
        If the table is not there.
    """
    entries = {(entry.method, entry.nfe): entry for entry in read(table, metric)}
    return [
        (nfe, other, entry.value / entries[other, nfe].value, apart(entry, entries[other, nfe]))
        for (name, nfe), entry in entries.items()
        if name == method
        for other in against
        if (other, nfe) in entries
    ]


def sentences(table: str, method: str, against: Mapping[str, str], metric: str = "FD") -> list[str]:
    """A method against others in words, a sentence per budget.

    Parameters
    ----------
    table, method, metric : str
    against : mapping
        Of methods to what they are called in the sentence.

    Returns
    -------
    list of str
        As in "At 20 calls its distance is 0.13 times that of no filter, not apart from that of the best scalar."

    Raises
    ------
    DataError
        If the table is not there.
    """
    found: dict[int, list[str]] = {}
    for nfe, other, ratio, sign in verdicts(table, method, against, metric):
        size = f"{ratio:.2g}" if ratio < 99.5 else f"{ratio:.0f}"
        said = f"{size} times that of {against[other]}" if sign else f"not apart from that of {against[other]}"
        found.setdefault(nfe, []).append(said)
    return [f"At {nfe} calls its distance is {', '.join(said)}." for nfe, said in sorted(found.items())]


def lines(table: str, methods: Iterable[str] | None = None, metric: str = "FD") -> tuple[list[str], list[list[str]]]:
    """A table to print: a row per method, a column per budget, every number with half its interval.

    Returns
    -------
    columns : list of str
    rows : list of list of str

    Raises
    ------
    DataError
        If the table is not there, or holds no such metric.
    """
    entries = read(table, metric, methods)
    budgets = sorted({entry.nfe for entry in entries})
    by = {(entry.method, entry.nfe): entry for entry in entries}
    rows = []
    for method in dict.fromkeys(entry.method for entry in entries):
        cells = [by.get((method, nfe)) for nfe in budgets]
        rows.append([method, *("" if e is None else f"{e.value:.3g} ± {e.half:.1g}" for e in cells)])
    return ["method", *(f"{nfe} calls" for nfe in budgets)], rows


def curves(table: str, begins: Sequence[str], metric: str = "FD") -> figures.Curves:
    """Every method's distance against the network calls that it was allowed, for the pointer.

    Parameters
    ----------
    table, metric : str
        As for :func:`read`.
    begins : sequence of str
        The methods that are drawn at first.

    Returns
    -------
    fewsteps.figures.Curves

    Raises
    ------
    DataError
        If the table is not there, or holds no such metric.
    """
    by: dict[str, list[figures.Point]] = {}
    for entry in read(table, metric):
        made = "" if entry.calls == entry.nfe else f", {entry.calls:g} made"
        said = (
            f"<b>{entry.method}</b><br>{entry.nfe} calls{made}: {entry.value:.3g} ± {entry.half:.1g}<br>"
            f"{entry.seeds} × {entry.count} images; as many real ones {entry.floor:.2g}"
        )
        by.setdefault(entry.method, []).append(figures.Point(entry.nfe, entry.value, entry.half, said))
    title = f"{table.partition('-')[2]}: distance to the data against network calls"
    return figures.Curves(by, "network calls allowed", metric, title, begins)


def beside(
    table: str, nfe: int, metrics: Mapping[str, str], methods: Iterable[str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Several metrics at one budget: a row per method, a column per metric, every number with half its interval.

    Parameters
    ----------
    table : str
    nfe : int
    metrics : mapping
        Of metrics to what their columns are called; one that the table does not hold has no column.
    methods : iterable of str, optional
        In this order; default all, in that of the table.

    Returns
    -------
    columns : list of str
    rows : list of list of str

    Raises
    ------
    DataError
        If the table is not there, or holds none of the metrics.
    """
    wanted = None if methods is None else list(methods)
    held = {row["metric"] for rows in results.read(table)["rows"] for row in rows.get("rows", [])} | {"FD"}
    found = {title: read(table, metric, wanted) for metric, title in metrics.items() if metric in held}
    if not found:
        raise DataError(f"{table} holds none of {', '.join(metrics)}: there are {', '.join(sorted(held))}.")
    cells: dict[str, list[str]] = {}
    for entries in found.values():
        for entry in entries:
            if entry.nfe == nfe:
                cells.setdefault(entry.method, []).append(f"{entry.value:.3g} ± {entry.half:.1g}")
    return ["method", *found], [[method, *said] for method, said in cells.items()]


def chosen(table: str) -> list[str]:
    """What the searches of a table found, a sentence for each, and where the best lies at the end of what was tried.

    Returns
    -------
    list of str
        As in "predictor-corrector, best TDAS, 20 calls: lam = 0.2, r = 0.05 (r = 0.05 is the smallest that was tried)."

    Raises
    ------
    DataError
        If the table is not there.
    """
    rows = results.read(table)["rows"]
    methods = {_searched(row): row["method"] for row in rows if row["method"] != "choice"}
    said = []
    for row in rows:
        if row["method"] != "choice" or row["rule"]["rule"] != "best":
            continue
        method = methods.get(_searched(row | {"plan": row["plan"] | {"filt": row["filt"]}}))
        if method is None:  # searched, and judged by no row yet
            continue
        point = min(row["why"]["tried"], key=lambda pair: math.inf if pair[0] is None else pair[0])[1]
        shown = {name: value for name, value in point.items() if name not in ("kind", "drift", "where", "space")}
        found = ", ".join(f"{k} = {v:g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in shown.items())
        ends = f" ({'; '.join(row['why']['ends'])})" if row["why"]["ends"] else ""
        said.append((method, row["plan"]["nfe"], f"{method}, {row['plan']['nfe']} calls: {found}{ends}."))
    return [sentence for _, _, sentence in sorted(said)]


def _searched(row: Mapping[str, Any]) -> str:
    return json.dumps([row["plan"][name] for name in ("sampler", "nfe", "filt")], sort_keys=True)


def missing(table: str, methods: Iterable[str]) -> list[str]:
    """Methods that the table has no row of yet."""
    known = {row["method"] for row in results.read(table)["rows"]}
    return [method for method in methods if method not in known]


def drift(shipped: Path, fresh: Path, only: str | None = None) -> list[str]:
    """Where a table that was made again differs from the one that is shipped, beyond both intervals.

    Parameters
    ----------
    shipped, fresh : Path
        Two tables of `fewsteps sweep`.
    only : str, optional
        Compare the rows of this method, sampler or budget (nfe=20) alone, as a sweep with the same word makes them.

    Returns
    -------
    list of str
        A sentence for every number whose difference exceeds the interval of a difference, and for every row that only
        one of them has.

    Raises
    ------
    DataError
        If a table is not there or damaged.
    """
    before, now = _by_run(shipped, only), _by_run(fresh, only)
    said = [f"{_run(run)}: only in {fresh.name}" for run in now if run not in before]
    for run, rows in before.items():
        if run not in now:
            said.append(f"{_run(run)}: not in {fresh.name}")
            continue
        for metric, (value, half) in rows.items():
            again, its_half = now[run].get(metric, (math.nan, 0.0))
            if not abs(value - again) <= math.hypot(half, its_half):
                said.append(f"{_run(run)}: {metric} is {again:.4g} ± {its_half:.2g} and was {value:.4g} ± {half:.2g}")
    return said


def _by_run(path: Path, only: str | None) -> dict[tuple[str, int, int], dict[str, tuple[float, float]]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return {
            (row["method"], row["plan"]["nfe"], row["plan"]["seed"]): {
                said["metric"]: (said["value"], max(said["high"] - said["value"], said["value"] - said["low"]))
                for said in row["rows"]
            }
            for row in rows
            if row["method"] != "choice"
            and only in (None, row["method"], row["plan"].get("sampler"), f"nfe={row['plan']['nfe']}")
        }
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is no table of fewsteps sweep: restore it, or make it again.") from error


def _run(run: tuple[str, int, int]) -> str:
    return f"{run[0]}, {run[1]} NFE, seed {run[2]}"

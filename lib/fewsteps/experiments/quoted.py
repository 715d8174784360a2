"""The papers' own tables, quoted from ``data/quoted.yaml``, and which table of this project has the same question.

Quoted numbers are of other networks, images and machines: what can be set beside ours is the ratio with and without a
method, and even that in a table of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fewsteps.errors import DataError, ParameterError
from fewsteps.experiments import boards
from fewsteps.experiments.slim import COLUMNS, FEWER, LITE, SLIM, TEACHER

PATH = Path(__file__).resolve().parents[3] / "data" / "quoted.yaml"
PAPERS = {
    "TDAS": "TDAS",
    "PDS": "PDS",
    "SD": "Spectral Diffusion",
    "PixelAware": "PixelAware",
    "ProgDDGAN": "Progressive DDGAN",
}
WITHOUT = ("without TDAS", "vanilla")
WITH = ("with TDAS", "TDAS", "PDS")


@dataclass(frozen=True)
class Quoted:
    """One table of a paper.

    Attributes
    ----------
    paper, table : str
        A key of `PAPERS`, and the table's number there.
    about : str
        What it compares, in our words.
    metrics : tuple of str
    lower : tuple of bool or None
        Whether less is better; None for what is no quality.
    units : tuple of str or None
    keys : tuple of str
        What tells its rows apart.
    rows : tuple of tuples
        Keys, then metrics; None for a dash.
    notes : str
    """

    paper: str
    table: str
    about: str
    metrics: tuple[str, ...]
    lower: tuple[bool | None, ...]
    units: tuple[str | None, ...]
    keys: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: str = ""

    @property
    def columns(self) -> list[str]:
        """Headings of all columns."""
        units = [f" ({unit})" if unit else "" for unit in self.units]
        return [*self.keys, *(f"{name}{unit}" for name, unit in zip(self.metrics, units, strict=True))]

    def lines(self) -> list[list[str]]:
        """Rows as text, as printed; a dash for what the paper leaves empty."""
        return [["–" if value is None else _text(value) for value in row] for row in self.rows]

    def ratios(self) -> list[tuple[str, float]]:
        """What a method does to the first metric: pairs of a name and with over without, in the order of the table.

        Rows are pairs where all their keys but the method agree. Empty for a table that has no such pairs.
        """
        if "method" not in self.keys:
            return []
        place = self.keys.index("method")
        value = len(self.keys)
        sides: dict[tuple[Any, ...], dict[str, float]] = {}
        for row in self.rows:
            side = "without" if row[place] in WITHOUT else "with" if row[place] in WITH else None
            if side and row[value] is not None:
                rest = (*row[:place], *row[place + 1 : value])
                sides.setdefault(rest, {})[side] = float(row[value])
        whole = {rest: both for rest, both in sides.items() if len(both) == 2}
        return [(", ".join(map(_text, rest)), both["with"] / both["without"]) for rest, both in whole.items()]


class _Printed(float):
    """A number that is shown with the digits that a paper gives it: 27.30 and not 27.3."""

    digits: str

    def __str__(self) -> str:
        return self.digits


class _Loader(yaml.SafeLoader):
    """YAML whose numbers remember how they are written."""


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> _Printed:
    found = _Printed(loader.construct_yaml_float(node))
    found.digits = node.value
    return found


_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else f"{value}"


@cache
def tables(path: Path = PATH) -> tuple[Quoted, ...]:
    """All of them, in the order of the file.

    Raises
    ------
    DataError
        If the file is not there or damaged, or a row has more or fewer values than its table has columns.
    """
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader
        found = tuple(_table(entry) for entry in entries)
    except OSError as error:
        raise DataError("data/quoted.yaml is not there: run from a checkout of fewsteps.") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"data/quoted.yaml is damaged ({error}): restore it with git checkout.") from error
    for quoted in found:
        for row in quoted.rows:
            if len(row) != len(quoted.columns):
                raise DataError(
                    f"{quoted.paper}, Table {quoted.table} in data/quoted.yaml has {len(quoted.columns)} columns, and "
                    f"a row of it has {len(row)}: {list(row)}."
                )
    return found


def _table(entry: Mapping[str, Any]) -> Quoted:
    metrics = entry["metric"] if isinstance(entry["metric"], list) else [entry["metric"]]

    def each(key: str) -> tuple[Any, ...]:
        given = entry.get(key)
        return tuple(given.get(name) if isinstance(given, Mapping) else given for name in metrics)

    return Quoted(
        entry["paper"], str(entry["table"]), entry["about"], tuple(metrics), each("lower_is_better"), each("unit"),
        tuple(entry["keys"]), tuple(tuple(row) for row in entry["rows"]), " ".join(str(entry.get("notes", "")).split()),
    )  # fmt: skip


def of(paper: str) -> list[Quoted]:
    """The tables of one paper.

    Raises
    ------
    ParameterError
        If it is none of `PAPERS`.
    """
    if paper not in PAPERS:
        raise ParameterError(f"paper must be one of {', '.join(PAPERS)}, not {paper!r}.")
    return [quoted for quoted in tables() if quoted.paper == paper]


@dataclass(frozen=True)
class Ours:
    """What this project measures on a table's question.

    Attributes
    ----------
    grid : str
        Of :mod:`fewsteps.experiments.grids`.
    methods : sequence of str
        Its rows: the method, without it, and what it has to beat.
    pair : (str, str)
        The method and what it is compared with in a ratio.
    differs : str
        What is not the same.
    """

    grid: str
    methods: Sequence[str]
    pair: tuple[str, str]
    differs: str


_PC, _PC_TDAS, _PC_SCALAR = "predictor-corrector", "predictor-corrector, best TDAS", "predictor-corrector, best scalar"
_RIVALS = (_PC_SCALAR, "VE ancestral", "DPM-Solver++(2M)")
_STEP, _STEP_PDS, _STEP_TDAS = (f"annealed Langevin, best {what}" for what in ("step", "PDS and step", "TDAS and step"))
_SMALL = "a small network, and FD in the features of a classifier"
OURS: dict[tuple[str, str], list[Ours]] = {
    ("TDAS", "1"): [Ours("scoreboard-faces", (_PC, _PC_TDAS, *_RIVALS), (_PC_TDAS, _PC), f"64 px, {_SMALL}")],
    ("TDAS", "3b"): [
        Ours(f"scoreboard-{name}", (_PC, _PC_TDAS, *_RIVALS), (_PC_TDAS, _PC), f"{_SMALL}; calls, not iterations")
        for name in ("cifar10", "mnist", "digits")
    ],
    ("TDAS", "3a"): [
        Ours(
            "moves-cifar10-ncsn",
            (_STEP, _STEP_TDAS),
            (_STEP_TDAS, _STEP),
            f"{_SMALL}; the step is chosen with and without the filter, at one budget",
        )
    ],
    ("TDAS", "6"): [
        Ours(
            "native-vp",
            ("Analytic-DDIM", "Analytic-DDIM, best TDAS", "Analytic-DDIM, best scalar", "DDIM", "DPM-Solver++(2M)"),
            ("Analytic-DDIM, best TDAS", "Analytic-DDIM"),
            f"Fashion-MNIST, {_SMALL}",
        )
    ],
    ("PDS", "1"): [
        Ours(
            f"moves-{name}",
            (_STEP, _STEP_PDS),
            (_STEP_PDS, _STEP),
            f"{_SMALL}; the step is chosen with and without the preconditioner, the paper's table holds parameters",
        )
        for name in ("mnist-ncsn", "mnist-ncsnv2")
    ],
    ("PDS", "3"): [
        Ours(
            f"scoreboard-{name}",
            (_PC, "predictor-corrector, best PDS", *_RIVALS),
            ("predictor-corrector, best PDS", _PC),
            f"{_SMALL}; calls, not iterations",
        )
        for name in ("cifar10", "mnist", "digits", "faces")
    ],
}
_SLIM = (TEACHER, LITE, SLIM, FEWER)
_SETTINGS = {
    "slim-fashion": "Fashion-MNIST in pixels",
    "slim-cifar10-fine": "CIFAR-10 in pixels",
    "slim-faces-latent": "faces in latents",
}
OURS |= {
    ("SD", "2, FFHQ"): [
        Ours(table, _SLIM, (SLIM, LITE), f"{data}, {_SMALL}; the last row is not in the paper")
        for table, data in _SETTINGS.items()
    ],
    ("SD", "5"): [
        Ours(
            "slim-fashion",
            tuple(COLUMNS),
            ("gates", LITE),
            f"Fashion-MNIST in pixels, {_SMALL}; Lite is the paper's column without any part; controls "
            "and attempts of ours are added",
        )
    ],
}
ELSEWHERE: dict[tuple[str, str], str] = {
    ("TDAS", "2"): "exactly, as network calls to one distance from the data, in chapter 05",
    ("TDAS", "4"): "what the rule gives on trained networks, and where it gives nothing, in chapter 05",
    ("TDAS", "5"): "what the rule gives for a VP network in chapter 05",
    ("PDS", "2"): "the masks for these parameters are drawn, and judged exactly, in chapter 06",
    ("SD", "1"): "on networks and their slim ones, low and high frequencies apart, in chapter 08 (SD-3)",
    ("SD", "3"): "by guidance weight in chapter 08 (SD-10)",
    **dict.fromkeys((("PixelAware", "1"), ("PixelAware", "2")), "on MNIST and Fashion-MNIST in chapter 09 (PX-9)"),
    ("SD", "4"): "not: captions and their encoder are out of reach here, as chapter 08 says",
    **{
        ("SD", f"2, {data}"): "the same question as for FFHQ above, which our data sets answer"
        for data in ("CelebA-HQ", "LSUN-Bedroom", "LSUN-Church")
    },
}
LATER = {"SD": "08", "PixelAware": "09", "ProgDDGAN": "10"}


def answer(quoted: Quoted) -> str:
    """Where a table without an entry in `OURS` is answered, in words."""
    said = ELSEWHERE.get((quoted.paper, quoted.table))
    return said or f"open; it belongs to chapter {LATER[quoted.paper]}"


def measured(ours: Ours) -> tuple[list[str], list[list[str]]] | None:
    """What there is so far: columns and rows to print, or None where no cell has been computed yet."""
    try:
        columns, rows = boards.lines(ours.grid, ours.methods)
    except DataError:
        return None
    return (columns, rows) if rows else None


def effect(ours: Ours) -> list[tuple[str, float, float, float]]:
    """The method over what it is compared with, by budget: (calls, ratio, low, high), as if samples were independent.

    Empty where the rows are not there yet.
    """
    try:
        entries = {(entry.method, entry.nfe): entry for entry in boards.read(ours.grid, methods=ours.pair)}
    except DataError:
        return []
    found = []
    for (method, nfe), one in entries.items():
        other = entries.get((ours.pair[1], nfe))
        if method == ours.pair[0] and other is not None:
            ratio = one.value / other.value
            spread = ratio * math.hypot(one.half / one.value, other.half / other.value)
            found.append((f"{nfe} calls", ratio, ratio - spread, ratio + spread))
    return found

"""The coverage map: which row of the papers is built by which function, shown by which test, drawn in which notebook.

`data/coverage.yaml` is written by hand, a list with one entry per row. The tests hold it to the truth: a function
that is listed exists and cites the row, a test that is listed was collected and passed. The book's page is made from
the same file and is never committed, so it cannot say anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from fewsteps.errors import UserError

__all__ = ["PAPERS", "Row", "cites", "load", "page", "plain"]

PAPERS = {
    "BASE": "Baselines the papers stand on",
    "TDAS": "Target distribution aware sampling",
    "PDS": "Preconditioned diffusion sampling",
    "SD": "Spectral diffusion",
    "PX": "Pixel-aware reverse diffusion",
    "PD": "Progressive denoising diffusion GAN",
}
"""Prefix of a row's ID -> heading of its table, in the order of the page."""

STATES = ("done", "in part", "not yet")

_KEYS = ("id", "what", "todo", "functions", "tests", "notebook", "open")
_ID = re.compile(rf"(?:BASE-[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*|(?:{'|'.join(p for p in PAPERS if p != 'BASE')})-[1-9]\d*)")
_FUNCTION = re.compile(r"fewsteps(?:\.[A-Za-z_]\w*)+")
_TEST = re.compile(r"(?:[\w-]+/)*test_\w+\.py(?:::\w+)+(?:\[.*\])?")
_NOTEBOOK = re.compile(r"notebooks/[\w-]+\.ipynb")


@dataclass(frozen=True)
class Row:
    """One row of the map.

    Attributes
    ----------
    id : str
        As in the papers' list, for example ``SD-1``.
    what : str
        What is to be built, in a few words.
    functions : tuple of str
        Dotted names of functions or classes, for example ``fewsteps.transforms.dct2``.
    tests : tuple of str
        Node IDs of pytest relative to ``lib/tests``; without ``[...]`` a name stands for every parameter set.
    notebook : str or None
        Path of the notebook that draws the row, from the root of the repository.
    todo : str or None
        For a row that nothing answers yet: the chapter or the issue that will.
    open : str or None
        For a row that is answered in part: what is missing.
    """

    id: str
    what: str
    functions: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    notebook: str | None = None
    todo: str | None = None
    open: str | None = None

    @property
    def paper(self) -> str:
        """Prefix of the ID: a key of :data:`PAPERS`."""
        return self.id.split("-", 1)[0]

    @property
    def state(self) -> str:
        """One of :data:`STATES`."""
        if self.todo is not None:
            return "not yet"
        return "in part" if self.open is not None else "done"


def cites(text: str | None, row_id: str) -> bool:
    """Whether `text` names the row literally.

    A range such as ``PX-1..4`` names none of its rows: a reader who searches for an ID has to find it.

    Parameters
    ----------
    text : str or None
        A docstring, a test's source or a notebook's text.
    row_id : str

    Returns
    -------
    bool
    """
    after = r"(?![\w-])(?!\s*(?:\.\.|[\u2013\u2014])\s*\w)"  # an en or em dash makes a range as well
    return text is not None and re.search(rf"(?<![\w-]){re.escape(row_id)}{after}", text) is not None


def load(root: Path | str) -> tuple[Row, ...]:
    """Read and check `data/coverage.yaml`.

    Parameters
    ----------
    root : Path or str
        Root of the repository.

    Returns
    -------
    tuple of Row
        In the order of the file.

    Raises
    ------
    UserError
        If the file is missing or unreadable, or an entry has an unknown key, no ID, an ID that occurs twice, both
        `todo` and `functions`, neither of them, no test, or no notebook and no word in `open` that says so.
    """
    path = Path(root) / "data" / "coverage.yaml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"data/coverage.yaml cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"data/coverage.yaml is not valid YAML{where}.") from error
    if not isinstance(entries, list) or not entries:
        raise UserError("data/coverage.yaml must be a list with one entry per row, each beginning with '- id:'.")
    rows = tuple(_row(entry, number) for number, entry in enumerate(entries, start=1))
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise UserError(f"data/coverage.yaml lists {row.id} twice; merge the two entries.")
        seen.add(row.id)
    return rows


def _row(entry: object, number: int) -> Row:
    if not isinstance(entry, dict) or "id" not in entry:
        raise UserError(f"entry {number} of data/coverage.yaml has no 'id'; give it one such as SD-1.")
    row_id = entry["id"]
    if not isinstance(row_id, str) or _ID.fullmatch(row_id) is None:
        raise UserError(
            f"entry {number} of data/coverage.yaml has the id {row_id!r}; an id is TDAS, PDS, SD, PX or PD "
            "with a hyphen and a number, or BASE- and a name."
        )
    unknown = [str(key) for key in entry if key not in _KEYS]
    if unknown:
        raise UserError(
            f"{row_id} in data/coverage.yaml has the unknown key {unknown[0]!r}; keys are {', '.join(_KEYS)}."
        )
    what = _text(entry, "what", row_id)
    if what is None:
        raise UserError(f"{row_id} in data/coverage.yaml has no 'what'; say in a few words what is to be built.")
    row = Row(
        id=row_id,
        what=what,
        functions=_list(entry, "functions", _FUNCTION, "fewsteps.transforms.dct2", row_id),
        tests=_list(entry, "tests", _TEST, "test_wiener.py::test_name", row_id),
        notebook=_text(entry, "notebook", row_id),
        todo=_text(entry, "todo", row_id),
        open=_text(entry, "open", row_id),
    )
    _consistent(row)
    return row


def _consistent(row: Row) -> None:
    where = f"{row.id} in data/coverage.yaml"
    if row.todo is not None:
        for key in ("functions", "tests", "notebook", "open"):
            if getattr(row, key):
                raise UserError(f"{where} has both 'todo' and {key!r}; a row that is partly done says so in 'open'.")
        return
    if not row.functions:
        raise UserError(f"{where} has neither 'todo' nor 'functions'; give it one of them.")
    if not row.tests:
        raise UserError(f"{where} has functions and no 'tests'; a row counts as built only when a test shows it.")
    if row.notebook is None and row.open is None:
        raise UserError(f"{where} has no 'notebook'; name one, or say in 'open' that it is not drawn yet.")
    if row.notebook is not None and _NOTEBOOK.fullmatch(row.notebook) is None:
        raise UserError(f"{where} has the notebook {row.notebook!r}; write it as notebooks/01_name.ipynb.")


def _text(entry: dict, key: str, row_id: str) -> str | None:
    if key not in entry:
        return None
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{key!r} of {row_id} in data/coverage.yaml must be text, not {value!r}.")
    return " ".join(value.split())


def _list(entry: dict, key: str, pattern: re.Pattern[str], example: str, row_id: str) -> tuple[str, ...]:
    if key not in entry:
        return ()
    values = entry[key]
    if not isinstance(values, list) or not values:
        raise UserError(f"{key!r} of {row_id} in data/coverage.yaml must be a list with at least one entry.")
    for value in values:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise UserError(f"{key!r} of {row_id} in data/coverage.yaml holds {value!r}; write it like {example}.")
    return tuple(values)


def page(root: Path | str) -> str:
    """The coverage page of the book, as MyST markdown.

    Parameters
    ----------
    root : Path or str
        Root of the repository.

    Returns
    -------
    str
        A page with one heading, the counts, and one table per paper.

    Raises
    ------
    UserError
        As :func:`load`.
    """
    rows = load(root)
    parts = [
        "# Coverage: from the papers to the code",
        "Every row below is one thing that a paper asks software to do. **Done** means that a function builds it, a "
        "test shows it and a notebook draws it; **in part** says what is missing; **not yet** says which chapter will "
        "bring it. The page is made from `data/coverage.yaml`, and the test suite fails when a function that is named "
        "here does not exist or does not cite its row, or when a test that is named here did not run and pass.",
        _counts(rows),
    ]
    for prefix, title in PAPERS.items():
        mine = [row for row in rows if row.paper == prefix]
        if mine:
            parts += [f"## {title}", _table(mine)]
    return "\n\n".join(parts) + "\n"


def _counts(rows: Iterable[Row]) -> str:
    rows = list(rows)
    lines = ["| rows | " + " | ".join(STATES) + " | all |", "| --- |" + " ---: |" * (len(STATES) + 1)]
    for prefix in (*PAPERS, None):
        mine = [row for row in rows if prefix in (None, row.paper)]
        if mine:
            counts = [sum(row.state == state for row in mine) for state in STATES]
            cells = [prefix or "**all**", *(str(n) for n in counts), str(len(mine))]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(rows: Iterable[Row]) -> str:
    lines = ["| ID | what | functions, tests, notebook | state |", "| --- | --- | --- | --- |"]
    for row in rows:
        state = {"not yet": f"not yet: {row.todo}", "in part": f"in part: {row.open}"}.get(row.state, "done")
        cells = [
            row.id,
            plain(row.what),
            _codes([*row.functions, *row.tests, *([row.notebook] if row.notebook else [])]),
            plain(state),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plain(text: str) -> str:
    """Text as text: nothing in it opens a formula, a cell, a link, code or emphasis."""
    return re.sub(r"([\\`*_{}\[\]<>$|])", r"\\\1", text)


def _codes(names: Iterable[str]) -> str:
    return "<br>".join(f"`{name.replace('|', chr(92) + '|')}`" for name in names)

"""The tables that this project measured and ships in ``data/results``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewsteps.errors import DataError
from fewsteps.files import write_atomic

FOLDER = Path(__file__).resolve().parents[2] / "data" / "results"


def read(name: str) -> dict[str, Any]:
    """One table, with the command that made it.

    Parameters
    ----------
    name : str
        File name without ``.json``.

    Returns
    -------
    dict
        At least ``made_by``, the command, and ``rows``, a list.

    Raises
    ------
    DataError
        If the library does not run from a checkout, or the table is missing or damaged.
    """
    path = FOLDER / f"{name}.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(table["made_by"], str) and isinstance(table["rows"], list)):
            raise TypeError
    except FileNotFoundError as error:
        raise DataError(f"data/results/{name}.json is not there: run from a checkout of fewsteps.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"data/results/{name}.json is damaged: restore it with git checkout.") from error
    return table


def rounded(value: Any) -> Any:
    """Numbers to the four digits that are more than they have, in lists, mappings, arrays and tensors too."""
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def write(path: Path, made_by: str, rows: Sequence[Mapping[str, Any]], **head: Any) -> None:
    """A table as :func:`read` wants it, a row to a line, whole or as it stood.

    Parameters
    ----------
    path : Path
    made_by : str
        The command.
    rows : sequence of mapping
    head
        What is said of all rows, beside the command.
    """
    lines = ",\n".join(json.dumps(row) for row in rows)
    said = "".join(f", {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())
    write_atomic(path, f'{{"made_by": {json.dumps(made_by)}{said}, "rows": [\n{lines}\n]}}\n')

"""Weights that others published: not shipped, they lie in ``weights`` of the folder that FEWSTEPS_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

from fewsteps.errors import DataError


def weights(file: str) -> Path:
    """Where a file of them lies.

    Raises
    ------
    DataError
        If it is not there.
    """
    path = Path(os.environ.get("FEWSTEPS_DATA", "")) / "weights" / file
    if not path.exists():
        raise DataError(f"{file} is not in the folder weights of FEWSTEPS_DATA: the second opinion needs it.")
    return path

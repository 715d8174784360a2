"""Tensors with a few words about them, in one safetensors file: how statistics are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fewsteps.errors import DataError
from fewsteps.files import write_atomic


def keep(path: Path, about: Mapping[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write them whole or not at all."""
    write_atomic(path, save(tensors, metadata={"about": json.dumps(dict(about))}))
    return path


def take(path: Path, remedy: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is said, and the tensors by name.

    Raises
    ------
    DataError
        If the file is damaged; `remedy` says what to do.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"data/statistics/{path.name} is damaged: {remedy}") from error

"""Trained weights in safetensors, each with a card that says what they are, and the hash that holds both together.

A checkpoint ``name`` is two files: ``name.safetensors``, the weights in half precision, and ``name.json``, its card.
No pickle is ever read or written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as _parse
from safetensors.torch import save as _bytes
from torch import Tensor

from fewsteps.errors import CheckpointError
from fewsteps.files import write_atomic, write_together

FOLDER = Path(__file__).resolve().parents[2] / "data" / "checkpoints"
NEEDED = ("name", "network", "predicts", "data", "weights")


def names(folder: Path = FOLDER) -> list[str]:
    """The checkpoints in a folder, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.json") if path.with_suffix(".safetensors").exists())


def home(name: str, folder: Path) -> Path:
    """Where a checkpoint lies that another one needs: beside it, or among those that are shipped."""
    return folder if (folder / f"{name}.json").exists() else FOLDER


def images_seen(card: Mapping[str, Any]) -> int:
    """How many images a network was trained on, those of the network that it began with included.

    Parameters
    ----------
    card : mapping
    """
    training = card["training"]
    return training["images"] + sum(entry.get("images", 0) for entry in training.get("history", []))


def save(folder: Path, card: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Path:
    """Write weights in half precision and their card; both are written aside first, then put in place together.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    card : mapping
        What can be said of the weights; ``name``, ``network``, ``predicts`` and ``data`` at least. ``weights`` is
        filled in here.
    weights : mapping of str to Tensor
        Floating-point tensors are rounded to float16, which keeps 11 bits of weights that training leaves near 1.

    Returns
    -------
    Path
        Of the card.

    Raises
    ------
    CheckpointError
        If a weight is not finite in half precision.
    """
    halved = {name: _half(name, tensor) for name, tensor in weights.items()}
    content = _bytes(halved)
    described = dict(card) | {"weights": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}
    missing = [key for key in NEEDED if key not in described]
    if missing:
        raise CheckpointError(f"a card needs {', '.join(NEEDED)}; {', '.join(missing)} is missing.")
    path = folder / f"{card['name']}.json"
    write_together(
        {path.with_suffix(".safetensors"): content, path: json.dumps(described, indent=2, ensure_ascii=False) + "\n"}
    )
    return path


def _half(name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float16)
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{name} is not finite in half precision: this network is not fit to be kept.")
    return tensor.contiguous()


def card(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The card of a checkpoint.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, which lists those there are, or the card is damaged.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        there = names(folder)
        known = f"there are {', '.join(there)}" if there else "the folder holds none; fewsteps train makes one"
        raise CheckpointError(f"no checkpoint is called {name!r}: {known}.")
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(read, dict) or any(key not in read for key in NEEDED):
            raise TypeError
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"the card {path.name} is damaged: restore it with git checkout.") from error
    return read


def load(name: str, folder: Path = FOLDER) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Card and weights, the weights in float32.

    Parameters
    ----------
    name : str
    folder : Path

    Returns
    -------
    (dict, dict of str to Tensor)

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or the weights are not those that the card describes.
    """
    described = card(name, folder)
    path = folder / f"{name}.safetensors"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.name} is missing beside its card: restore it with git checkout.") from error
    if hashlib.sha256(content).hexdigest() != described["weights"].get("sha256"):
        raise CheckpointError(f"{path.name} is not the file that its card describes: restore both with git checkout.")
    try:
        weights = _parse(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is no safetensors file: restore it with git checkout.") from error
    return described, {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}


def record(name: str, folder: Path, said: Mapping[str, Any]) -> None:
    """Add what was measured to a card; keys that stand there are replaced."""
    path = folder / f"{name}.json"
    described = card(name, folder) | dict(said)
    write_atomic(path, json.dumps(described, indent=2, ensure_ascii=False) + "\n")

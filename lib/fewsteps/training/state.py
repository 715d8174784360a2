"""Where training stands, in one file: weights, their average, Adam's moments, and how far it has come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fewsteps import checkpoints
from fewsteps.errors import CheckpointError
from fewsteps.files import write_atomic
from fewsteps.networks import Student


@dataclass
class Position:
    """How far training has come."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    loss: float = float("nan")
    history: list[dict[str, Any]] = field(default_factory=list)
    """What the recipe was before it was changed in the middle: ``until`` which step, and ``before``, what changed. A
    run that was taken up from a checkpoint, its state being lost, says ``restarted`` in place of ``before``; one that
    began with another network's weights ``begun``, and how many ``images`` that one had seen."""
    restarted: int = 0
    """The step at which Adam's moments last began from nothing."""


class Average:
    """Exponential average of the weights, with a half-life in images that grows from nothing.

    Early weights are poor, so the half-life is a tenth of the images seen until it reaches its full length.

    Parameters
    ----------
    network : nn.Module
    half_life : float
        In images.
    raw : str
        Weights whose names begin like this are kept as they are: a discriminator goes on from its last weights, which
        judge the last generator, and never samples.

    Notes
    -----
    Source: BASE-NCSNv2 (EMA), BASE-HEUN (its ramp).
    """

    def __init__(self, network: nn.Module, half_life: float, raw: str = "") -> None:
        self.half_life, self.raw = half_life, raw
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, batch: int, seen: int) -> None:
        """Take in the weights after a step of `batch` images."""
        # Not of the state_dict, which would make a view of every tensor at every step.
        now = dict(network.named_parameters(remove_duplicate=False))
        now |= dict(network.named_buffers(remove_duplicate=False))
        keep = 0.5 ** (batch / max(min(self.half_life, seen / 10), 1e-9)) if self.half_life else 0.0
        floating = [
            name
            for name, value in self.weights.items()
            if value.is_floating_point() and not (self.raw and name.startswith(self.raw))
        ]
        blend = get_ema_multi_avg_fn(keep)
        blend([self.weights[n] for n in floating], [now[n] for n in floating], None)
        for name in self.weights.keys() - set(floating):
            self.weights[name].copy_(now[name])


def _parts(network: nn.Module, average: Average, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that training continues from, by name."""
    for name, tensor in network.state_dict().items():
        yield f"network/{name}", tensor
    for name, tensor in average.weights.items():
        yield f"average/{name}", tensor
    for name, weight in network.named_parameters():
        for key, value in optimiser.state[weight].items():
            yield f"optimiser/{key}/{name}", value


def store(
    path: Path,
    network: nn.Module,
    average: Average,
    optimiser: torch.optim.Optimizer,
    position: Position,
    recipe: dict[str, Any],
) -> None:
    """Write the state whole, or leave what stood there."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _parts(network, average, optimiser)}
    metadata = {"position": json.dumps(asdict(position)), "recipe": json.dumps(recipe, sort_keys=True)}
    write_atomic(path, save(tensors, metadata=metadata))


RESTARTED = "from the shipped weights, averaged and in half precision, with Adam's moments anew"
ALIGNED = "; so are the convolutions that take a student's features to its teacher's widths"


def take_up(
    folder: Path, name: str, network: nn.Module, average: Average, recipe: dict[str, Any], predicts: dict[str, Any]
) -> Position:
    """Begin where a checkpoint ended whose state is lost: with its averaged weights and without Adam's moments.

    Parameters
    ----------
    folder : Path
        Of the checkpoint and its card.
    name : str
    network : nn.Module
        Of a student only what is shipped is taken up.
    average : Average
    recipe : dict
        As for `restore`.
    predicts : dict
        What the objective says that the network predicts; the card must say the same.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, it is of another network or of other images, or predicts something else.
    """
    card, weights = checkpoints.load(name, folder)
    before = card["training"]["recipe"] | {"images": card["data"]["sha256"]}
    now = json.loads(json.dumps(recipe, sort_keys=True))
    said, wanted = card["predicts"], json.loads(json.dumps(predicts))
    other = sorted(key for key in before.keys() & now.keys() if before[key] != now[key])
    apart = [key for key in FIXED if key in other]
    apart += sorted(key for key in said.keys() | wanted.keys() if said.get(key) != wanted.get(key))
    if apart:
        raise CheckpointError(f"{name} in {folder.name} was trained with another {', '.join(apart)}: leave it out.")
    student = isinstance(network, Student)
    try:
        (network.network if student else network).load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{name} in {folder.name} is of another network: leave it out.") from error
    average.weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
    training = card["training"]
    history = [
        *training.get("history", []),
        {"until": training["steps"], "restarted": RESTARTED + (ALIGNED if student else "")},
    ]
    if other:
        history[-1]["before"] = {key: before[key] for key in other}
    return Position(
        training["steps"], training["images"], 60 * training["minutes"], training["loss"], history, training["steps"]
    )


def begin_with(name: str, network: nn.Module, average: Average, folder: Path = checkpoints.FOLDER) -> Position:
    """Begin with the weights of another checkpoint, for a network that has layers more than that one.

    Parameters
    ----------
    name : str
        Of the checkpoint.
    network : nn.Module
        Layers that the checkpoint lacks stay as they are.
    average : Average
    folder : Path, optional

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or it has weights that the network has no place for.
    """
    card, weights = checkpoints.load(name, folder)
    own = network.state_dict()
    odd = sorted(key for key, value in weights.items() if key not in own or own[key].shape != value.shape)
    if odd:
        raise CheckpointError(f"{name} has weights that the network has no place for: {', '.join(odd[:3])}.")
    network.load_state_dict(own | weights)
    average.weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
    said = {"until": 0, "begun": f"with the weights of {name}, sha256 {card['weights']['sha256'][:16]}"}
    return Position(history=[said | {"images": card["training"]["images"]}])


FIXED = ("name", "data", "size", "network", "images")  # what no state can be taken into another of


def restore(
    path: Path,
    network: nn.Module,
    average: Average,
    optimiser: torch.optim.Optimizer,
    recipe: dict[str, Any],
    *,
    changed: bool = False,
) -> Position:
    """Take up the state in a file.

    Parameters
    ----------
    changed : bool
        Take it up although the recipe has changed in something else than the data and the network since; the position
        then remembers what it was before.

    Raises
    ------
    CheckpointError
        If the file is damaged, or belongs to another recipe.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        position = Position(**json.loads(metadata["position"]))
        before = json.loads(metadata["recipe"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged: remove it to start again.") from error
    now = json.loads(json.dumps(recipe, sort_keys=True))
    other = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    # An objective may change its numbers, not what the network predicts, which its kind decides.
    kinds = {str(said.get("objective")).partition("(")[0] for said in (before, now)}
    fixed = bool(set(other) & set(FIXED)) or len(kinds) > 1
    if fixed or (other and not changed):
        rest = "" if fixed else ", or go on with --changed, which the card will say"
        raise CheckpointError(
            f"{path.name} was trained with another {', '.join(other)}: name another folder, or remove it{rest}."
        )
    if other:
        position.history.append({"until": position.step, "before": {key: before.get(key) for key in other}})
    for weight in network.parameters():  # Adam makes its moments at its first step; here they exist before it
        optimiser.state[weight] = {
            "step": torch.zeros((), device=weight.device),  # fused AdamW wants it beside the weight
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }
    with torch.no_grad():
        for name, tensor in _parts(network, average, optimiser):
            if name not in tensors:
                raise CheckpointError(f"{path.name} is damaged: remove it to start again.")
            tensor.copy_(tensors[name])
    return position

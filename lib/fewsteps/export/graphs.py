"""What is exported of a network, kind by kind: a module whose inputs and outputs a browser can work with.

Each knows the names of its `outputs`, an `example` of its inputs by name, and what is `said` of it in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewsteps import trained
from fewsteps.denoisers.edm import clock, precondition
from fewsteps.errors import ParameterError
from fewsteps.networks import Generator, ScaleVAE
from fewsteps.schedules import to_scale

INPUTS = ("x", "sigma", "label")
OUTPUT = "x0_hat"
PARTS = ("sampler", "encoder")
"""What of a checkpoint is exported: what makes images, or the semantic encoder of a progressive GAN."""


class Graph(nn.Module):
    """What a file is made of."""

    outputs: Sequence[str]
    said: dict[str, str]

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        raise NotImplementedError


def require_edm(card: dict[str, Any]) -> dict[str, Any]:
    """The card, if its network is preconditioned so that it serves any noise level.

    Raises
    ------
    ParameterError
        If it predicts something else, or works in latents.
    """
    if "latent" in card["data"]:
        raise ParameterError(f"{card['name']} works in latents, whose decoder is not exported: choose one of pixels.")
    return _require(card, "edm", "a network under EDM's preconditioning")


def require_gan(card: dict[str, Any]) -> dict[str, Any]:
    """The card, if its network is a denoising diffusion GAN.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    return _require(card, "ddgan", "a denoising diffusion GAN")


def _require(card: dict[str, Any], kind: str, words: str) -> dict[str, Any]:
    if (found := card["predicts"]["kind"]) != kind:
        raise ParameterError(f"the checkpoint must hold {words}, and {card['name']} predicts {found!r}.")
    return card


def of(model: trained.Trained, folder: Path, part: str) -> Graph:
    """The graph of a network, or of the part of it that is asked for.

    Raises
    ------
    CheckpointError
        If the estimator that belongs to it is not there.
    ParameterError
        If it is of a kind that is not exported, or has no such part.
    """
    if part not in PARTS:
        raise ParameterError(f"part must be one of {', '.join(PARTS)}, not {part!r}.")
    if part == "encoder":
        require_gan(model.card)
        return _Seen(model)
    if model.predicts == "ddgan":
        return _Drawing(model)
    if model.predicts == "scale":
        return _Decoder(model)
    if model.predicts == "parallel":
        return _Pair(model, trained.estimator_of(model.card, folder))
    require_edm(model.card)
    return _Mean(model)


class _Mean(Graph):
    """E[x0 given x0 + sigma z = x] for images in [0, 1]: what :class:`FromEDM` computes on VE, with sigma a tensor."""

    outputs = (OUTPUT,)

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.network, self.said = model.network, {}
        self.shape, self.classes = model.shape, model.classes
        self.mean, self.std = (float(model.card["predicts"][key]) for key in ("mean", "std"))

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        x = torch.zeros(count, *self.shape)
        given = (x, x.new_ones(count), *([torch.zeros(count, dtype=torch.int32)] if self.classes else []))
        return dict(zip(INPUTS, given, strict=False))

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        scaled = (x - self.mean) / self.std
        return precondition(self.network, scaled, sigma / self.std, label) * self.std + self.mean


class _Drawing(Graph):
    """One step of :func:`fewsteps.samplers.ddgan` with its generator: x0 drawn, then x_{t-1} from the posterior."""

    outputs = (OUTPUT, "x_s")
    network: Generator
    times: Tensor
    keep: Tensor
    to_x0: Tensor
    spread: Tensor

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.network = model.generator.generator
        self.shape = model.shape
        process = model.steps
        bar = process.alpha_bars
        alpha, sigma = bar.sqrt(), (1 - bar).sqrt()
        shrink = alpha[1:] * sigma[:-1] / (alpha[:-1] * sigma[1:])
        keep = sigma[:-1] * shrink / sigma[1:]
        tables = {
            "times": clock(sigma[1:] / alpha[1:]),
            "keep": keep,
            "to_x0": alpha[:-1] - keep * alpha[1:],
            "spread": sigma[:-1] * (1 - shrink.square()).sqrt(),
        }
        for called, table in tables.items():
            self.register_buffer(called, table.float())
        said = model.card["predicts"]
        self.said = {"steps": str(said["steps"]), "semantic": said["semantic"], "latent": str(self.network.latent)}

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        x = torch.zeros(count, *self.shape)
        return {"x": x, "z": torch.ones(count, self.network.latent), "noise": x + 1,
                "step": torch.ones(count, dtype=torch.int32)}  # fmt: skip

    def forward(self, x: Tensor, z: Tensor, noise: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        k = step.long() - 1
        x0 = self.network.unchecked(x, self.times[k], z)
        keep, to_x0, spread = (table[k][:, None, None, None] for table in (self.keep, self.to_x0, self.spread))
        return x0, keep * x + to_x0 * x0 + spread * noise


class _Seen(Graph):
    """What a semantic encoder sees in images in [0, 1]."""

    outputs = ("z_T",)

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.shape, self.said = model.shape, {}

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        return {"image": torch.zeros(count, *self.shape)}

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(2 * image - 1)


class _Decoder(Graph):
    """A vector of the last step as a scale, by a scale estimator of PixelAware."""

    outputs = ("scale",)
    network: ScaleVAE

    def __init__(self, model: trained.Trained) -> None:
        super().__init__()
        assert isinstance(model.network, ScaleVAE)
        self.network, about = model.network, model.card["predicts"]
        self.estimates, self.gamma = about["estimates"], float(about["gamma"])
        self.said = {"gamma": f"{self.gamma:g}"}

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        return {"vector": torch.zeros(count, self.network.latent)}

    def forward(self, vector: Tensor) -> Tensor:
        times = torch.ones_like(vector[:, 0])  # len() would bake in the length of the example
        return to_scale(self.network.decode(vector, times), self.estimates, self.gamma)


class _Pair(Graph):
    """A scale estimator, and the network that is told its scale: one pass of PixelAware."""

    def __init__(self, model: trained.Trained, estimator: trained.Trained) -> None:
        super().__init__()
        self.network, self.estimator, self.shape = model.network, estimator.network, model.shape
        about, known = model.card["predicts"], estimator.card["predicts"]
        self.estimates, self.gamma = known["estimates"], float(known["gamma"])
        self.said = {"gamma": f"{about['gamma']:g}", "steps": str(about["steps"]), "reading": about["reading"]}
        self.outputs = ("scale", OUTPUT if about["reading"] == "image" else "noises")

    def example(self, count: int) -> dict[str, Tensor]:
        """Inputs of the right kind, by name."""
        x = torch.zeros(count, *self.shape)
        return {"x": x, "t": x.new_ones(count)}

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        scale = to_scale(self.estimator(x, t)[0], self.estimates, self.gamma)
        return scale, self.network(x, t, scale)

"""Shipped networks, ready to sample: the card says what a checkpoint predicts, and the right adapter is put around it.

Images are in [0, 1] where the process is variance exploding, as in the papers that use it, and in [-1, 1] where it is
variance preserving; `to_images` takes either back to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewsteps import checkpoints, networks
from fewsteps.denoisers import Denoiser, FromEDM, FromEps, FromGenerator, FromScore
from fewsteps.denoisers.edm import clock
from fewsteps.errors import CheckpointError, ParameterError
from fewsteps.networks import DDGAN, Autoencoder, LatentPrior, SemanticEncoder
from fewsteps.schedules import VE, Discrete, Schedule, VPLinear, stepped

Network = nn.Module
DECODED = 32  # latents at a time
OTHERS = {
    "class": "a classifier",
    "autoencoder": "an autoencoder",
    "scale": "a scale estimator, under a schedule of its own",
    "parallel": "a parallel network, under a schedule of its own",
}


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its card.

    Attributes
    ----------
    card : dict
        What it is, from what data, how long, and what it should measure.
    network : nn.Module
        In evaluation mode, float32.
    """

    card: dict[str, Any]
    network: Network
    decoder: Autoencoder | None = None
    """What takes its samples to images, where it works in latents."""
    prior: Trained | None = None
    """The diffusion model of its semantic vectors, where it has an encoder and that model is there."""

    @property
    def name(self) -> str:
        """Of the checkpoint."""
        return self.card["name"]

    @property
    def predicts(self) -> str:
        """One of "edm", "eps", "score", "ddgan", "class", "autoencoder", "scale" and "parallel"."""
        return self.card["predicts"]["kind"]

    @property
    def classes(self) -> int:
        """How many classes it can be told; 0 for none."""
        return int(self.card["network"].get("classes", 0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of its samples: of images, or of latents."""
        if isinstance(self.network, LatentPrior):
            return self.network.channels, 1, 1
        size = self.card["data"]["size"] // (self.decoder.factor if self.decoder is not None else 1)
        return self.card["network"]["channels"], size, size

    @property
    def generator(self) -> DDGAN:
        """The network of a denoising diffusion GAN.

        Raises
        ------
        ParameterError
            If it is none.
        """
        if not isinstance(self.network, DDGAN):
            raise ParameterError(f"{self.name} draws nothing: it is no denoising diffusion GAN.")
        return self.network

    @property
    def encoder(self) -> SemanticEncoder:
        """The semantic encoder of a progressive GAN.

        Raises
        ------
        ParameterError
            If it has none.
        """
        encoder = self.generator.encoder
        if encoder is None:
            raise ParameterError(f"{self.name} has no semantic encoder: its latent vectors are noise alone.")
        return encoder

    @property
    def steps(self) -> Discrete:
        """The schedule of a denoising diffusion GAN, with as many steps as it was trained for."""
        said = self.card["predicts"]
        self.generator  # noqa: B018 - refuses others
        return stepped(said["steps"], said["schedule"])

    def images(self, x: Tensor, schedule: Schedule) -> Tensor:
        """Samples under a schedule as images in [0, 1], decoded where they are latents."""
        if self.decoder is None:
            return to_images(x, schedule)
        low, high = span(schedule)
        parts = ((x - low) / (high - low)).split(DECODED)
        return torch.cat([self.decoder.decode(part) for part in parts]).clamp(0, 1)

    def denoiser(self, schedule: Schedule | None = None) -> Denoiser:
        """The posterior mean that the network stands for, under a schedule.

        Parameters
        ----------
        schedule : Schedule, optional
            Any for a network under EDM's preconditioning (default VE(), the papers' noise levels); a variance
            preserving one for "eps" (default VPLinear()), a variance exploding one for "score" (default from the
            first to the last level that it was trained on); for "ddgan" its own alone.

        Raises
        ------
        ParameterError
            If the network cannot serve that schedule, or is no denoiser.
        """
        said = self.card["predicts"]
        if self.predicts == "edm":
            schedule = schedule or VE()
            low, high = span(schedule)
            mean, std = low + (high - low) * said["mean"], (high - low) * said["std"]
            return FromEDM(self.network, schedule, mean, std)
        if self.predicts == "eps":
            schedule = schedule or VPLinear()
            if span(schedule) != (-1, 1):
                raise ParameterError(f"{self.name} predicts the noise of a VP process: give a VP schedule.")
            return FromEps(self.network, schedule, lambda t: clock(schedule.sigma(t) / schedule.alpha(t)).to(t))
        if self.predicts == "score":
            levels = said["sigmas"]
            schedule = schedule or VE(levels[-1], levels[0])
            if not isinstance(schedule, VE):
                raise ParameterError(f"{self.name} predicts the score of a VE process: give a VE schedule.")
            return FromScore(self.network, schedule)
        if self.predicts == "ddgan":
            own = self.steps
            if schedule is not None and not _same(schedule, own):
                raise ParameterError(
                    f"{self.name} was trained with T = {own.steps} steps of the {said['schedule']} schedule: T must be "
                    f"{own.steps}, on that schedule, not {schedule.t_max:g}."
                )
            return FromGenerator(self.network, own, self.generator.latent, said["semantic"])
        raise ParameterError(f"{self.name} is {OTHERS.get(self.predicts, self.predicts)}: it denoises nothing.")


def estimator_of(
    card: Mapping[str, Any], folder: Path = checkpoints.FOLDER, device: torch.device | str = "cpu"
) -> Trained:
    """The scale estimator that a parallel network of PixelAware was trained with.

    Parameters
    ----------
    card : mapping
        Of the parallel network, or of the single head beside it.
    folder : Path
        Where it is looked for first.
    device : optional

    Raises
    ------
    CheckpointError
        If the card is of another kind, or another estimator is there than the one it was trained with.

    Notes
    -----
    Source: PX-8, Algorithm 1, step 1.
    """
    name, predicts = card["name"], card["predicts"]
    asked = predicts.get("estimator", {})
    if predicts["kind"] != "parallel" or not asked:
        raise CheckpointError(f"{name} is no parallel network: it is of the kind {predicts['kind']!r}.")
    estimator = load(asked["name"], checkpoints.home(asked["name"], folder), device)
    if estimator.card["weights"]["sha256"] != asked["sha256"]:
        raise CheckpointError(
            f"{name} was trained with another {asked['name']} than the one that is there: restore both with git "
            "checkout, or train it again."
        )
    return estimator


def load(name: str, folder: Path = checkpoints.FOLDER, device: torch.device | str = "cpu") -> Trained:
    """A checkpoint as a network that computes.

    Parameters
    ----------
    name : str
        One of ``checkpoints.names(folder)``.
    folder : Path
        Default: data/checkpoints of this checkout.
    device : optional

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, it is damaged, or its weights do not fit the network of its card.
    """
    card, weights = checkpoints.load(name, folder)
    network = networks.build(card["network"])
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights of {name} do not fit the network of its card: restore both with git checkout."
        ) from error
    made = Trained(card, network.to(device).eval().requires_grad_(False))
    if latent := card["data"].get("latent"):
        where = checkpoints.home(latent["name"], folder)
        if checkpoints.card(latent["name"], where)["weights"]["sha256"] != latent["sha256"]:
            raise CheckpointError(
                f"{name} works in latents of another {latent['name']} than the one that is there: restore both with "
                "git checkout, or train it again."
            )
        if isinstance(network, LatentPrior):
            return made  # its vectors are no images: the generator asks for it
        decoder = load(latent["name"], where, device).network
        if not isinstance(decoder, Autoencoder):
            raise CheckpointError(f"{name} works in latents, and {latent['name']} is no autoencoder.")
        return replace(made, decoder=decoder)
    if isinstance(network, DDGAN) and network.encoder is not None:
        prior = f"{name}-prior"
        if prior in checkpoints.names(where := checkpoints.home(prior, folder)):
            return replace(made, prior=_prior(prior, made, where, device, beside=where == folder))
    return made


def _prior(name: str, made: Trained, folder: Path, device: torch.device | str, *, beside: bool) -> Trained | None:
    """The prior of a generator's vectors, if it learned those of this very encoder.

    A shipped one that did not is none of a generator that was trained anew elsewhere; one beside it is a mistake.
    """
    if checkpoints.card(name, folder)["data"].get("latent", {}).get("sha256") != made.card["weights"]["sha256"]:
        if not beside:
            return None
        raise CheckpointError(
            f"encoder and generator of {made.name} are of another run than {name} was trained on: restore both with "
            f"git checkout, or train {name} again."
        )
    # Not by load, which would look beside the prior for its encoder: that may be an older one of the same name.
    card, weights = checkpoints.load(name, folder)
    network = networks.build(card["network"])
    network.load_state_dict(weights)
    return Trained(card, network.to(device).eval().requires_grad_(False))


def _same(schedule: Schedule, own: Discrete) -> bool:
    return isinstance(schedule, Discrete) and torch.equal(schedule.alpha_bars, own.alpha_bars)


def span(schedule: Schedule) -> tuple[float, float]:
    """The range of clean images under a schedule: (0, 1) if it keeps the signal as it is (VE), else (-1, 1)."""
    return (0.0, 1.0) if float(schedule.alpha(schedule.t_max)) == 1 else (-1.0, 1.0)


def to_images(x: Tensor, schedule: Schedule) -> Tensor:
    """Samples under a schedule as images in [0, 1]."""
    low, high = span(schedule)
    return ((x - low) / (high - low)).clamp(0, 1)


def from_images(images: Tensor, schedule: Schedule) -> Tensor:
    """Images in [0, 1] in the range that a schedule works in."""
    low, high = span(schedule)
    return low + (high - low) * images

"""Trained networks that others are trained by: a teacher, an eye, an estimator of scales, and what makes latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fewsteps import checkpoints
from fewsteps.data import Images
from fewsteps.errors import CheckpointError
from fewsteps.files import digest
from fewsteps.losses.denoising import Objective
from fewsteps.networks import DDGAN, Autoencoder, Classifier, ScaleVAE, UNet, build
from fewsteps.schedules import to_scale

Kind = TypeVar("Kind", bound=nn.Module)


def _seen_by(network: Autoencoder | DDGAN, name: str) -> Callable[[Tensor], Tensor]:
    """From images in [0, 1] to latents."""
    if isinstance(network, Autoencoder):
        return lambda part: network.encode(part)[0]
    encoder = network.encoder
    if encoder is None:
        raise CheckpointError(f"latents need an autoencoder or a semantic encoder, and {name} has none.")
    return lambda part: encoder.normalise(encoder(2 * part - 1))[:, :, None, None]


def _loaded(
    name: str, kind: type[Kind] | tuple[type[Kind], ...], wanted: str, folder: Path
) -> tuple[dict[str, Any], Kind]:
    card, weights = checkpoints.load(name, folder)
    network = build(card["network"])
    if not isinstance(network, kind):
        raise CheckpointError(f"{wanted}, and {name} is a {card['network']['kind']}.")
    network.load_state_dict(weights)
    return card, network.eval().requires_grad_(False)


class Teacher:
    """The outputs and features of a checkpoint, on the device of what it is shown.

    Parameters
    ----------
    name : str
    pupil : Objective
        What the student is trained for; the teacher must have been trained for the same.
    folder : Path, optional

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, it is no U-Net, or it predicts something else than the student is to.

    Notes
    -----
    Source: SD-6, section 5.2.
    """

    def __init__(self, name: str, pupil: Objective, folder: Path = checkpoints.FOLDER) -> None:
        card, network = _loaded(name, UNet, "the teacher must be a U-Net", folder)
        if card["predicts"] != pupil.predicts:
            raise CheckpointError(
                f"teacher and student must predict the same: {name} predicts {card['predicts']}, the student is to "
                f"predict {pupil.predicts}. Train both on the same data and sizes."
            )
        self.network = network
        self.name, self.sha256 = name, card["weights"]["sha256"]

    def __repr__(self) -> str:
        return f"Teacher({self.name}, {self.sha256[:16]})"

    @torch.no_grad()
    def __call__(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Sequence[Tensor]]:
        """As :meth:`fewsteps.networks.UNet.taps`."""
        self.network.to(x.device)
        return self.network.taps(x, times, cond)


class Eye:
    """What a shipped classifier sees at its three resolutions; gradients reach the images through it.

    Parameters
    ----------
    name : str
        Of a classifier among the checkpoints.
    folder : Path, optional

    Raises
    ------
    CheckpointError
        If there is no such checkpoint or it is no classifier.

    Notes
    -----
    Source: BASE-LDM.
    """

    def __init__(self, name: str, folder: Path = checkpoints.FOLDER) -> None:
        card, self.network = _loaded(name, Classifier, "the perceptual term needs a classifier", folder)
        self.name, self.sha256 = name, card["weights"]["sha256"]

    def __repr__(self) -> str:
        return f"Eye({self.name}, {self.sha256[:16]})"

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """As :meth:`fewsteps.networks.Classifier.taps`."""
        return self.network.to(images.device).taps(images)


class Scales:
    """A shipped scale estimator: what the parallel network is told.

    Parameters
    ----------
    name : str
        Of a scale estimator among the checkpoints.
    gamma, steps
        Of the pupil's forward process; the estimator must have been trained on the same.
    folder : Path, optional

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, it is no scale estimator, or it was trained for another gamma or T.

    Notes
    -----
    The map is that of the mean of its vector. Source: PX-5, PX-6, section 3.3.
    """

    def __init__(self, name: str, gamma: float, steps: int, folder: Path = checkpoints.FOLDER) -> None:
        card, network = _loaded(name, ScaleVAE, "the parallel network needs a scale estimator", folder)
        said = card["predicts"]
        if (said["gamma"], said["steps"]) != (gamma, steps):
            raise CheckpointError(
                f"{name} estimates scales at gamma {said['gamma']:g} and T {said['steps']}, not at {gamma:g} and "
                f"{steps}."
            )
        self.network, self.gamma, self.estimates = network, gamma, said["estimates"]
        self.name, self.sha256 = name, card["weights"]["sha256"]

    def __repr__(self) -> str:
        return f"Scales({self.name}, {self.sha256[:16]})"

    @torch.no_grad()
    def __call__(self, x: Tensor, times: Tensor) -> Tensor:
        """The estimated scale of images at steps, (B, C, H, W)."""
        return to_scale(self.network.to(x.device)(x, times)[0], self.estimates, self.gamma)


@torch.no_grad()
def latents(images: Images, name: str, *, flip: bool = False, folder: Path = checkpoints.FOLDER) -> Images:
    """A data set as a shipped autoencoder sees it: the mean of every image's latents; or as a semantic encoder does.

    Parameters
    ----------
    images : Images
    name : str
        Of an autoencoder among the checkpoints, or of a progressive GAN, whose vectors are normalised.
    flip : bool
        Append the latents of the mirrored images: mirrored latents would not be theirs.
    folder : Path, optional

    Returns
    -------
    Images
        Of shape (N or 2 N, latent channels, H / factor, W / factor), not in [0, 1], with the autoencoder in its hash;
        of an encoder's vectors (N or 2 N, latent, 1, 1).

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or it is neither.

    Notes
    -----
    Source: BASE-LDM; PD-6, BASE-DIFFAE (normalised semantic vectors).
    """
    card, network = _loaded(name, (Autoencoder, DDGAN), "latents need an autoencoder or a semantic encoder", folder)
    encode = _seen_by(network, name)
    both = [images.images, images.images.flip(-1)] if flip else [images.images]
    made = torch.cat([encode(part) for whole in both for part in whole.split(64)])
    labels = None if images.labels is None else images.labels.repeat(len(both))
    seen = digest(f"{images.sha256} {card['weights']['sha256']} {flip}".encode())
    return replace(images, images=made, labels=labels, source=f"{images.source} As latents of {name}.", sha256=seen)

"""What an autoencoder loses: the error of its images frequency by frequency, and what its latents look like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fewsteps import spectra, transforms
from fewsteps.errors import CheckpointError, ParameterError
from fewsteps.networks import Autoencoder
from fewsteps.trained import Trained

BATCH = 64


@dataclass(frozen=True)
class Lost:
    """Images that went through an autoencoder and back.

    Attributes
    ----------
    frequency : Tensor, shape (n,)
        Cycles per pixel, by ring of DCT frequencies, the zero frequency left out.
    ratio : Tensor, shape (n,)
        Power of the error over that of the images about their mean; 1 where nothing of an image comes back.
    psnr : float
        Of all pixels, in dB, images being in [0, 1]; infinite if all of them come back.
    mean, std : Tensor, shape (latent,)
        Of the latents, by channel.
    images : Tensor, shape (N, C, H, W)
        What came back, cut to [0, 1].
    """

    frequency: Tensor
    ratio: Tensor
    psnr: float
    mean: Tensor
    std: Tensor
    images: Tensor


@torch.no_grad()
def lost(model: Trained, images: Tensor) -> Lost:
    """Send images through an autoencoder, by the mean of their latents.

    Parameters
    ----------
    model : Trained
        An autoencoder.
    images : Tensor, shape (N, C, H, W)
        In [0, 1]; two or more that differ, and others than it was trained on.

    Raises
    ------
    CheckpointError
        If the model is no autoencoder.
    ParameterError
        If there is nothing about their mean to lose: one image, or all alike.
    ShapeError
        If the images do not fit it.

    Notes
    -----
    Source: BASE-LDM.
    """
    if not isinstance(model.network, Autoencoder):
        raise CheckpointError(f"{model.name} is no autoencoder: there is nothing to send images through.")
    about = images.double() - images.double().mean(0)
    if not bool(about.any()):
        raise ParameterError("images must be two or more that differ: nothing of one alone could be lost.")
    parts = [model.network.encode(part)[0] for part in images.split(BATCH)]
    back = torch.cat([model.network.decode(part) for part in parts]).clamp(0, 1)
    latents = torch.cat(parts).double()
    error = (back - images).double()
    power, kept = (
        spectra.radial_mean(transforms.dct2(values).square().sum((0, 1)), "dct") for values in (error, about)
    )
    return Lost(
        power.frequency[1:],
        power.power[1:] / kept.power[1:],
        -10 * math.log10(mean) if (mean := float(error.square().mean())) else math.inf,
        latents.mean((0, 2, 3)),
        latents.std((0, 2, 3)),
        back,
    )

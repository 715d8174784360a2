"""The objective of a KL autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fewsteps.parameters import number

Features = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Autoencoding:
    """Absolute error of the pixels, distance of features at several depths, and a light pull towards a normal law.

    Parameters
    ----------
    features : callable
        From images in [0, 1] to activations, such as :meth:`fewsteps.networks.Classifier.taps`.
    perceptual, kl : float
        Weights of the two other terms against the first; per number of an image, as latent diffusion's first stage has
        them; its divergence hardly counts, and keeps latents from growing without end.

    Raises
    ------
    ParameterError
        If a weight is negative.

    Notes
    -----
    Source: BASE-LDM. Features are made unit vectors at every position before they are compared, as in LPIPS, and all
    count alike: this project's own feature network stands in for VGG.
    """

    features: Features
    perceptual: float = 1.0
    kl: float = 1e-6

    def __post_init__(self) -> None:
        number("perceptual", self.perceptual, least=0)
        number("kl", self.kl, least=0)

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "autoencoder"."""
        return {"kind": "autoencoder"}

    def __call__(
        self, network: Callable[..., Any], x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Losses, (B,)."""
        unwrapped = getattr(network, "module", network)
        shape = (len(x0), unwrapped.latent, x0.shape[-2] // unwrapped.factor, x0.shape[-1] // unwrapped.factor)
        noise = torch.randn(shape, device=x0.device, dtype=x0.dtype, generator=generator)
        back, mean, std = network(x0, noise)
        loss = (back - x0).abs().flatten(1).mean(1)
        if self.perceptual:
            loss = loss + self.perceptual * perceptual_distance(self.features, x0, back)
        divergence = (mean.square() + std.square() - 1 - 2 * std.log()).flatten(1).sum(1) / 2
        return loss + self.kl * divergence / x0[0].numel()


def perceptual_distance(features: Features, first: Tensor, second: Tensor) -> Tensor:
    """Mean over depths of the squared distance between unit feature vectors, averaged over positions.

    Parameters
    ----------
    features : callable
    first, second : Tensor, shape (B, C, H, W)
        In [0, 1].

    Returns
    -------
    Tensor, shape (B,)
        From 0 to 4.

    Notes
    -----
    Source: BASE-LDM.
    """
    with torch.no_grad():
        wanted = features(first)
    found = features(second)
    distances = [
        (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).flatten(1).mean(1)
        for a, b in zip(wanted, found, strict=True)
    ]
    return torch.stack(distances).mean(0)

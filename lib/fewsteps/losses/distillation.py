"""Spectral Diffusion's distillation: a student held to its teacher's outputs and features, frequency by frequency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fewsteps.errors import ShapeError
from fewsteps.losses.denoising import Posed, Poser
from fewsteps.parameters import number
from fewsteps.shapes import Float
from fewsteps.transforms import fft2

TINY = 1e-12  # a teacher that says nothing at all has no unit
FLOOR = 1e-2
"""The smallest magnitude that a weight is taken of, over the root mean square of all magnitudes of an image."""


def spatial_distance(teacher: Tensor, student: Tensor) -> Float[Tensor, " B"]:
    """Mean squared difference of two features, image by image.

    The paper writes a sum. The mean over channels and positions keeps its weight the same at every scale.

    Parameters
    ----------
    teacher, student : Tensor, shape (B, C, H, W)

    Returns
    -------
    Tensor, shape (B,)

    Raises
    ------
    ShapeError
        If the two differ in shape.

    Notes
    -----
    Source: SD-6, Eq. 9.
    """
    _alike(teacher, student)
    return (teacher - student).square().flatten(1).mean(1)


def frequency_weights(x0: Tensor, size: tuple[int, int], alpha: float = -1.0) -> Tensor:
    """How much every frequency counts: the magnitude of the clean image there, to the power alpha.

    The image is made as large as the feature by averaging over areas, and its channels are averaged, for a feature has
    other channels than an image. A magnitude below `FLOOR` of the image's root mean square counts as that much, or a
    frequency that an image does not have would be given an infinite weight. The weights of an image average 1, which
    the paper does not say; alpha then changes how the loss is spread and not how large it is.

    Parameters
    ----------
    x0 : Tensor, shape (B, C, H, W)
    size : (int, int)
        Of the feature.
    alpha : float
        -1 in the paper: rare frequencies count more. 0 weighs all alike.

    Returns
    -------
    Tensor, shape (B, 1, h, w)
        In the order of ``torch.fft.fft2``, at least single precision.

    Notes
    -----
    Source: SD-7, Eq. 10 and 11.
    """
    number("alpha", alpha)
    resized = F.interpolate(x0.mean(1, keepdim=True), size=size, mode="area")
    magnitude = fft2(resized).abs()
    floor = FLOOR * magnitude.square().mean((-2, -1), keepdim=True).sqrt()
    # An image that is black everywhere has no magnitudes to weigh by: all frequencies alike.
    weights = torch.where(floor > 0, torch.maximum(magnitude, floor), 1.0) ** alpha
    return weights / weights.mean((-2, -1), keepdim=True)


def frequency_distance(
    teacher: Tensor,
    student: Tensor,
    x0: Tensor,
    alpha: float = -1.0,
) -> Float[Tensor, " B"]:
    """Mean squared difference of the orthonormal DFTs of two features, weighted by :func:`frequency_weights`.

    With alpha = 0 it is :func:`spatial_distance`, by Parseval.

    Parameters
    ----------
    teacher, student : Tensor, shape (B, C, H, W)
    x0 : Tensor, shape (B, K, J, L)
        The clean images.
    alpha : float

    Returns
    -------
    Tensor, shape (B,)

    Raises
    ------
    ShapeError
        If teacher and student differ in shape.

    Notes
    -----
    Source: SD-7, Eq. 10 and 11.
    """
    _alike(teacher, student)
    spectrum = fft2(teacher - student)
    apart = spectrum.real.square() + spectrum.imag.square()  # a modulus would take a root and its derivative
    height, width = teacher.shape[-2:]
    return (frequency_weights(x0, (height, width), alpha) * apart).flatten(1).mean(1)


@dataclass(frozen=True)
class _Taught:
    """A student's objective beside a teacher that is shown the same noisy images."""

    objective: Poser
    teacher: Callable[..., tuple[Tensor, Sequence[Tensor]]]

    @property
    def predicts(self) -> dict[str, Any]:
        """What the objective that both were given says."""
        return self.objective.predicts

    def _asked(
        self, x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> tuple[Posed, tuple[Tensor, ...], Tensor, Sequence[Tensor]]:
        """The posed problem, what a network is given of it, and the teacher's output and features."""
        posed = self.objective.pose(x0, generator)
        given = (posed.noisy, posed.times, *(() if cond is None else (cond,)))
        with torch.no_grad():
            wanted, taught = self.teacher(*given)
        return posed, given, wanted, taught


@dataclass(frozen=True)
class Distillation(_Taught):
    """A student's objective: its own denoising loss, and both distances to a teacher, at the output and at every scale.

    The student it is called with returns its output and its features, taken to the teacher's widths
    (:class:`fewsteps.networks.Student`).

    Parameters
    ----------
    objective : Objective that can be posed
        The student's own, and the teacher's: both have to see one and the same noisy image.
    teacher : callable
        Its ``taps``: from (noisy image, noise level, class) to (output, features).
    spatial, frequency : float
        The paper's lambda_s and lambda_f, both .1.
    alpha : float
        As for :func:`frequency_weights`.
    relative : bool
        Divide both distances at a scale by the mean square of what the teacher says there. Eq. 9 and 11 are of features
        as they are, whose size depends on the teacher; with this project's they outweigh the denoising loss at first.

    Raises
    ------
    ParameterError
        If a weight is negative.

    Notes
    -----
    Source: SD-6, SD-7, section 5.2: L = L_DDPM + lambda_s L_spatial + lambda_f L_freq.
    """

    spatial: float = 0.1
    frequency: float = 0.1
    alpha: float = -1.0
    relative: bool = False

    def __post_init__(self) -> None:
        number("spatial", self.spatial, least=0)
        number("frequency", self.frequency, least=0)
        number("alpha", self.alpha)

    def __call__(
        self, network: Callable[..., Any], x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Losses, (B,).

        Raises
        ------
        ShapeError
            If teacher and student have another number of scales, or features of other sizes.
        """
        posed, given, wanted, taught = self._asked(x0, cond, generator)
        said, features = network(*given)
        loss = (said - posed.target).square().flatten(1).mean(1)
        if len(features) != len(taught):
            raise ShapeError(f"the student has {len(features)} scales and its teacher {len(taught)}.")
        for theirs, own in zip((wanted, *taught), (said, *features), strict=True):
            theirs, own = theirs.float(), own.float()
            unit = theirs.square().mean().clamp_min(TINY) if self.relative else 1.0
            loss = loss + self.spatial * spatial_distance(theirs, own) / unit
            loss = loss + self.frequency * frequency_distance(theirs, own, x0, self.alpha) / unit
        return loss


@dataclass(frozen=True)
class Answering(_Taught):
    """A student's objective: what its teacher answers, in place of the data.

    A denoising loss asks for the clean image, of which a noisy one tells only the mean; all the rest is noise in the
    gradient. A teacher's answer is a mean already.

    Parameters
    ----------
    objective : Objective that can be posed
        The teacher's.
    teacher : callable
        Its ``taps``: from (noisy image, noise level, class) to (output, features).

    Notes
    -----
    No part of the paper: a rival of SD-6 and SD-7. Source: Hinton et al. 2015, for outputs that are means.
    """

    def __call__(
        self, network: Callable[..., Any], x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Losses, (B,)."""
        _, given, wanted, _ = self._asked(x0, cond, generator)
        return spatial_distance(wanted.float(), network(*given).float())


def _alike(teacher: Tensor, student: Tensor) -> None:
    if teacher.shape != student.shape:
        raise ShapeError(
            f"teacher and student must have features of one shape, not {tuple(teacher.shape)} and "
            f"{tuple(student.shape)}: they need the same patch and the same resolutions."
        )

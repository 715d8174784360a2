"""Classifier-free guidance: a model that is told a class, pushed away from what it says when it is told none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers.protocol import Denoiser, MeanOnly
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import number
from fewsteps.schedules import Schedule
from fewsteps.schedules.base import Time

ANY = -1
"""The class that stands for none."""


@dataclass(frozen=True, eq=False)
class Guided(MeanOnly):
    """D(x; any) + weight (D(x; class) - D(x; any)), from one call with every image twice.

    Parameters
    ----------
    model : Denoiser
        It has learned both: with classes, and with -1 for "any".
    weight : float
        0 is no class at all, 1 the class without guidance; more trades variety for images that look like their class.

    Raises
    ------
    ParameterError
        If `weight` is negative.

    Notes
    -----
    A guided step costs two network calls for every image: `calls` says so, and whoever counts has to multiply by it.
    Predictions of x0, of the noise and of the score are linear in each other at a fixed x, so it does not matter which
    of them is extrapolated.

    Source: SD-10; BASE-LDM; J. Ho and T. Salimans (2022), Classifier-free diffusion guidance, whose weight is one less.
    """

    model: Denoiser
    weight: float

    def __post_init__(self) -> None:
        number("weight", self.weight, least=0)

    @property
    def schedule(self) -> Schedule:
        """That of the model."""
        return self.model.schedule

    @property
    def calls(self) -> int:
        """Network calls per image and step: 1 where only one of the two predictions counts, else 2."""
        return 1 if self.weight in (0, 1) else 2

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """The guided mean.

        Raises
        ------
        ParameterError
            If no class is given.
        ShapeError
            If there is no class per image.
        """
        if not isinstance(cond, Tensor):
            raise ParameterError("guidance needs a class for every image: give cond, or leave guidance away.")
        if len(cond) != len(x) or cond.is_floating_point():
            raise ShapeError(f"cond must hold one whole-number class per image, {len(x)}, not {tuple(cond.shape)}.")
        if self.weight == 1:
            return self.model.mean(x, t, cond)
        untold = torch.full_like(cond, ANY)
        if self.weight == 0:
            return self.model.mean(x, t, untold)
        twice = torch.cat((t, t)) if isinstance(t, Tensor) and t.ndim else t
        told, plain = self.model.mean(torch.cat((x, x)), twice, torch.cat((cond, untold))).chunk(2)
        return torch.lerp(plain, told, self.weight)

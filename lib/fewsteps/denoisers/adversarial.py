"""A generator as a denoiser that draws: it has no mean to offer, only samples of clean data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers.edm import clock
from fewsteps.denoisers.protocol import scales
from fewsteps.errors import ParameterError
from fewsteps.parameters import integer
from fewsteps.schedules import Discrete
from fewsteps.schedules.base import Time
from fewsteps.shapes import require_vectors

SEMANTIC = ("never", "first", "every")
"""At which steps a latent vector is the semantic z_T: at none, at the first of sampling (t = T), at all."""


@dataclass(frozen=True, eq=False)
class FromGenerator:
    """A network G(x_t, time, z) that returns a sample of x0.

    Parameters
    ----------
    generator : callable
        Gets x_t (B, C, H, W), log(sigma / alpha) / 4 per image and latent vectors (B, latent).
    schedule : Discrete
        The one it was trained on; any other has other steps between.
    latent : int
        Width of the latent vectors.
    semantic : {"never", "first", "every"}
        When `cond`, the semantic vector z_T (B, latent), takes the place of white noise.

    Raises
    ------
    ParameterError
        If `semantic` is none of these, or `latent` is below 1.

    Notes
    -----
    Source: PD-2, Eq. 7 and 8; BASE-DDGAN (never).
    """

    generator: Callable[[Tensor, Tensor, Tensor], Tensor]
    schedule: Discrete
    latent: int
    semantic: str = "never"

    def __post_init__(self) -> None:
        integer("latent", self.latent, least=1)
        if self.semantic not in SEMANTIC:
            raise ParameterError(f"semantic must be one of {', '.join(SEMANTIC)}, not {self.semantic!r}.")

    def told(self, t: int) -> bool:
        """Whether step t is given the semantic vector."""
        return self.semantic == "every" or (self.semantic == "first" and t == self.schedule.steps)

    def noise_shape(self, x: Tensor) -> tuple[int, ...]:
        """Of the noise that a draw for `x` takes, (B, latent)."""
        return (len(x), self.latent)

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """Not known.

        Raises
        ------
        ParameterError
            Always.
        """
        raise ParameterError("a generator draws x0 and does not know its mean: the sampler must be ddgan.")

    def draw(self, x: Tensor, t: Time, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """A sample of x0 given x_t = x, of the shape of `x`, in [-1, 1].

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
        t : float
            A step from 1 to T.
        cond : Tensor, shape (B, latent), optional
            z_T, where this step is told it.
        noise : Tensor, shape (B, latent), optional
            z, where it is not.

        Raises
        ------
        ParameterError
            If `t` is no step of the schedule that it was trained on.
        ShapeError
            If a vector is missing, or of another width.
        """
        step = integer("t", float(t), least=1, most=self.schedule.steps)
        name, given = ("z_T", cond) if self.told(step) else ("z", noise)
        z = require_vectors(name, given, len(x), self.latent)
        alpha, sigma = scales(self.schedule, float(step), x)
        times = clock(torch.full((len(x),), sigma / alpha, dtype=x.dtype, device=x.device))
        return self.generator(x, times, z).to(x.dtype)

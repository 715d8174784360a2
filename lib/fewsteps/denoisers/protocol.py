"""What a sampler asks of a model, and nothing else."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from fewsteps.schedules import Schedule, over
from fewsteps.schedules.base import Time


@runtime_checkable
class Denoiser(Protocol):
    """A model seen as the posterior of clean data given noisy data.

    Attributes
    ----------
    schedule : Schedule
        How the noisy data came about.
    """

    @property
    def schedule(self) -> Schedule:
        """How the noisy data came about."""
        ...

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x], of the shape and dtype of `x`; `t` is one time or one per sample, (B,)."""
        ...

    def draw(self, x: Tensor, t: Time, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """A sample of x0 given x_t = x, or the mean where the model knows no more."""
        ...


@runtime_checkable
class Drawing(Denoiser, Protocol):
    """A denoiser whose draws take noise of another shape than the data's."""

    def noise_shape(self, x: Tensor) -> tuple[int, ...]:
        """Of the noise for a draw given `x`."""
        ...


class MeanOnly:
    """Denoisers that know the mean of x0 and no more: a draw is the mean."""

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x]."""
        raise NotImplementedError

    def draw(self, x: Tensor, t: Time, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """The mean; `noise` is not used."""
        return self.mean(x, t, cond)


def score(model: Denoiser, x: Tensor, t: Time, cond: Any = None) -> Tensor:
    """Gradient of log p_t at x, (alpha E[x0 given x] - x) / sigma^2.

    Parameters
    ----------
    model : Denoiser
    x : Tensor, shape (B, ...)
    t : float or Tensor
        One time, or one per sample, (B,); not 0, where there is no noise.
    cond : optional
        Handed to the model.

    Returns
    -------
    Tensor, of the shape and dtype of `x`

    Notes
    -----
    Source: BASE-NCSN; TDAS section 3 (Tweedie's formula).
    """
    alpha, sigma = scales(model.schedule, t, x)
    return mix(alpha / sigma**2, model.mean(x, t, cond), -1 / sigma**2, x).to(x.dtype)


def scales(schedule: Schedule, t: Time, x: Tensor) -> tuple[Any, Any]:
    """alpha and sigma at `t`, broadcast over images; plain numbers where there is one for all, as they cost nothing."""
    if not isinstance(t, Tensor):
        known = _numbers(schedule, float(t))
        if known is not None:
            return known
    t = over(t, x)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if alpha.ndim == 0 and sigma.ndim == 0 and alpha.device.type == "cpu":
        return float(alpha), float(sigma)
    return alpha.to(x), sigma.to(x)


@lru_cache(maxsize=8192)  # a sampler and its denoiser ask for the same times, and a thousand runs for the same again
def _numbers(schedule: Schedule, t: float) -> tuple[float, float] | None:
    """alpha and sigma at `t`, or None where they are fields."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return (float(alpha), float(sigma)) if alpha.ndim == sigma.ndim == 0 else None


def mix(a: Any, x: Tensor, b: Any, y: Tensor) -> Tensor:
    """a x + b y, in two passes over memory instead of three where a and b are numbers."""
    if isinstance(a, float) and isinstance(b, float) and x.dtype == y.dtype:
        return torch.mul(x, a).add_(y, alpha=b)
    return a * x + b * y

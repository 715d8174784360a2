"""Networks as denoisers, whatever they predict. No sampler ever sees a parametrisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fewsteps.denoisers.protocol import Denoiser, MeanOnly, mix, scales
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import number
from fewsteps.schedules import Schedule
from fewsteps.schedules.base import Time

Network = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class _FromNetwork(MeanOnly):
    """A network of (x, times) or (x, times, cond).

    Parameters
    ----------
    network : callable
        Gets x_t of shape (B, ...), times of shape (B,) in the dtype and on the device of x, and `cond` where there
        is one; returns its prediction in the shape of x.
    schedule : Schedule
    time : callable, optional
        From the schedule's times to what the network was trained on: ``lambda t: t - 1`` for networks that count a
        discrete schedule's steps from 0.
    """

    network: Network
    schedule: Schedule
    time: Callable[[Tensor], Tensor] | None = None

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x].

        Raises
        ------
        ShapeError
            If the network returns another shape than it was given.
        """
        alpha, sigma = scales(self.schedule, t, x)
        times = t.to(x) if isinstance(t, Tensor) and t.ndim else x.new_full((len(x),), float(t))
        times = times if self.time is None else self.time(times)
        said = self.network(x, times) if cond is None else self.network(x, times, cond)
        if said.shape != x.shape:
            raise ShapeError(f"the network must return the shape of x, {tuple(x.shape)}, not {tuple(said.shape)}.")
        return self._to_mean(x, said, alpha, sigma).to(x.dtype)

    def _to_mean(self, x: Tensor, said: Tensor, alpha: Any, sigma: Any) -> Tensor:
        raise NotImplementedError


class FromEps(_FromNetwork):
    """A network that predicts the noise: x0 = (x - sigma eps) / alpha.

    Notes
    -----
    Source: BASE-DDPM.
    """

    def _to_mean(self, x: Tensor, said: Tensor, alpha: Any, sigma: Any) -> Tensor:
        return mix(1 / alpha, x, -sigma / alpha, said)


class FromScore(_FromNetwork):
    """A network that predicts the score: x0 = (x + sigma^2 s) / alpha.

    Notes
    -----
    Source: BASE-NCSN, BASE-VE-PC.
    """

    def _to_mean(self, x: Tensor, said: Tensor, alpha: Any, sigma: Any) -> Tensor:
        return mix(1 / alpha, x, sigma**2 / alpha, said)


class FromX0(_FromNetwork):
    """A network that predicts the clean image itself.

    Notes
    -----
    Source: SD-2 (the x0-prediction of the toy), PD-3.
    """

    def _to_mean(self, x: Tensor, said: Tensor, alpha: Any, sigma: Any) -> Tensor:
        return said


class FromV(_FromNetwork):
    """A network that predicts v = alpha eps - sigma x0: x0 = (alpha x - sigma v) / (alpha^2 + sigma^2).

    Notes
    -----
    Source: BASE-VP (the same network seen through another target).
    """

    def _to_mean(self, x: Tensor, said: Tensor, alpha: Any, sigma: Any) -> Tensor:
        total = alpha**2 + sigma**2
        return mix(alpha / total, x, -sigma / total, said)


@dataclass(frozen=True, eq=False)
class Clipped(MeanOnly):
    """Another denoiser whose means are cut to the range of the data.

    Parameters
    ----------
    model : Denoiser
    low, high : float
        The range, [-1, 1] or [0, 1] for images.

    Raises
    ------
    ParameterError
        Unless low < high.

    Notes
    -----
    Source: TDAS-10 (Analytic-DDIM clamps), BASE-DDPM.
    """

    model: Denoiser
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        number("low", self.low)
        if not self.low < number("high", self.high):
            raise ParameterError(f"low must be below high, not {self.low} and {self.high}.")

    @property
    def schedule(self) -> Schedule:
        """That of the model."""
        return self.model.schedule

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """The model's mean, cut."""
        return self.model.mean(x, t, cond).clamp(self.low, self.high)

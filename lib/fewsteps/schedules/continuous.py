"""Schedules in continuous time: variance exploding, and the two usual variance preserving ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewsteps.errors import ParameterError
from fewsteps.parameters import number
from fewsteps.schedules.base import Time, as_time


@dataclass(frozen=True)
class VE:
    """Variance exploding: alpha = 1 and sigma = t, so time is the noise scale itself.

    The papers' geometric sigmas are a grid, ``geometric(VE(0.01, 50), 1000)``, and no property of the process.

    Parameters
    ----------
    sigma_min, sigma_max : float
        Smallest noise that a grid visits before 0, and the largest; in units of the data, [0, 1] in the papers.

    Raises
    ------
    ParameterError
        Unless 0 < sigma_min < sigma_max.

    Notes
    -----
    Source: BASE-VE-PC.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        number("sigma_max", self.sigma_max, above=0)
        number("sigma_min", self.sigma_min, above=0, below=self.sigma_max)

    @property
    def t_min(self) -> float:
        """sigma_min."""
        return self.sigma_min

    @property
    def t_max(self) -> float:
        """sigma_max."""
        return self.sigma_max

    def alpha(self, t: Time) -> Tensor:
        """1, of the shape of `t`."""
        return torch.ones_like(as_time(t))

    def sigma(self, t: Time) -> Tensor:
        """`t`."""
        return as_time(t)

    def time(self, noise_to_signal: Time) -> Tensor:
        """The time at which sigma / alpha has this value."""
        return as_time(noise_to_signal)


@dataclass(frozen=True)
class VPLinear:
    """Variance preserving with a rate that grows linearly: beta(t) = beta_min + t (beta_max - beta_min), 0 <= t <= 1.

    Parameters
    ----------
    beta_min, beta_max : float
        Rates at both ends, per unit time. 0.1 and 20 is DDPM's schedule in the limit of many steps.
    t_min : float
        Last time before 0 on grids spaced by noise level.

    Raises
    ------
    ParameterError
        Unless 0 < beta_min < beta_max and 0 < t_min < 1.

    Notes
    -----
    Source: BASE-DDPM, in continuous time.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        number("beta_max", self.beta_max, above=0)
        number("beta_min", self.beta_min, above=0, below=self.beta_max)
        number("t_min", self.t_min, above=0, below=self.t_max)

    def _rate_integral(self, t: Time) -> Tensor:
        t = as_time(t)
        return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

    def alpha(self, t: Time) -> Tensor:
        """exp(-B(t) / 2), B the integral of the rate."""
        return torch.exp(-self._rate_integral(t) / 2)

    def sigma(self, t: Time) -> Tensor:
        """sqrt(1 - exp(-B(t))), without the cancellation near t = 0."""
        return (-torch.expm1(-self._rate_integral(t))).sqrt()

    def time(self, noise_to_signal: Time) -> Tensor:
        """The time at which sigma / alpha has this value."""
        integral = torch.log1p(as_time(noise_to_signal).square())
        slope = self.beta_max - self.beta_min
        # The root of slope t^2 / 2 + beta_min t = integral, in the form that keeps its digits for small t.
        return 2 * integral / (self.beta_min + (self.beta_min**2 + 2 * slope * integral).sqrt())


@dataclass(frozen=True)
class VPCosine:
    """Variance preserving with alpha = cos((t + s) / (1 + s) pi / 2) / cos(s / (1 + s) pi / 2), 0 <= t <= 1.

    Parameters
    ----------
    s : float
        Offset that keeps the first steps from being too small.
    t_max : float
        Where sampling starts: at t = 1 nothing is left of the signal and a noise prediction says nothing of x0.
    t_min : float
        Last time before 0 on grids spaced by noise level.

    Raises
    ------
    ParameterError
        Unless 0 < s < 1 and 0 < t_min < t_max < 1.

    Notes
    -----
    Source: PX-2, section 2.1 (the squared cosine dependency).
    """

    s: float = 0.008
    t_min: float = 1e-3
    t_max: float = 0.999

    def __post_init__(self) -> None:
        number("s", self.s, above=0, below=1)
        number("t_max", self.t_max, above=0, below=1)
        number("t_min", self.t_min, above=0, below=self.t_max)

    @property
    def _start(self) -> float:
        return math.cos(self.s / (1 + self.s) * math.pi / 2)

    def alpha(self, t: Time) -> Tensor:
        """Signal scale, 1 at t = 0."""
        return torch.cos((as_time(t) + self.s) / (1 + self.s) * (math.pi / 2)) / self._start

    def sigma(self, t: Time) -> Tensor:
        """sqrt(1 - alpha^2)."""
        # cos(a)^2 - cos(b)^2 = sin(b - a) sin(b + a) keeps the digits that 1 - alpha^2 loses near t = 0.
        a = self.s / (1 + self.s) * (math.pi / 2)
        b = (as_time(t) + self.s) / (1 + self.s) * (math.pi / 2)
        return (torch.sin(b - a) * torch.sin(b + a)).clamp_min(0).sqrt() / self._start

    def time(self, noise_to_signal: Time) -> Tensor:
        """The time at which sigma / alpha has this value."""
        alpha = (1 + as_time(noise_to_signal).square()).rsqrt()
        return torch.acos(alpha * self._start) * (2 / math.pi) * (1 + self.s) - self.s


def scalar_time(schedule: object) -> Callable[[Tensor], Tensor]:
    """The method ``time`` of a schedule that has a scalar noise level to space a grid by.

    Raises
    ------
    ParameterError
        If it has none, as a field of schedules.
    """
    time = getattr(schedule, "time", None)
    if time is None:
        raise ParameterError(
            f"{type(schedule).__name__} has no single noise level to space a grid by; use uniform or quadratic."
        )
    return time

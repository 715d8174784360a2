"""The protocol, and what follows from (alpha, sigma) alone."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError

Time = float | Tensor


@runtime_checkable
class Schedule(Protocol):
    """Signal and noise scales over time.

    Attributes
    ----------
    t_max : float
        The noisiest time, where sampling starts.
    t_min : float
        The last time before 0 that a grid spaced by noise level visits.
    """

    t_max: float
    t_min: float

    def alpha(self, t: Time) -> Tensor:
        """Signal scale at `t`, broadcastable to the image."""
        ...

    def sigma(self, t: Time) -> Tensor:
        """Noise scale at `t`, broadcastable to the image."""
        ...


def snr(schedule: Schedule, t: Time, *, power: float | Tensor = 1.0) -> Tensor:
    """Signal-to-noise ratio, power * alpha**2 / sigma**2.

    Parameters
    ----------
    schedule : Schedule
    t : float or Tensor
    power : float or Tensor
        Power of the clean signal. 1 gives the field's usual SNR; PixelAware's Eq. 11 counts the pixel's own
        square, power = x0**2.

    Returns
    -------
    Tensor
        Infinite at t = 0.

    Notes
    -----
    Source: PX-2, Eq. 11; PD-1, appendix A.
    """
    return power * (schedule.alpha(t) / schedule.sigma(t)).square()


def diffuse(schedule: Schedule, x0: Tensor, t: Time, noise: Tensor) -> Tensor:
    """The forward process in one step: alpha(t) x0 + sigma(t) noise.

    Parameters
    ----------
    schedule : Schedule
    x0 : Tensor
        Clean images.
    t : float or Tensor
        One time, or times of a shape that broadcasts against `x0`.
    noise : Tensor
        Standard normal, of the shape of `x0`.

    Returns
    -------
    Tensor, of the shape and dtype of `x0`

    Raises
    ------
    ShapeError
        If `noise` has another shape than `x0`.

    Notes
    -----
    Source: PX-1, Eq. 9.
    """
    if noise.shape != x0.shape:
        raise ShapeError(f"noise must have the shape of x0, {tuple(x0.shape)}, not {tuple(noise.shape)}.")
    return (schedule.alpha(t) * x0 + schedule.sigma(t) * noise).to(x0.dtype)


def kl_to_standard_normal(schedule: Schedule, x0: Tensor, t: Time) -> Tensor:
    """How far x_t given x0 is from N(0, 1), per pixel: zero means that nothing of x0 is left.

    Parameters
    ----------
    schedule : Schedule
    x0 : Tensor
        Clean pixels.
    t : float or Tensor

    Returns
    -------
    Tensor, of the shape of `x0`
        Kullback-Leibler divergence in nats, (alpha^2 x0^2 + sigma^2 - 1 - log sigma^2) / 2.

    Notes
    -----
    Source: PX-4: the terminal law.
    """
    variance = schedule.sigma(t).square()
    mean = schedule.alpha(t) * x0
    return (mean.square() + variance - 1 - variance.log()) / 2


def as_time(t: Time) -> Tensor:
    """Python numbers become float64 scalars, which do not promote the images that they multiply."""
    return t if isinstance(t, Tensor) else torch.as_tensor(t, dtype=torch.float64)


def positive(name: str, value: float, *, below: float = float("inf")) -> float:
    """Return `value` if 0 < value < below.

    Raises
    ------
    ParameterError
        One sentence with the name and the range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < below:
        end = f" and below {below:g}" if below != float("inf") else ""
        raise ParameterError(f"{name} must be a number above 0{end}, not {value!r}.")
    return value


def count(name: str, value: int, *, least: int = 1) -> int:
    """Return `value` if it is an integer of at least `least`.

    Raises
    ------
    ParameterError
        One sentence with the name and the range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ParameterError(f"{name} must be an integer of at least {least}, not {value!r}.")
    return value

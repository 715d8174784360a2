"""The protocol, and what follows from (alpha, sigma) alone."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fewsteps.errors import ShapeError

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

    @property
    def t_max(self) -> float:
        """Where sampling starts."""
        ...

    @property
    def t_min(self) -> float:
        """The last noisy time of a grid spaced by noise level."""
        ...

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
        One time, or one per sample, shape (B,).
    noise : Tensor
        Standard normal, of the shape of `x0`.

    Returns
    -------
    Tensor, of the shape and dtype of `x0`

    Raises
    ------
    ShapeError
        If `noise` has another shape than `x0`, or `t` not one time per sample.

    Notes
    -----
    Source: PX-1, Eq. 9.
    """
    if noise.shape != x0.shape:
        raise ShapeError(f"noise must have the shape of x0, {tuple(x0.shape)}, not {tuple(noise.shape)}.")
    t = over(t, x0)
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
    """Python numbers become float64 scalars, which do not promote the images that they multiply; integers, floats."""
    if not isinstance(t, Tensor):
        return torch.as_tensor(t, dtype=torch.float64)
    return t if t.is_floating_point() else t.double()


def over(t: Time, x: Tensor) -> Time:
    """Shape times so that they broadcast over images: one per sample, (B,), becomes (B, 1, 1, 1).

    Parameters
    ----------
    t : float or Tensor
        One time, one per sample of `x`, or anything with as many axes as `x`.
    x : Tensor, shape (B, ...)

    Returns
    -------
    float or Tensor
        A tensor in the dtype and on the device of `x`, unless there is one time for all.

    Raises
    ------
    ShapeError
        If a vector of times has not one entry per sample: it would broadcast over the width of the images.
    """
    if not isinstance(t, Tensor) or t.ndim == 0:
        return t
    if t.ndim == 1:
        if len(t) != len(x):
            raise ShapeError(f"t must hold one time per sample, {len(x)}, not {len(t)}.")
        t = t.reshape(-1, *[1] * (x.ndim - 1))
    return t.to(x)

"""EDM's preconditioning: the network works on unit variance whatever the noise, and the adapter undoes that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers.protocol import MeanOnly, scales
from fewsteps.errors import ShapeError
from fewsteps.parameters import number
from fewsteps.schedules import Schedule
from fewsteps.schedules.base import Time


@dataclass(frozen=True, eq=False)
class FromEDM(MeanOnly):
    """A network under EDM's preconditioning, which serves any schedule: it sees x / alpha at noise sigma / alpha.

    Parameters
    ----------
    network : callable
        Gets the scaled image (B, ...), log(noise) / 4 per sample, (B,), and `cond` where there is one.
    schedule : Schedule
    mean, std : float
        Of the pixels of the data, in the units of x0: for images in [0, 1] what the training data have there, for
        images in [-1, 1] ``2 * mean - 1`` and ``2 * std``. The network itself sees data of mean 0 and variance 1.

    Raises
    ------
    ParameterError
        If `std` is not above 0.

    Notes
    -----
    Source: BASE-HEUN (Karras et al. 2022, Table 1 with sigma_data = 1 after standardising).
    """

    network: Callable[..., Tensor]
    schedule: Schedule
    mean_of_data: float = 0.0
    std_of_data: float = 1.0

    def __post_init__(self) -> None:
        number("mean_of_data", self.mean_of_data)
        number("std_of_data", self.std_of_data, above=0)

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """E[x0 given x_t = x].

        Raises
        ------
        ShapeError
            If the network returns another shape than it was given.
        """
        alpha, sigma = scales(self.schedule, t, x)
        if isinstance(sigma, float) and sigma == 0:
            return x / alpha  # nothing to remove, and no logarithm to tell the network
        noise = torch.as_tensor(sigma / (alpha * self.std_of_data), dtype=x.dtype, device=x.device)
        if noise.numel() not in (1, len(x)):
            raise ShapeError("FromEDM needs one noise level per image: this schedule has one per pixel.")
        noise = noise.reshape(-1).expand(len(x))
        scaled = (x / alpha - self.mean_of_data) / self.std_of_data
        return (precondition(self.network, scaled, noise, cond) * self.std_of_data + self.mean_of_data).to(x.dtype)


def precondition(network: Callable[..., Tensor], x: Tensor, noise: Tensor, cond: Any = None) -> Tensor:
    """EDM's D(x; sigma) for data of mean 0 and variance 1: c_skip x + c_out F(c_in x; log(sigma) / 4).

    Parameters
    ----------
    network : callable
        F.
    x : Tensor, shape (B, ...)
        Data plus noise.
    noise : Tensor, shape (B,)
        Standard deviation of the noise, in units of that of the data.
    cond : optional
        Handed to the network.

    Returns
    -------
    Tensor, of the shape of `x`

    Raises
    ------
    ShapeError
        If the network returns another shape than it was given.
    """
    c_skip, c_out, c_in, c_noise = coefficients(noise)
    shape = (-1, *[1] * (x.ndim - 1))
    inside = x * c_in.reshape(shape)
    said = network(inside, c_noise) if cond is None else network(inside, c_noise, cond)
    if said.shape != x.shape:
        raise ShapeError(f"the network must return the shape of x, {tuple(x.shape)}, not {tuple(said.shape)}.")
    return c_skip.reshape(shape) * x + c_out.reshape(shape) * said


def coefficients(noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise at a noise given in units of the data's standard deviation.

    Notes
    -----
    Source: BASE-HEUN (Karras et al. 2022, Table 1, sigma_data = 1).
    """
    total = 1 + noise.square()
    return 1 / total, noise * total.rsqrt(), total.rsqrt(), clock(noise)


def clock(noise: Tensor) -> Tensor:
    """What this project's networks are told of the noise-to-signal ratio, log(noise) / 4.

    Notes
    -----
    Source: BASE-HEUN (c_noise of Karras et al. 2022, Table 1).
    """
    return noise.log() / 4

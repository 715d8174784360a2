"""Denoising objectives, one for each kind of network that the adapters know."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from fewsteps.denoisers.edm import clock, coefficients
from fewsteps.errors import ParameterError
from fewsteps.parameters import number
from fewsteps.schedules import VPLinear

Network = Callable[..., Tensor]


@runtime_checkable
class Objective(Protocol):
    """A loss per image, and the name under which an adapter finds what the network predicts."""

    @property
    def predicts(self) -> dict[str, Any]:
        """What a card records."""
        ...

    def __call__(self, network: Network, x0: Tensor, cond: Tensor | None, generator: torch.Generator) -> Tensor:
        """Losses, (B,)."""
        ...


class Posed(NamedTuple):
    """A denoising problem as a network sees it."""

    noisy: Tensor
    """(B, C, H, W)."""
    times: Tensor
    """(B,)."""
    target: Tensor
    """What the network's own output should be, (B, C, H, W)."""


@runtime_checkable
class Poser(Objective, Protocol):
    """An objective whose problems can be had without a network, so that two may work on the same."""

    def pose(self, x0: Tensor, generator: torch.Generator) -> Posed:
        """Noisy images, the times to tell, and the outputs that are right."""
        ...


@dataclass(frozen=True)
class EDM:
    """Denoising at noise levels around the most informative ones, every level weighted to equal variance.

    Parameters
    ----------
    mean, std : float
        Of the pixels of the data in [0, 1].
    centre, spread : float
        Of the normal law of log(sigma / std). -0.5 and 1.2 are EDM's -1.2 and 1.2 at its sigma_data of 0.5.
    wide : float
        Share of the images that get a level from a log-uniform law over `ends` instead. EDM's law alone hardly visits
        the levels at which the papers' VE samplers start (200 times the data's own spread), and a network is only
        as good as what it has seen.
    ends : (float, float)
        Smallest and largest noise of that law, in units of std.

    Raises
    ------
    ParameterError
        If `std` or `spread` is not above 0, `wide` not in [0, 1], or the ends not in order.

    Notes
    -----
    Source: BASE-HEUN (Karras et al. 2022, section 5).
    """

    mean: float
    std: float
    centre: float = -0.5
    spread: float = 1.2
    wide: float = 0.15
    ends: tuple[float, float] = (0.005, 300.0)

    def __post_init__(self) -> None:
        number("mean", self.mean)
        number("std", self.std, above=0)
        number("spread", self.spread, above=0)
        number("wide", self.wide, least=0, most=1)
        if not 0 < self.ends[0] < self.ends[1]:
            raise ParameterError(f"ends must be two noise levels in order, 0 < low < high, not {self.ends!r}.")

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "edm", and the standardisation."""
        return {"kind": "edm", "mean": self.mean, "std": self.std}

    def __call__(self, network: Network, x0: Tensor, cond: Tensor | None, generator: torch.Generator) -> Tensor:
        """Mean squared error of the network's own output F against what makes the denoiser exact, (B,)."""
        posed = self.pose(x0, generator)
        said = network(posed.noisy, posed.times, *_given(cond))
        return (said - posed.target).square().flatten(1).mean(1)

    def pose(self, x0: Tensor, generator: torch.Generator) -> Posed:
        """Standardised images under noise, as preconditioned; and F for the exact denoiser."""
        uniform = torch.rand(2, len(x0), device=x0.device, generator=generator)
        log_noise = self.centre + self.spread * torch.randn(len(x0), device=x0.device, generator=generator)
        low, high = map(math.log, self.ends)
        noise = torch.where(uniform[0] < self.wide, low + (high - low) * uniform[1], log_noise).exp()
        clean = (x0 - self.mean) / self.std
        c_skip, c_out, c_in, c_noise = (c[:, None, None, None] for c in coefficients(noise))
        noisy = clean + noise[:, None, None, None] * _normal(clean, generator)
        return Posed(c_in * noisy, c_noise.flatten(), (clean - c_skip * noisy) / c_out)


@dataclass(frozen=True)
class Eps:
    """DDPM's objective: the noise of a VP process, every time alike. Images are taken to [-1, 1] first.

    Parameters
    ----------
    schedule : VPLinear
        Of the forward process. The network is told log(sigma / alpha) / 4, by which any discretisation finds it.

    Notes
    -----
    Source: BASE-VP, BASE-DDPM.
    """

    schedule: VPLinear = field(default_factory=VPLinear)

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "eps"."""
        return {"kind": "eps"}

    def __call__(self, network: Network, x0: Tensor, cond: Tensor | None, generator: torch.Generator) -> Tensor:
        """Mean squared error of the predicted noise, (B,)."""
        posed = self.pose(x0, generator)
        said = network(posed.noisy, posed.times, *_given(cond))
        return (said - posed.target).square().flatten(1).mean(1)

    def pose(self, x0: Tensor, generator: torch.Generator) -> Posed:
        """Images in [-1, 1] under noise, and the noise."""
        t = torch.rand(len(x0), device=x0.device, generator=generator)
        # Stratified: one time per B-th of the range, so that the loss of a batch varies less.
        t = (torch.arange(len(x0), device=x0.device) + t) / len(x0)
        t = self.schedule.t_min + (self.schedule.t_max - self.schedule.t_min) * t
        alpha, sigma = (value.to(x0)[:, None, None, None] for value in (self.schedule.alpha(t), self.schedule.sigma(t)))
        noise = _normal(x0, generator)
        return Posed(alpha * (2 * x0 - 1) + sigma * noise, clock(sigma / alpha).flatten(), noise)


@dataclass(frozen=True)
class ScoreMatching:
    """Denoising score matching over the noise levels of NCSN, weighted by sigma^2. Images stay in [0, 1].

    Parameters
    ----------
    sigmas : sequence of float
        The levels, decreasing.

    Raises
    ------
    ParameterError
        Unless there are two or more, positive and decreasing.

    Notes
    -----
    Source: BASE-NCSN, BASE-NCSNv2.
    """

    sigmas: Sequence[float]

    def __post_init__(self) -> None:
        pairs = list(zip(self.sigmas, self.sigmas[1:], strict=False))
        if not pairs or not all(high > low > 0 for high, low in pairs):
            raise ParameterError(f"sigmas must be at least two positive levels in decreasing order, not {self.sigmas}.")

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "score", and the levels."""
        return {"kind": "score", "sigmas": list(self.sigmas)}

    def __call__(self, network: Network, x0: Tensor, cond: Tensor | None, generator: torch.Generator) -> Tensor:
        """Mean over pixels of (sigma s + z)^2, (B,): NCSN's loss is half of it, summed over pixels."""
        levels = torch.tensor(self.sigmas, device=x0.device, dtype=x0.dtype)
        chosen = torch.randint(len(levels), (len(x0),), device=x0.device, generator=generator)
        sigma = levels[chosen]
        noise = _normal(x0, generator)
        said = network(x0 + sigma[:, None, None, None] * noise, sigma, *_given(cond))
        return (sigma[:, None, None, None] * said + noise).square().flatten(1).mean(1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, device=like.device, dtype=like.dtype, generator=generator)


def _given(cond: Tensor | None) -> tuple[Tensor, ...]:
    return () if cond is None else (cond,)

"""PixelAware's objectives: for the scale estimator G, for the parallel network R, and for a single head beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number
from fewsteps.schedules.pixel import ESTIMATES, PIXEL_MIN, READINGS, brightness, check_rate, noise_share

Estimator = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Noised:
    """Images at random steps of PixelAware's forward process."""

    x: Tensor
    """x_i, (B, C, H, W)."""
    times: Tensor
    """i / T, (B,)."""
    steps: Tensor
    """i, (B,)."""
    rate: Tensor
    """log alpha, (B, C, H, W): -gamma x0 / T, or that of the image's brightness at every pixel."""
    noise: Tensor
    """eps~_i, (B, C, H, W)."""


def noised(x0: Tensor, gamma: float, steps: int, generator: torch.Generator, common: float = 0.0) -> Noised:
    """Images at steps i drawn evenly from 1 to T, one for each.

    Parameters
    ----------
    x0 : Tensor, shape (B, C, H, W)
        In [0, 1]; pixels below `PIXEL_MIN` are raised to it.
    gamma : float
    steps : int
    generator : torch.Generator
    common : float
        How likely an image is to get one schedule for all its pixels, that of its brightness.

    Notes
    -----
    Source: PX-1, Eq. 9.
    """
    x0 = x0.clamp(PIXEL_MIN, 1)
    i = torch.randint(1, steps + 1, (len(x0),), device=x0.device, generator=generator)
    rate, noise = -gamma * x0 / steps, _normal(x0, generator)
    if common:
        alike = torch.rand((len(x0), 1, 1, 1), device=x0.device, generator=generator) < common
        rate = torch.where(alike, -gamma * brightness(x0) / steps, rate)
    exponent = i[:, None, None, None] * rate
    x = (exponent / 2).exp() * x0 + (-torch.expm1(exponent)).sqrt() * noise
    return Noised(x, i.to(x0.dtype) / steps, i, rate, noise)


@dataclass(frozen=True)
class ScaleEstimation:
    """The scale estimator's objective: squared error of its map at a random step, and a divergence.

    Parameters
    ----------
    gamma : float
        Below `steps`.
    steps : int
        T.
    estimates : {"scale", "log", "image"}
        What the map stands for; its error is that of x_delta, of log(x_delta), or of the image (Appendix F's control).
        log(x_delta) is -gamma times the image, so the last two differ in the weight of the divergence alone.
    kl : float
        Weight of the divergence of the vector from a standard normal one, per pixel of the image. The paper gives none;
        a VAE whose pixels have variance v has 2 v.

    Raises
    ------
    ParameterError
        If gamma is not between 0 and T, `kl` is negative or `estimates` unknown.

    Notes
    -----
    Source: PX-5, section 3.2.3; PX-10, Appendix F.
    """

    gamma: float
    steps: int
    estimates: str = "scale"
    kl: float = 1e-3

    def __post_init__(self) -> None:
        check_rate(self.gamma, self.steps)
        number("kl", self.kl, least=0)
        if self.estimates not in ESTIMATES:
            raise ParameterError(f"estimates must be one of {', '.join(ESTIMATES)}, not {self.estimates!r}.")

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "scale", and what it takes to use it."""
        return {"kind": "scale", "gamma": self.gamma, "steps": self.steps, "estimates": self.estimates, "kl": self.kl}

    def __call__(
        self, network: Callable[..., Any], x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Losses, (B,)."""
        posed = noised(x0, self.gamma, self.steps, generator)
        unwrapped = getattr(network, "module", network)
        noise = torch.randn((len(x0), unwrapped.latent), device=x0.device, dtype=x0.dtype, generator=generator)
        said, mean, std = network(posed.x, posed.times, noise)
        image = -self.steps * posed.rate / self.gamma
        target = torch.exp(-self.gamma * image) if self.estimates == "scale" else image
        weight = self.gamma**2 if self.estimates == "log" else 1.0
        mean, std = mean.float(), std.float()
        divergence = (mean.square() + std.square() - 1 - 2 * std.log()).sum(1) / 2
        return weight * (said - target).square().flatten(1).mean(1) + self.kl * divergence / x0[0].numel()


@dataclass(frozen=True)
class ParallelNoise:
    """The parallel network's objective: for every step j up to that of the input, the squared error of its noise.

    Parameters
    ----------
    gamma, steps
        As for :class:`ScaleEstimation`.
    estimator : callable
        From (x_i, i / T) to the estimated scale, which the network is told; not trained here.
    reading : {"increment", "marginal", "last"}
        What Z^j is. Eq. 15 writes the marginal eps~_j.
    drawn : bool
        Whether the targets are those of a drawn trajectory, as the paper has it. Without it, they are their means
        given x_i and x_0, multiples of eps~_i: the gradient has the same expectation, varies less, and no trajectory
        has to be drawn.
    sampled : int
        Sub-networks trained in a step, drawn anew each time, so that memory does not grow with T; 0 for all. The
        others' gradients are zero, of which Adam's averages take notice.

    Raises
    ------
    ParameterError
        If gamma is not between 0 and T, the reading is unknown, or more are to be sampled than there are.

    Notes
    -----
    Losses are averaged over j = 1 ... T, zero for those beyond i, as Eq. 15 has it: a sub-network sees its loss and no
    other, and the backbone their sum.

    Source: PX-6, Eq. 14 and 15; PX-7.
    """

    gamma: float
    steps: int
    estimator: Estimator
    reading: str = "marginal"
    drawn: bool = False
    sampled: int = 0

    def __post_init__(self) -> None:
        check_rate(self.gamma, self.steps)
        integer("sampled", self.sampled, least=0, most=self.steps)
        if self.reading not in READINGS:
            raise ParameterError(f"reading must be one of {', '.join(READINGS)}, not {self.reading!r}.")

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "parallel", the reading, how many sub-networks a step trains where it is not all, and the estimator."""
        said = {"kind": "parallel", "gamma": self.gamma, "steps": self.steps, "reading": self.reading}
        return said | ({"sampled": self.sampled} if self.sampled else {}) | _named(self.estimator)

    def __call__(
        self, network: Callable[..., Any], x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Losses, (B,)."""
        posed = noised(x0, self.gamma, self.steps, generator)
        scale = self.estimator(posed.x, posed.times)
        if self.sampled:
            order = torch.randperm(self.steps, device=x0.device, generator=generator)
            chosen = order[: self.sampled].sort().values
            said = network(posed.x, posed.times, scale, chosen)
        else:
            chosen = torch.arange(self.steps, device=x0.device)
            said = network(posed.x, posed.times, scale)
        return self.loss(said, self.targets(posed, chosen, generator), posed.steps, chosen)

    def targets(self, posed: Noised, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """What the chosen sub-networks should say, (B, n, C, H, W); of steps beyond i, anything."""
        i, j = posed.steps[:, None, None, None, None], (chosen + 1)[None, :, None, None, None]
        rate, noise = posed.rate[:, None], posed.noise[:, None]
        means = noise_share(rate, i, torch.minimum(i, j), self.reading) * noise
        if not self.drawn or self.reading == "last":
            return means
        # The trajectory given its end: one of its own, moved by what its end tells of every noise.
        free = _increments(posed, self.steps, generator)
        states, marginals = torch.zeros_like(posed.noise), []
        for step in range(self.steps):
            states = (posed.rate / 2).exp() * states + (-torch.expm1(posed.rate)).sqrt() * free[:, step]
            marginals.append(states / (-torch.expm1((step + 1) * posed.rate)).sqrt())
        walked = torch.stack(marginals, dim=1)
        end = walked[torch.arange(len(walked)), posed.steps - 1][:, None]
        own = (free if self.reading == "increment" else walked)[:, chosen]
        return own + noise_share(rate, i, torch.minimum(i, j), self.reading) * (noise - end)

    def loss(self, said: Tensor, targets: Tensor, steps: Tensor, chosen: Tensor) -> Tensor:
        """Losses, (B,), of maps (B, n C, H, W): Eq. 15 averaged over the chosen steps.

        Raises
        ------
        ShapeError
            If the network has other heads than the objective steps: maps of other channels than C for each.
        """
        wanted = len(chosen) * targets.shape[2]
        if said.shape[1] != wanted:
            raise ShapeError(
                f"the network must say C * T = {targets.shape[2]} * {len(chosen)} channels, not {said.shape[1]}: "
                "as many heads as the objective has steps."
            )
        error = (said.float().unflatten(1, (len(chosen), -1)) - targets).square().flatten(2).mean(2)
        return (error * (chosen + 1 <= steps[:, None])).mean(1)


@dataclass(frozen=True)
class SingleHead:
    """The baseline's objective: the image alone, from the same input; all noises follow from it by Eq. 9.

    Parameters
    ----------
    gamma, steps, estimator
        As for :class:`ParallelNoise`.
    common : float
        How likely an image is to be put under noise by one schedule for all its pixels, as
        :func:`fewsteps.samplers.renoised` can do when it asks again; 0 in the paper, which knows no such states.

    Raises
    ------
    ParameterError
        If gamma is not between 0 and T, or the share not from 0 to 1.

    Notes
    -----
    Source: PX-6 (the baseline of its claim); PX-8 (the smallest change that generates).
    """

    gamma: float
    steps: int
    estimator: Estimator
    common: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.gamma, self.steps)
        number("common", self.common, least=0, most=1)

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "parallel", with the reading "image", and the share of states under one schedule where there are any."""
        said = {"kind": "parallel", "gamma": self.gamma, "steps": self.steps, "reading": "image"}
        return said | ({"common": self.common} if self.common else {}) | _named(self.estimator)

    def __call__(
        self, network: Callable[..., Any], x0: Tensor, cond: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the image, (B,).

        Raises
        ------
        ShapeError
            If the network has more heads than one.
        """
        posed = noised(x0, self.gamma, self.steps, generator, self.common)
        said = network(posed.x, posed.times, self.estimator(posed.x, posed.times))
        if said.shape != x0.shape:
            raise ShapeError(f"the network must say one image, {tuple(x0.shape)}, not {tuple(said.shape)}: one head.")
        return (said.float() - x0.clamp(PIXEL_MIN, 1)).square().flatten(1).mean(1)


def _increments(posed: Noised, steps: int, generator: torch.Generator) -> Tensor:
    batch, *shape = posed.noise.shape
    return torch.randn((batch, steps, *shape), device=posed.noise.device, dtype=posed.noise.dtype, generator=generator)


def _named(estimator: Estimator) -> dict[str, Any]:
    """The estimator, pinned, where it is a checkpoint's."""
    name, sha256 = getattr(estimator, "name", None), getattr(estimator, "sha256", None)
    return {"estimator": {"name": name, "sha256": sha256}} if name else {}


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, device=like.device, dtype=like.dtype, generator=generator)

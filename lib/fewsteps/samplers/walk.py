"""What all samplers share: checked arguments, the scales at every step, filtered draws, counted calls.

A sampler is a generator whose loop is the algorithm; everything that is the same in all of them is here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers import Denoiser
from fewsteps.denoisers.protocol import Drawing
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters import IDENTITY, PLACES, Filter, Place
from fewsteps.parameters import seed as checked_seed

Noise = Callable[[tuple[int, ...]], Tensor]
Start = Tensor | Sequence[int]
NEVER = 2**62
Scale = Any  # a float where one noise level holds for the whole image, else a Tensor that broadcasts over it


@dataclass(frozen=True)
class Step:
    """One iteration of a sampler.

    Attributes
    ----------
    i : int
        Iterations so far, from 1.
    t : float
        The time that `x` has reached.
    x : Tensor
        The state.
    x0_hat : Tensor
        The prediction of clean data that this iteration made last.
    nfe : int
        Network calls so far; not the same as `i`.
    """

    i: int
    t: float
    x: Tensor
    x0_hat: Tensor
    nfe: int


def last(steps: Iterable[Step]) -> Tensor:
    """Run a sampler to its end and return the sample.

    Parameters
    ----------
    steps : iterable of Step
        What a sampler returned. Gradients are kept: call it under ``torch.no_grad()`` to sample.

    Returns
    -------
    Tensor

    Raises
    ------
    ParameterError
        If there is no step.
    """
    end = deque(steps, maxlen=1)
    if not end:
        raise ParameterError("steps must hold at least one step.")
    return end[0].x


def white_noise(seed: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Noise:
    """A source of standard normal noise for samplers: same seed and device, same bits.

    Parameters
    ----------
    seed : int
    device, dtype
        Where and in what the noise is drawn; the state of a sampler follows it.

    Returns
    -------
    callable
        From a shape to a Tensor; every call draws further numbers.

    Raises
    ------
    ParameterError
        If `seed` is no integer from 0 to 2**63 - 1.
    """
    generator = torch.Generator(device).manual_seed(checked_seed(seed))

    def noise(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=dtype)

    return noise


def slerp(first: Tensor, second: Tensor, w: float, axes: int = 1) -> Tensor:
    """The arc of a great circle from one noise to another: white noise stays as large as noise is.

    Where the two have one direction it is the straight line.

    Parameters
    ----------
    first, second : Tensor, shape (B, ...)
    w : float
        Share of the way, from 0 to 1.
    axes : int
        How many of the first axes tell apart what goes along an arc of its own: 2 for the noises of several steps,
        (T, B, ...).

    Notes
    -----
    Source: PD-7, BASE-DIFFAE (for x_T).
    """
    a, b = (x.flatten(0, axes - 1).flatten(1) for x in (first, second))
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-12)
    angle = cosine.clamp(-1, 1).acos()
    whole = angle.sin()
    shares = [
        torch.where(whole > 1e-6, (share * angle).sin() / whole.clamp(min=1e-6), torch.full_like(angle, share))
        for share in (1 - w, w)
    ]
    return (shares[0][:, None] * a + shares[1][:, None] * b).reshape(first.shape)


@dataclass(frozen=True)
class Interval:
    """From time `t` down to `s`, with the scales at both ends, and whether no noise is left at `s`."""

    t: float
    s: float
    alpha_t: Scale
    sigma_t: Scale
    alpha_s: Scale
    sigma_s: Scale
    to_data: bool

    @property
    def shrink(self) -> Scale:
        """Noise-to-signal ratio at `s` over that at `t`, from 0 to 1: everything a step needs besides the scales."""
        return self.alpha_t * self.sigma_s / (self.alpha_s * self.sigma_t)


class Walk:
    """One run of a sampler.

    Parameters
    ----------
    name : str
        The sampler's, for what it says.
    model : Denoiser
    start : Tensor or sequence of int
        The state at times[0], or the shape (B, ...) of one to be drawn: sigma times white noise.
    times : Tensor, shape (steps + 1,)
        Decreasing.
    noise : callable
    filt : Filter
    cond : optional
    injects : sequence of {"predictor", "corrector"}
        Where this sampler draws noise after the start.
    drift : bool
        Whether this sampler has a score term for M M^T to multiply.
    """

    def __init__(
        self,
        name: str,
        model: Denoiser,
        start: Start,
        times: Tensor,
        noise: Noise,
        filt: Filter = IDENTITY,
        cond: Any = None,
        *,
        injects: Sequence[Place] = (),
        drift: bool = False,
    ) -> None:
        self.name, self.model, self.noise, self.filt, self.cond = name, model, noise, filt, cond
        times = _checked(times)
        self.levels = times.tolist()
        self._i = self.nfe = 0
        self._bad: Tensor | None = None
        if not filt.is_identity:
            _refuse(name, filt, injects, drift, drawn=not isinstance(start, Tensor))
        # All at once and on the CPU, so that nothing in the loop waits for a device.
        alphas, sigmas = (_at_all(scale, times) for scale in (model.schedule.alpha, model.schedule.sigma))
        clean = [not (sigma > 0 if isinstance(sigma, float) else bool((sigma > 0).any())) for sigma in sigmas]
        self.start = start if isinstance(start, Tensor) else self._prior(start, sigmas[0])
        alphas, sigmas = ([_beside(scale, self.start) for scale in scales] for scales in (alphas, sigmas))
        self.intervals = [
            Interval(t, s, alphas[k], sigmas[k], alphas[k + 1], sigmas[k + 1], clean[k + 1])
            for k, (t, s) in enumerate(zip(self.levels[:-1], self.levels[1:], strict=True))
        ]

    def __iter__(self) -> Iterator[Interval]:
        """Every interval of the grid, from noise to data."""
        yield from self.intervals
        self.settle()

    def mean(self, x: Tensor, t: float) -> Tensor:
        """E[x0 given x], one network call."""
        self.nfe += 1
        x0_hat = self.model.mean(x, t, self.cond)
        self._watch(x0_hat)
        return x0_hat

    def sample(self, x: Tensor, t: float) -> Tensor:
        """x0 drawn given x, one network call; the noise for it has the shape that the model names, or that of `x`."""
        self.nfe += 1
        shape = self.model.noise_shape(x) if isinstance(self.model, Drawing) else tuple(x.shape)
        x0_hat = self.model.draw(x, t, self.cond, self.noise(shape))
        self._watch(x0_hat)
        return x0_hat

    def stir(self, x: Tensor, spread: Scale, place: Place) -> Tensor:
        """`x` with noise of that spread put in. In place: `x` has to be a result that nobody else holds."""
        z = self.draw(x, place)
        return x.add_(z, alpha=spread) if isinstance(spread, float) and x.dtype == z.dtype else x + spread * z

    def draw(self, x: Tensor, place: Place) -> Tensor:
        """Noise for the state `x`, filtered if the filter acts at `place`."""
        z = self.noise(tuple(x.shape))
        return self.filt.noise(z) if self.filt.acts(place) else z

    def step(self, t: float, x: Tensor, x0_hat: Tensor) -> Step:
        """Close an iteration."""
        self._i += 1
        return Step(self._i, t, x, x0_hat, self.nfe)

    def settle(self) -> None:
        """Say at which iteration a device first saw NaN; the one time that it is waited for."""
        if self._bad is not None and int(self._bad) < NEVER:
            self._report(int(self._bad))

    def _prior(self, shape: Sequence[int], sigma: Scale) -> Tensor:
        z = self.noise(tuple(int(n) for n in shape))
        z = self.filt.noise(z) if self.filt.acts("prior") else z
        return _beside(sigma, z) * z

    def _watch(self, x0_hat: Tensor) -> None:
        total = x0_hat.detach().sum(dtype=torch.float32)
        if x0_hat.device.type == "cpu":
            if not math.isfinite(total):
                self._report(self._i + 1)
            return
        first = torch.where(torch.isfinite(total), NEVER, self._i + 1)
        self._bad = first if self._bad is None else torch.minimum(self._bad, first)

    def _report(self, i: int) -> None:
        raise ShapeError(
            f"the model returned NaN or infinite values at iteration {i} of {self.name}: the step may be too large "
            "for it, or the network broken."
        )


def _checked(times: Tensor) -> Tensor:
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) < 2:
        got = tuple(times.shape) if isinstance(times, Tensor) else type(times).__name__
        raise ShapeError(f"times must be a vector of at least two times, from noise to data, not {got}.")
    times = times.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(times).all()) or not bool((times[1:] < times[:-1]).all()) or float(times[-1]) < 0:
        raise ParameterError("times must be decreasing and end at 0 or above, as the grids of fewsteps.schedules do.")
    return times


def _at_all(scale: Callable[[Tensor], Tensor], times: Tensor) -> list[Scale]:
    """alpha or sigma at every time: floats where there is one number for the whole image, else fields."""
    return scale(times).tolist() if scale(times[0]).ndim == 0 else [scale(t) for t in times]


def _beside(scale: Scale, x: Tensor) -> Scale:
    return scale if isinstance(scale, float) else scale.to(x)


def _refuse(name: str, filt: Filter, injects: Sequence[Place], drift: bool, *, drawn: bool) -> None:
    """No part of a filter is silently ignored."""
    can = {*injects, *(["prior"] if drawn else [])}
    if filt.drift and not drift:
        raise ParameterError(
            f"{name} has no score term for a filter's drift: use drift=False, or predictor_corrector, ve_ancestral or "
            "langevin."
        )
    if filt.drift and filt.where == {"prior"}:
        raise ParameterError("a filter's drift has nothing to act on at the start: use drift=False there.")
    if filt.where is None:
        if not injects:
            raise ParameterError(f'{name} injects no noise: filter its start alone, filt.at("prior"), or nothing.')
        return
    beyond = [place for place in PLACES if place in filt.where - can]
    if beyond:
        reason = "its start is given" if beyond == ["prior"] else f"it draws noise only as {' and '.join(sorted(can))}"
        reason = reason if can else "it draws none with its start given"
        raise ParameterError(f"{name} cannot filter noise at {', '.join(beyond)}: {reason}.")

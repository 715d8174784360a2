"""The samplers that every comparison of the book carries, on one grid of noise levels and at one count of calls.

Data are Gaussian with a spectrum that depends on the radius alone, so one entry per ring stands for the whole image.
The laboratory of chapter 04 shows these in the page; its front end computes the same numbers by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fewsteps import samplers
from fewsteps.denoisers import Gaussian
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters import IDENTITY, Filter
from fewsteps.parameters import integer
from fewsteps.samplers import Step
from fewsteps.schedules import VE, VPLinear, geometric
from fewsteps.theory.law import Law, Rings, frechet, kl, law_of
from fewsteps.theory.propagate import propagate

MOVES = 5
"""Langevin moves per level."""
MOVE_RATIO = 0.5
"""Step of a Langevin move over the square of the noise level."""


@dataclass(frozen=True)
class Rival:
    """One sampler of the comparison."""

    label: str
    sampler: Callable[..., Iterator[Step]]
    family: type[VE] | type[VPLinear]
    named: dict[str, Any] = field(default_factory=dict)
    per_step: int = 1
    extra: int = 0

    def calls(self, steps: int) -> int:
        """Network calls of that many steps; a step of Langevin is a whole level."""
        return self.per_step * integer("steps", steps, least=1) + self.extra

    def steps(self, nfe: int) -> int:
        """Most steps that `nfe` network calls pay for, at least one."""
        return max(1, (integer("nfe", nfe, least=1) - self.extra) // self.per_step)


RIVALS: dict[str, Rival] = {
    "reverse": Rival("VE reverse diffusion", samplers.predictor_corrector, VE, {"corrections": 0}),
    "ancestral": Rival("VE ancestral = DDPM, small variance", samplers.ve_ancestral, VE),
    "pc": Rival("NCSN++ predictor-corrector", samplers.predictor_corrector, VE, per_step=2),
    "langevin": Rival("annealed Langevin", samplers.langevin, VE, {"per_level": MOVES}, per_step=MOVES, extra=1),
    "ddpm_large": Rival("DDPM, large variance", samplers.ddpm, VPLinear, {"variance": "large"}),
    "analytic": Rival("Analytic-DDPM", samplers.analytic, VPLinear, {"clamp": False}),
    "spectral": Rival("Analytic-DDPM by frequency", samplers.analytic, VPLinear, {"clamp": False}),
    "ddim": Rival("DDIM", samplers.ddim, VPLinear),
    "heun": Rival("Heun (EDM)", samplers.heun, VE, per_step=2, extra=-1),
    "dpmpp_2m": Rival("DPM-Solver++(2M)", samplers.dpmpp_2m, VPLinear),
}


def calls_of(key: str, steps: int) -> int:
    """Network calls of that many steps; a step of Langevin is a whole level.

    Raises
    ------
    ParameterError
        If the sampler is unknown.
    """
    return _rival(key).calls(steps)


def steps_for(key: str, nfe: int) -> int:
    """Most steps that `nfe` network calls pay for, at least one.

    Raises
    ------
    ParameterError
        If the sampler is unknown.
    """
    return _rival(key).steps(nfe)


@dataclass(frozen=True)
class RingData:
    """Gaussian data by rings of frequency, and the noise levels between which samplers walk.

    Parameters
    ----------
    rings : Rings
    variance : Tensor, shape (n,)
        On each ring, in squared units of the data.
    levels : (float, float)
        Noise-to-signal ratios of the first and of the last noisy step.

    Raises
    ------
    ShapeError
        If there is not one variance per ring.
    """

    rings: Rings
    variance: Tensor
    levels: tuple[float, float]

    def __post_init__(self) -> None:
        if self.variance.shape != self.rings.count.shape:
            raise ShapeError(f"variance must have one entry per ring, {len(self.rings.count)}.")

    @property
    def weights(self) -> Tensor:
        """How many coefficients each ring holds, shape (1, n)."""
        return self.rings.count[None]

    def schedule(self, family: type[VE] | type[VPLinear]) -> VE | VPLinear:
        """The schedule of that family between the two levels."""
        high, low = self.levels
        if family is VE:
            return VE(low, high)
        first, last = (float(VPLinear().time(level)) for level in (high, low))
        return VPLinear(t_min=last, t_max=first)

    def run(self, key: str, steps: int, filt: Filter = IDENTITY, **named: Any) -> Law:
        """The law of a rival's output after `steps` steps.

        Parameters
        ----------
        key : str
            One of ``RIVALS``.
        steps : int
            For Langevin, levels.
        filt : Filter
            On rings; see :meth:`filter`.
        **named
            Further parameters of the sampler.

        Returns
        -------
        Law
            Of shape (1, n).

        Raises
        ------
        ParameterError
            If the sampler is unknown or cannot use the filter as it is placed.

        Notes
        -----
        Source: TDAS-7, TDAS-12.
        """
        rival = _rival(key)
        schedule = self.schedule(rival.family)
        times = geometric(schedule, steps)
        named = {**rival.named, **named}
        if key == "langevin":
            named.setdefault("eps", MOVE_RATIO * float(times[-2]) ** 2)
        if key in ("analytic", "spectral"):
            alpha, sigma = (f(times[:-1])[:, None] for f in (schedule.alpha, schedule.sigma))
            power = sigma**2 / (alpha**2 * self.variance + sigma**2)
            one = (power * self.rings.count).sum(1) / self.rings.count.sum()
            named["eps_power"] = one if key == "analytic" else power[:, None]
        model = Gaussian(schedule, self.variance[None])
        return propagate(rival.sampler, model, times, filt=filt, weights=self.weights, **named)

    def filter(self, mask: Tensor, **placed: Any) -> Filter:
        """A filter with one gain per ring; `placed` as for :class:`Filter`."""
        return Filter(space=mask[None], **placed)

    def distance(self, law: Law) -> tuple[float, float]:
        """How far a law is from the data.

        Returns
        -------
        (float, float)
            W2 over the root mean square of the data, and KL of the law from the data in nats per coefficient.

        Notes
        -----
        Source: TDAS-12.
        """
        data = law_of(Gaussian(self.schedule(VE), self.variance[None]))
        total = float((self.weights * data.variance).sum())
        w2 = (frechet(law, data, weights=self.weights) / total) ** 0.5
        return w2, kl(law, data, weights=self.weights) / float(self.weights.sum())


def on_rings(rings: Rings, frequency: Tensor, power: Tensor, exponent: float) -> Tensor:
    """A measured radial spectrum on rings: interpolated in logarithms, and a power law where it was not measured.

    Parameters
    ----------
    rings : Rings
    frequency, power : Tensor, shape (m,)
        Increasing, in cycles per pixel; the zero frequency left out.
    exponent : float
        Of the law beyond the last frequency. Below the first the power is constant.

    Returns
    -------
    float64 Tensor, shape (n,)

    Notes
    -----
    Source: SD-1, section 4.1 (measured spectra).
    """
    x, y = frequency.double().log(), power.double().log()
    at = rings.frequency.clamp(float(frequency[0]), float(frequency[-1])).log()
    place = torch.searchsorted(x, at).clamp(1, len(x) - 1)
    share = (at - x[place - 1]) / (x[place] - x[place - 1])
    inside = torch.lerp(y[place - 1], y[place], share)
    beyond = (rings.frequency / float(frequency[-1])).clamp_min(1).log() * exponent
    return (inside - beyond).exp()


def _rival(key: str) -> Rival:
    if key not in RIVALS:
        raise ParameterError(f"sampler must be one of {', '.join(RIVALS)}, not {key!r}.")
    return RIVALS[key]

"""Schedules that are a list of betas, and ProgDDGAN's special one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number
from fewsteps.schedules.base import Time, as_time
from fewsteps.schedules.continuous import VPLinear


@dataclass(frozen=True, eq=False)
class Discrete:
    """Variance preserving in steps: alpha_bar_t = prod(1 - beta_s), s = 1 .. t; t = 0 is clean data.

    Parameters
    ----------
    betas : Tensor, shape (T,)
        beta_1 .. beta_T, each in (0, 1).

    Attributes
    ----------
    alpha_bars : float64 Tensor, shape (T + 1,)
        alpha_bar_0 = 1 .. alpha_bar_T.

    Raises
    ------
    ShapeError
        If `betas` is not a vector.
    ParameterError
        If a beta is outside (0, 1).

    Notes
    -----
    Source: BASE-DDPM, BASE-DDIM.
    """

    betas: Tensor
    alpha_bars: Tensor = field(init=False, repr=False)
    _sigma_squared: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.betas.ndim != 1 or not len(self.betas):
            raise ShapeError(f"betas must be a vector of at least one number, not of shape {tuple(self.betas.shape)}.")
        betas = self.betas.double()
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ParameterError("betas must all lie strictly between 0 and 1.")
        # In logarithms, so that neither end of the product loses digits.
        log_alpha_bar = torch.nn.functional.pad(torch.log1p(-betas).cumsum(0), (1, 0))
        object.__setattr__(self, "alpha_bars", log_alpha_bar.exp())
        object.__setattr__(self, "_sigma_squared", -torch.expm1(log_alpha_bar))

    @classmethod
    def linear(cls, steps: int = 1000, beta_first: float = 1e-4, beta_last: float = 0.02) -> Discrete:
        """DDPM's betas, evenly spaced from `beta_first` to `beta_last`.

        Raises
        ------
        ParameterError
            If `steps` < 1 or a beta is outside (0, 1).

        Notes
        -----
        Source: PX-2, section 3.2.3 (the schedule of Fig. 2); BASE-DDPM.
        """
        number("beta_first", beta_first, above=0, below=1)
        number("beta_last", beta_last, above=0, below=1)
        return cls(torch.linspace(beta_first, beta_last, integer("steps", steps, least=1), dtype=torch.float64))

    @classmethod
    def cosine(cls, steps: int = 1000, s: float = 0.008, clip: float = 0.999) -> Discrete:
        """Betas of the squared cosine, none above `clip`.

        Raises
        ------
        ParameterError
            If `steps` < 1, or `s` or `clip` is outside (0, 1).

        Notes
        -----
        Source: PX-2, section 2.1 (the squared cosine dependency).
        """
        integer("steps", steps, least=1)
        number("s", s, above=0, below=1)
        number("clip", clip, above=0, below=1)
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        alpha_bar = torch.cos((t + s) / (1 + s) * (math.pi / 2)).square()
        return cls((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=clip))

    @classmethod
    def from_vp(cls, schedule: VPLinear, steps: int) -> Discrete:
        """The exact betas of a continuous schedule sampled at t = 0, 1/T .. 1: PD's Eq. 12.

        DDGAN's own code begins at t = 1e-3 in place of 0, which moves its first beta from .476 to .478 at T = 4.

        Raises
        ------
        ParameterError
            If `steps` < 1.

        Notes
        -----
        Source: PD-1, appendix A, Eq. 12.
        """
        t = torch.arange(integer("steps", steps, least=1) + 1, dtype=torch.float64) / steps
        return cls(-torch.expm1(2 * (schedule.alpha(t).log()).diff()))

    @property
    def steps(self) -> int:
        """T."""
        return len(self.betas)

    @property
    def t_min(self) -> float:
        """1, the first step."""
        return 1.0

    @property
    def t_max(self) -> float:
        """T."""
        return float(self.steps)

    def alpha(self, t: Time) -> Tensor:
        """sqrt(alpha_bar_t) at integer steps 0 .. T."""
        return self._at(self.alpha_bars, t).sqrt()

    def sigma(self, t: Time) -> Tensor:
        """sqrt(1 - alpha_bar_t) at integer steps 0 .. T."""
        return self._at(self._sigma_squared, t).sqrt()

    def time(self, noise_to_signal: Time) -> Tensor:
        """The step whose sigma / alpha is nearest in logarithm, from 1 on; as floating point."""
        levels = (self._sigma_squared[1:] / self.alpha_bars[1:]).log() / 2
        wanted = as_time(noise_to_signal).log()
        return 1 + (wanted[..., None] - levels.to(wanted)).abs().argmin(-1).to(wanted.dtype)

    def _at(self, values: Tensor, t: Time) -> Tensor:
        t = as_time(t)
        # Looking into a tensor on a GPU would make every step of a sampler wait for it.
        if t.device.type == "cpu" and not bool(((t >= 0) & (t <= self.steps) & (t == t.round())).all()):
            raise ParameterError(f"t must be an integer step between 0 and {self.steps}, not {t.tolist()}.")
        return values.to(t.device)[t.round().long()].to(t.dtype)


def progressive(
    steps: int,
    *,
    beta_min: float = 0.1,
    beta_max: float = 20.0,
    threshold: float = 0.1,
    tie: Literal["smallest", "largest"] = "smallest",
) -> Discrete:
    """ProgDDGAN's special schedule: small steps that keep the semantics, then one that destroys everything.

    An ordinary schedule of more steps is cut at t^, the last step whose SNR exceeds `threshold`, and the beta of t^
    itself is replaced so that alpha_bar ends where the ordinary schedule ends. (The text speaks of compressing the
    steps after t^, which would need t^ + 1 steps; the formula is used.)

    Parameters
    ----------
    steps : int
        T, the steps of the result.
    beta_min, beta_max : float
        Rates of the ordinary schedule.
    threshold : float
        SNR at which the semantics are said to be destroyed.
    tie : {"smallest", "largest"}
        Several ordinary lengths T^ may have t^ = T (for T = 2: 5 and 6). The paper names no choice.

    Returns
    -------
    Discrete

    Raises
    ------
    ParameterError
        If no length has t^ = `steps`, or a parameter is outside its range.

    Notes
    -----
    Source: PD-1, appendix A, Eq. 12 and 13.
    """
    integer("steps", steps, least=2)
    number("threshold", threshold, above=0)
    if tie not in ("smallest", "largest"):
        raise ParameterError(f"tie must be 'smallest' or 'largest', not {tie!r}.")
    lengths = progressive_lengths(steps, beta_min=beta_min, beta_max=beta_max, threshold=threshold)
    if not lengths:
        raise ParameterError(f"steps={steps} is reached by no ordinary schedule at threshold={threshold:g}.")
    ordinary = Discrete.from_vp(VPLinear(beta_min, beta_max), lengths[0] if tie == "smallest" else lengths[-1])
    last = 1 - ordinary.alpha_bars[-1] / ordinary.alpha_bars[steps - 1]
    return Discrete(torch.cat((ordinary.betas[: steps - 1], last[None])))


def progressive_lengths(
    steps: int, *, beta_min: float = 0.1, beta_max: float = 20.0, threshold: float = 0.1
) -> list[int]:
    """Every length T^ of the ordinary schedule whose last step above the threshold is `steps`, ascending.

    Notes
    -----
    Source: PD-1, appendix A: SNR(t^) > 0.1 > SNR(t^ + 1).
    """
    schedule = VPLinear(beta_min, beta_max)
    # SNR = 1 / (sigma/alpha)^2, so the threshold is crossed at one continuous time, and t^ = floor(that * T^).
    crossing = float(schedule.time(threshold**-0.5))
    if not 0 < crossing < 1:
        return []
    return [n for n in range(steps + 1, math.ceil((steps + 1) / crossing) + 1) if math.floor(crossing * n) == steps]


def stepped(steps: int, kind: str) -> Discrete:
    """The two schedules that denoising diffusion GANs are trained on.

    Parameters
    ----------
    steps : int
        T.
    kind : {"common", "special"}
        VPLinear() sampled at T times, or :func:`progressive`, which keeps the semantics until its last step.

    Returns
    -------
    Discrete

    Raises
    ------
    ParameterError
        If the kind is unknown, or no special schedule has so many steps.

    Notes
    -----
    Source: PD-1, appendix A; BASE-DDGAN.
    """
    if kind not in ("common", "special"):
        raise ParameterError(f"kind must be 'common' or 'special', not {kind!r}.")
    return Discrete.from_vp(VPLinear(), steps) if kind == "common" else progressive(steps)

"""The papers' misprints as curves: each in the form that is printed and in the form that is used here.

Wherever the library computes both forms it is asked for both; the others are written out here from the papers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from fewsteps import filters, schedules, spectra, wiener
from fewsteps.errors import ParameterError
from fewsteps.experiments import pds
from fewsteps.experiments.tdas import printed_dct
from fewsteps.schedules import Discrete, PixelAware, VPLinear

Form = Literal["printed", "used"]
FORMS: tuple[Form, ...] = get_args(Form)
POSITIONS, POINTS, SIDE = 15, 41, 32
Line = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Axis:
    """What is drawn along one side of a figure."""

    label: str
    low: float
    high: float
    log: bool = False

    def grid(self, count: int = POINTS) -> Tensor:
        """Points from end to end, float64."""
        if self.log:
            return torch.logspace(math.log10(self.low), math.log10(self.high), count, dtype=torch.float64)
        return torch.linspace(self.low, self.high, count, dtype=torch.float64)


@dataclass(frozen=True)
class Misprint:
    """One formula in two forms, and a number that the reader may turn.

    Attributes
    ----------
    row : str
        Of the errata page and the coverage page.
    title, printed, used : str
        What is drawn, and the two forms in a line each.
    x, y : Axis
    knob : str
        The number's name.
    values : tuple of float
        That it takes.
    line : callable
        From the form and the knob's value to the points of a curve.
    """

    row: str
    title: str
    printed: str
    used: str
    x: Axis
    y: Axis
    knob: str
    values: tuple[float, ...]
    line: Callable[[Form, float], Line]

    def curve(self, form: str, value: float) -> Line:
        """Abscissas and ordinates, float64.

        Raises
        ------
        ParameterError
            If `form` is unknown.
        """
        if form not in FORMS:
            raise ParameterError(f"form must be one of {', '.join(FORMS)}, not {form!r}.")
        x, y = self.line(form, value)
        return x.double(), y.double()

    def gap(self, value: float) -> float:
        """How far the two forms lie apart at most, where both are drawn."""
        (x, y), (other, z) = (self.curve(form, value) for form in FORMS)
        shared = min(len(x), len(other))
        apart = (y[:shared] - z[:shared]).abs()
        return float(apart[apart.isfinite()].max())


def _spaced(low: float, high: float, *, log: bool = False) -> tuple[float, ...]:
    return tuple(float(f"{float(v):.4g}") for v in Axis("", low, high, log).grid(POSITIONS))


def _counted(*values: int) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _over(x: Axis, value: Callable[[Form, float, Tensor], Tensor]) -> Callable[[Form, float], Line]:
    grid = x.grid()
    return lambda form, knob: (grid, value(form, knob, grid))


def _correct(form: Form) -> Literal["correct", "printed"]:
    """What the library's own switches call the two forms."""
    return "printed" if form == "printed" else "correct"


def _squared_index(form: Form, count: int) -> Tensor:
    """Squared index distance along the first row of an image's coefficients, counted from 1 or from 0."""
    first = 1 if form == "printed" else 0
    return (torch.arange(count, dtype=torch.float64) + first).square() + first


def _dct_rows(form: Form, count: float) -> Line:
    n = int(count)
    matrix = printed_dct(n)
    if form == "used":
        matrix[:, 0] *= math.sqrt(2)
        matrix[0] /= math.sqrt(2)
    return torch.arange(n) / n, matrix.square().sum(1)


def _start(form: Form, steps: float) -> Line:
    """Reverse diffusion's own recursion for white data of variance 1/4 and an exact score."""
    data, count = 0.25, int(steps)
    levels = torch.logspace(math.log10(50), -2, count, dtype=torch.float64).square()
    found = [1.0 if form == "printed" else float(levels[0])]
    for high, low in itertools.pairwise(levels):
        fresh = float(high - low)
        kept = 1 - fresh / (data + float(high))
        found.append(kept**2 * found[-1] + fresh)
    return levels.sqrt(), (torch.tensor(found, dtype=torch.float64) / (data + levels)).sqrt()


def _rising(strength: float) -> Tensor:
    """A ratio of powers as TDAS finds it: 1 at the mean, larger towards high frequencies."""
    distance = spectra.square_distance((SIDE, SIDE), "dct")
    return 1 + strength * distance / distance.max()


def _left_by_zones(form: Form, strength: float) -> Line:
    ratio = _rising(strength)
    zones = filters.tdas_zones(ratio, amplitude=form == "used")
    left = ratio * filters.zone_mask((SIDE, SIDE), zones.lam, zones.r).square()
    return torch.arange(SIDE) / SIDE, left.diagonal()


def _indexed_alpha_bar(form: Form, steps: float) -> Line:
    count = int(steps)
    index = torch.arange(count + 1, dtype=torch.float64)
    taken = (index - 1).clamp_min(0) if form == "printed" else index
    return index / count, PixelAware(torch.tensor(0.2)).alpha_bar(taken / count)


def _progressive(form: Form, length: float) -> Line:
    ordinary = Discrete.from_vp(VPLinear(0.1, 20.0), int(length))
    snr = ordinary.alpha_bars / (1 - ordinary.alpha_bars)
    last = int((snr > 0.1).sum()) - 1  # t^; the SNR of step 0 is infinite and counted
    kept = ordinary.alpha_bars[: last + 1 if form == "printed" else last]
    found = torch.cat((kept, ordinary.alpha_bars[-1:]))
    return torch.arange(len(found)), found


def _noise_factor(form: Form, pixel: float) -> Line:
    """What multiplies step j's noise in Algorithm 1, for gamma = 20 and T = 200."""
    index = torch.arange(1, 201, 5, dtype=torch.float64)
    step = -torch.expm1(torch.tensor(-20 * pixel / 200, dtype=torch.float64))
    below = step if form == "printed" else -torch.expm1(-20 * pixel * index / 200)
    return index, (step / below.sqrt()).expand_as(index)


def _limit(form: Form, value: float, m: Tensor, *, law: Callable[[Tensor], Tensor]) -> Tensor:
    return value * (torch.ones_like(m) if form == "printed" else law(m))


_AB = Axis("ᾱ", 0, 1)
_TIME = Axis("time t", 0, 1)
_GAIN = Axis("gain on all noise", 0.3, 1.5)
_INDEX = Axis("frequency k along the first row", 0, SIDE - 1)
_FREQUENCY = Axis("frequency (cycles per pixel)", 0.01, 0.5, log=True)
_PIXEL = Axis("pixel x₀", schedules.PIXEL_MIN, 1)
_SPEED = Axis("rotation", 0, 6)

MISPRINTS: Mapping[str, Misprint] = {
    entry.row: entry
    for entry in (
        Misprint(
            "TDAS-2",
            "Power of white noise at every frequency after the cosine transform",
            "1/√2 at the sample n = 0",
            "1/√2 at the frequency k = 0",
            Axis("frequency k / N", 0, 1),
            Axis("power", 0, 2.5),
            "N",
            _counted(4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64),
            _dct_rows,
        ),
        Misprint(
            "TDAS-3",
            "Size of the state on its way, over what the network expects",
            "x_T = M z, of unit variance",
            "x_T = σ_T M z",
            Axis("noise level σ", 0.01, 50, log=True),
            Axis("standard deviation over √(v + σ²)", 0, 2.6),
            "steps",
            _counted(10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 50, 60, 70, 80, 100),
            _start,
        ),
        Misprint(
            "TDAS-4",
            "A zone mask along the lowest row of frequencies",
            "indices from 1: d² = (k + 1)² + 1",
            "indices from 0: d² = k²",
            _INDEX,
            Axis("gain", 0.4, 1.1),
            "r",
            _spaced(0.02, 0.3),
            lambda form, r: (
                torch.arange(SIDE),
                filters.zone_gains(_squared_index(form, SIDE), (SIDE, SIDE), 0.5, r),
            ),
        ),
        Misprint(
            "TDAS-8",
            "Power that is left over the data's, after the automatic filter",
            "λ = ave / Q: a ratio of powers on an amplitude",
            "λ = √(ave / Q)",
            Axis("r, along the diagonal", 0, 1),
            Axis("output power / data power", 0, 4),
            "γ − 1 at the highest frequency",
            _spaced(0.5, 8),
            _left_by_zones,
        ),
        Misprint(
            "TDAS-9",
            "Variance that TDAS' moves settle at",
            "the data's, v",
            "m² v",
            _GAIN,
            Axis("variance", 0, 3),
            "v",
            _spaced(0.1, 1.3),
            _over(_GAIN, lambda form, v, m: _limit(form, v, m, law=torch.square)),
        ),
        Misprint(
            "PDS-2",
            "What multiplies the noise at every frequency of a 1/f² image",
            "M, as Theorem 1 has it",
            "M⁻¹, as Eq. 23 and the released code have it",
            _FREQUENCY,
            Axis("gain", 0, 3),
            "α",
            _spaced(1.2, 10, log=True),
            _over(_FREQUENCY, lambda form, alpha, f: _soft_mask(f, alpha) ** (1 if form == "printed" else -1)),
        ),
        Misprint(
            "PDS-3",
            "Variance that a preconditioned predictor tends to",
            "the data's, v",
            "m² v / (2 m² − 1), where that is positive",
            Axis("gain on all noise and, squared, on the drift", 0.75, 1.5),
            Axis("variance", 0, 3),
            "v",
            _spaced(0.1, 1.5),
            _over(
                Axis("", 0.75, 1.5),
                lambda form, v, m: _limit(form, v, m, law=lambda m: m.square() / (2 * m.square() - 1)),
            ),
        ),
        Misprint(
            "PDS-4",
            "PDS' mask along the row through the centre of the spectrum",
            "centre at H/2, indices from 1",
            "centre at H/2, indices from 0",
            Axis("frequency", -SIDE / 2, SIDE / 2 - 1),
            Axis("gain", 0.4, 1.1),
            "r",
            _spaced(0.02, 0.3),
            lambda form, r: (
                torch.arange(SIDE) - SIDE / 2,
                filters.zone_gains(
                    (torch.arange(SIDE, dtype=torch.float64) + (form == "printed") - SIDE / 2).square(),
                    (SIDE, SIDE),
                    0.5,
                    r,
                ),
            ),
        ),
        Misprint(
            "PDS-8",
            "Variance along the first axis of a rotating process under M = diag(1, m)",
            "as without M (Theorem 2)",
            "from the Lyapunov equation",
            _SPEED,
            Axis("variance", 0, 2),
            "m",
            _spaced(0.5, 3),
            _over(_SPEED, lambda form, m, speed: _rotating(form, m, speed)),
        ),
        Misprint(
            "SD-1",
            "What is left of x_t at every frequency of a 1/f² image",
            "H = 1 / (ᾱS + 1 − ᾱ)",
            "H = √(1 − ᾱ) / (ᾱS + 1 − ᾱ)",
            _FREQUENCY,
            Axis("1 − √(1 − ᾱ) H", -1.5, 1),
            "ᾱ",
            _spaced(0.15, 0.98),
            _over(
                _FREQUENCY,
                lambda form, ab, f: wiener.reconstruction_response(0.01 * f**-2, ab, form=_correct(form)),
            ),
        ),
        Misprint(
            "PX-1",
            "What is left of a pixel of 0.2 after every step",
            "x_i after i − 1 steps (Eq. 2 and 3)",
            "x_i after i steps (Eq. 1 and 9)",
            Axis("step i / T", 0, 1),
            _AB,
            "T",
            _counted(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 30, 50),
            _indexed_alpha_bar,
        ),
        Misprint(
            "PX-2",
            "What is left of the brightest pixel",
            "ᾱ = exp(−γ t x₀ / T)",
            "ᾱ = exp(−γ t x₀)",
            _TIME,
            _AB,
            "T",
            _counted(5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 300, 400, 500),
            _over(
                _TIME,
                lambda form, steps, t: PixelAware(torch.tensor(1.0), form=_correct(form), steps=int(steps)).alpha_bar(
                    t
                ),
            ),
        ),
        Misprint(
            "PX-3",
            "How fast the SNR of a pixel falls",
            "γ x₀³ / (e^u − 1)², u = γ t x₀",
            "γ x₀³ e^u / (e^u − 1)²",
            Axis("time t", 0.02, 1),
            Axis("−dSNR/dt", 1e-6, 1e3, log=True),
            "x₀",
            _spaced(0.05, 1),
            _over(
                Axis("", 0.02, 1),
                lambda form, pixel, t: (
                    -schedules.pixel_snr_rate(
                        torch.tensor(pixel, dtype=torch.float64),
                        t,
                        20.0,
                        form=_correct(form),
                    )
                ),
            ),
        ),
        Misprint(
            "PX-4",
            "Standard deviation of a pixel when the process ends",
            "1: every pixel is a standard normal",
            "√(1 − exp(−γ x₀))",
            _PIXEL,
            Axis("standard deviation", 0, 1.1),
            "γ",
            _spaced(2, 50),
            _over(
                _PIXEL,
                lambda form, gamma, x0: torch.ones_like(x0) if form == "printed" else PixelAware(x0, gamma).sigma(1.0),
            ),
        ),
        Misprint(
            "PX-8",
            "What multiplies the predicted noise in step j of Algorithm 1",
            "(1 − α_j) / √(1 − α_j)",
            "(1 − α_j) / √(1 − ᾱ_j)",
            Axis("step j", 1, 200),
            Axis("factor", 1e-3, 1, log=True),
            "x₀",
            _spaced(0.05, 1),
            _noise_factor,
        ),
        Misprint(
            "PX-11",
            "The mean of a pixel of 0.5 under the rate a t (with PX-3's Eq. 22)",
            "x₀ exp(−a t² / 2)",
            "x₀ exp(−a t² / 4)",
            _TIME,
            Axis("mean", 0, 0.5),
            "a",
            _spaced(1, 20),
            _over(
                _TIME,
                lambda form, a, t: schedules.expected_ddpm(
                    torch.tensor(0.5, dtype=torch.float64), t, a, form=_correct(form)
                ),
            ),
        ),
        Misprint(
            "PD-1",
            "A schedule cut at the last step that keeps the semantics",
            "t̂ steps, and one that compresses the rest (the text)",
            "step t̂ itself replaced (Eq. 13)",
            Axis("step", 0, 10),
            Axis("ᾱ", 1e-5, 1, log=True),
            "T̂",
            _counted(*range(5, 5 + POSITIONS)),
            _progressive,
        ),
    )
}


def _soft_mask(frequency: Tensor, alpha: float) -> Tensor:
    """PDS' data-driven mask at the frequencies of a 1/f² image of `SIDE` pixels."""
    power = (SIDE * frequency) ** -2.0 * SIDE**2
    return filters.pds_mask(power[None], alpha)[0]


def _rotating(form: Form, m: float, speeds: Tensor) -> Tensor:
    which = 0 if form == "printed" else 1
    return torch.stack([pds.rotating(float(speed), (1.0, m))[which][0, 0] for speed in speeds])


def drawn(entry: Misprint) -> dict[str, Any]:
    """All that a page draws of a misprint, as plain numbers with three digits; None where a curve has no value.

    Abscissas that all curves share are given once, under "x"; a curve is then a list of ordinates, else a pair.
    """
    curves = {form: [entry.curve(form, value) for value in entry.values] for form in FORMS}
    first = curves["used"][0][0]
    shared = all(x.equal(first) for lines in curves.values() for x, _ in lines)
    return {
        "row": entry.row,
        "title": entry.title,
        "says": {"printed": entry.printed, "used": entry.used},
        "axes": {
            name: {"label": axis.label, "domain": [axis.low, axis.high], "log": axis.log}
            for name, axis in (("x", entry.x), ("y", entry.y))
        },
        "knob": entry.knob,
        "values": list(entry.values),
        "x": _plain(first) if shared else None,
        "lines": {
            form: [_plain(y) if shared else [_plain(x), _plain(y)] for x, y in lines] for form, lines in curves.items()
        },
    }


def _plain(values: Tensor) -> list[float | None]:
    return [float(f"{v:.3g}") if math.isfinite(v) else None for v in values.tolist()]

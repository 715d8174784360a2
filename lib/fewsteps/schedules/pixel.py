"""PixelAware's schedule, in which every pixel forgets at a rate set by its own brightness.

Its step i of T is written as t = i / T throughout, so alpha_bar = exp(-gamma t x0) for t in [0, 1]. Pixels live in
(0, 1], darkest 4e-3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number
from fewsteps.schedules.base import Time, as_time

PIXEL_MIN = 4e-3
"""The darkest pixel: one grey level, so that no pixel has rate zero."""

ESTIMATES = ("scale", "log", "image")
"""What a scale estimator's network may say."""

SNR_PEAK = 2.575678909920331
"""gamma t x0 at which the SNR of a pixel falls faster than that of any other brightness: the root of 3 tanh(u/2) = u.

Below it brighter pixels lose SNR faster, as Proposition 1 says; beyond it they lose it more slowly, because they
have none left."""

Form = Literal["correct", "printed"]
READINGS = ("increment", "marginal", "last")
"""What the noises Z^1 ... Z^T of one trajectory may be: those of its single steps (Eq. 2), those that take x_0 to every
state at once (Eq. 3), or that of its last state for every step."""


def check_rate(gamma: float, steps: int) -> None:
    """The ranges of gamma and T.

    Raises
    ------
    ParameterError
        If T is no positive integer, or gamma not between 0 and T.

    Notes
    -----
    Source: PX-1, section 3.2.1: x0 << gamma < T.
    """
    integer("steps", steps, least=1)
    number("gamma", gamma, above=0, below=steps, why="Eq. 7 asks for x0 << gamma < T")


def image_scale(x0: Tensor, gamma: float) -> Tensor:
    """The image scale x_delta = exp(-gamma x0), in (0, 1): dark where the image is bright.

    Parameters
    ----------
    x0 : Tensor
        Clean pixels in (0, 1].
    gamma : float
        Positive.

    Returns
    -------
    Tensor
        It is an invertible map of the image, x0 = -log(x_delta) / gamma, and no coarse summary.

    Raises
    ------
    ParameterError
        If `gamma` <= 0.

    Notes
    -----
    Source: PX-1, Eq. 7.
    """
    return torch.exp(-number("gamma", gamma, above=0) * x0)


def to_scale(said: Tensor, estimates: str, gamma: float) -> Tensor:
    """The image scale in what an estimator's network says, within what images in [PIXEL_MIN, 1] can have.

    Parameters
    ----------
    said : Tensor
        Its output.
    estimates : {"scale", "log", "image"}
        x_delta itself; -log(x_delta) / gamma, whose error was weighed as that of the logarithm; or the image.
    gamma : float
        Positive.

    Returns
    -------
    Tensor
        x_delta, from exp(-gamma) to exp(-gamma PIXEL_MIN).

    Raises
    ------
    ParameterError
        If `gamma` <= 0, or `estimates` is unknown.

    Notes
    -----
    Source: PX-5, Eq. 7.
    """
    number("gamma", gamma, above=0)
    if estimates not in ESTIMATES:
        raise ParameterError(f"estimates must be one of {', '.join(ESTIMATES)}, not {estimates!r}.")
    said = said.float()
    image = -said.clamp_min(1e-38).log() / gamma if estimates == "scale" else said
    return (-gamma * image.clamp(PIXEL_MIN, 1.0)).exp()  # 1.0: an integer beside a float stops torch's ONNX exporter


def _constant_rate(t: Tensor) -> Tensor:
    return t


@dataclass(frozen=True, eq=False)
class PixelAware:
    """alpha_bar(t) = exp(-gamma x0 B(t)): a field of schedules, one per pixel of one image.

    Parameters
    ----------
    x0 : Tensor
        The clean image, pixels in (0, 1]: the schedule depends on what it destroys.
    gamma : float
        Positive; the papers use 20 at 200 steps and 50 at 500.
    form : {"correct", "printed"}
        Eq. 10 divides by T once more after i / T has become t. "printed" does so, and needs `steps`.
    steps : int, optional
        T, for the printed form only.
    rate_integral : callable
        B(t), increasing from B(0) = 0. The default t is the paper's model; t -> a t^2 / 2 is the drift of appendix B
        with DDPM's linear rate a t.

    Raises
    ------
    ShapeError
        If a pixel is outside (0, 1].
    ParameterError
        If `gamma` <= 0, or `steps` is no positive integer where the printed form needs it.

    Notes
    -----
    Source: PX-1, Eq. 8 and 9; PX-11, appendix B (generalised drift).
    """

    x0: Tensor
    gamma: float = 20.0
    form: Form = "correct"
    steps: int | None = None
    rate_integral: Callable[[Tensor], Tensor] = _constant_rate
    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        number("gamma", self.gamma, above=0)
        if not bool(((self.x0 > 0) & (self.x0 <= 1)).all()):
            raise ShapeError(f"x0 must have all pixels in (0, 1]: use x0.clamp({PIXEL_MIN}, 1).")
        if self.form not in ("correct", "printed"):
            raise ParameterError(f"form must be 'correct' or 'printed', not {self.form!r}.")
        if self.form == "printed":
            integer("steps", self.steps, least=1)

    def _exponent(self, t: Time) -> Tensor:
        exponent = self.gamma * self.rate_integral(as_time(t)) * self.x0
        return exponent / self.steps if self.form == "printed" and self.steps else exponent

    def alpha_bar(self, t: Time) -> Tensor:
        """exp(-gamma x0 B(t)), a field of the shape of the image."""
        return torch.exp(-self._exponent(t))

    def alpha(self, t: Time) -> Tensor:
        """Square root of :meth:`alpha_bar`."""
        return torch.exp(-self._exponent(t) / 2)

    def sigma(self, t: Time) -> Tensor:
        """sqrt(1 - alpha_bar), without the cancellation for dark pixels."""
        return (-torch.expm1(-self._exponent(t))).sqrt()


def brightness(x0: Tensor) -> Tensor:
    """Mean brightness of every image, whose schedule all its pixels share where one schedule is to serve them all.

    Parameters
    ----------
    x0 : Tensor, shape (B, ...)
        Pixels in (0, 1].

    Returns
    -------
    Tensor, shape (B, 1, ...)

    Notes
    -----
    Source: PX-8 (a form that does not amplify).
    """
    return x0.mean(tuple(range(1, x0.ndim)), keepdim=True)


def noise_share(rate: Tensor, i: Tensor | int, j: Tensor | int, reading: str) -> Tensor:
    """What x_i and x_0 tell of the noise of an earlier step j: this multiple of the noise eps~_i that took x_0 to x_i.

    E[Z^j | x_i, x_0] = share * eps~_i with eps~_i = (x_i - sqrt(ab_i) x_0) / sqrt(1 - ab_i), and no more is to be had:
    the rest of the trajectory is independent of its end. It is what a network that sees x_i should say of Z^j where it
    knows the image.

    Parameters
    ----------
    rate : Tensor
        log alpha = -gamma x0 / T, negative; broadcasts with the steps.
    i, j : Tensor or int
        Steps, 1 <= j <= i.
    reading : {"increment", "marginal", "last"}

    Returns
    -------
    Tensor
        In (0, 1].

    Raises
    ------
    ParameterError
        If the reading is unknown.

    Notes
    -----
    Source: PX-7; PX-6, Eq. 15 (whose least error it decides).
    """
    if reading not in READINGS:
        raise ParameterError(f"reading must be one of {', '.join(READINGS)}, not {reading!r}.")
    if reading == "last":
        return torch.ones_like(rate * i * j)
    own = rate * torch.ones_like(rate * j) if reading == "increment" else rate * j
    return ((i - j) * rate / 2).exp() * (torch.expm1(own) / torch.expm1(i * rate)).sqrt()


def pixel_snr(x0: Tensor, t: Time, gamma: float) -> Tensor:
    """SNR of a pixel, x0^2 / (exp(gamma t x0) - 1): its own square counts as signal.

    Parameters
    ----------
    x0 : Tensor
        Pixels in (0, 1].
    t : float or Tensor
        In (0, 1]; broadcast against `x0`.
    gamma : float
        Positive.

    Returns
    -------
    Tensor

    Raises
    ------
    ParameterError
        If `gamma` <= 0.

    Notes
    -----
    Source: PX-2, Eq. 11.
    """
    return x0.square() / torch.expm1(number("gamma", gamma, above=0) * as_time(t) * x0)


def pixel_snr_rate(x0: Tensor, t: Time, gamma: float, *, form: Form = "correct") -> Tensor:
    """d SNR / dt of a pixel: -gamma x0^3 e^u / (e^u - 1)^2 with u = gamma t x0; negative.

    Parameters
    ----------
    x0 : Tensor
        Pixels in (0, 1].
    t : float or Tensor
        In (0, 1].
    gamma : float
        Positive.
    form : {"correct", "printed"}
        Eq. 17 lacks the factor e^u in the numerator.

    Returns
    -------
    Tensor

    Raises
    ------
    ParameterError
        If `gamma` <= 0 or `form` is unknown.

    Notes
    -----
    Source: PX-3, Eq. 12 and 17 (corrected). Larger x0 loses SNR faster while gamma t x0 < SNR_PEAK for both pixels.
    """
    if form not in ("correct", "printed"):
        raise ParameterError(f"form must be 'correct' or 'printed', not {form!r}.")
    u = number("gamma", gamma, above=0) * as_time(t) * x0
    if form == "printed":
        return -gamma * x0**3 / torch.expm1(u).square()
    # e^u / (e^u - 1)^2 = 1 / (4 sinh^2(u / 2)) does not overflow before the answer is zero.
    return -gamma * x0**3 / (2 * torch.sinh(u / 2)).square()


def time_to_snr(x0: Tensor, level: float, gamma: float) -> Tensor:
    """The time at which a pixel's SNR has fallen to `level`: log(1 + x0^2 / level) / (gamma x0).

    Parameters
    ----------
    x0 : Tensor
        Pixels in (0, 1].
    level : float
        Positive.
    gamma : float
        Positive.

    Returns
    -------
    Tensor
        Above 1 where the process ends before that.

    Raises
    ------
    ParameterError
        If `level` or `gamma` is not positive.

    Notes
    -----
    Source: PX-11, section 3.1: whether all pixels reach zero SNR together.
    """
    return torch.log1p(x0.square() / number("level", level, above=0)) / (number("gamma", gamma, above=0) * x0)


def expected_pixel(x0: Tensor, t: Time, gamma: float) -> Tensor:
    """Expected trajectory of PixelAware, x0 exp(-gamma x0 t / 2).

    Parameters
    ----------
    x0 : Tensor
    t : float or Tensor
    gamma : float
        Positive.

    Returns
    -------
    Tensor

    Raises
    ------
    ParameterError
        If `gamma` <= 0.

    Notes
    -----
    Source: PX-3, Eq. 25.
    """
    return x0 * torch.exp(-number("gamma", gamma, above=0) * x0 * as_time(t) / 2)


def expected_ddpm(x0: Tensor, t: Time, a: float, *, form: Form = "correct") -> Tensor:
    """Expected trajectory of a diffusion with rate beta(t) = a t: x0 exp(-a t^2 / 4).

    Parameters
    ----------
    x0 : Tensor
    t : float or Tensor
        In [0, 1].
    a : float
        Slope of the rate, positive; DDPM's linear schedule has about 20.
    form : {"correct", "printed"}
        Eq. 22 prints exp(-a t^2 / 2): the integral of a t / 2 is a t^2 / 4. Eq. 26 has the same slip, which is this
        function with a replaced by gamma a x0.

    Returns
    -------
    Tensor

    Raises
    ------
    ParameterError
        If `a` <= 0 or `form` is unknown.

    Notes
    -----
    Source: PX-3, Eq. 22 (corrected); PX-11, Eq. 26 (corrected).
    """
    if form not in ("correct", "printed"):
        raise ParameterError(f"form must be 'correct' or 'printed', not {form!r}.")
    divisor = 4 if form == "correct" else 2
    return x0 * torch.exp(-number("a", a, above=0) * as_time(t).square() / divisor)


def proposition_2_holds(x0: Tensor, t: Tensor, gamma: float, a: float) -> Tensor:
    """Where Eq. 13 holds: PixelAware's mean moves faster than that of a diffusion with rate beta(t) = a t.

    |d/dt x0 exp(-gamma x0 t / 2)| > |d/dt x0 exp(-a t^2 / 4)|, compared in logarithms. Near t = 0 it holds for every
    pixel. It fails while PixelAware's mean has slowed down and the other has not, and may hold again once the other
    has arrived as well.

    Parameters
    ----------
    x0, t : Tensor
        Pixels in (0, 1] and times in (0, 1], broadcast against one another.
    gamma, a : float
        Positive.

    Returns
    -------
    bool Tensor

    Raises
    ------
    ParameterError
        If `gamma` or `a` is not positive.

    Notes
    -----
    Source: PX-3, Eq. 13.
    """
    rate = number("gamma", gamma, above=0) * x0
    number("a", a, above=0)
    return rate.log() - rate * t / 2 > (a * t).log() - a * t.square() / 4

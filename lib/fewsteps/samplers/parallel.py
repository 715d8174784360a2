"""PixelAware's reverse path, whose noises are all given in advance: Algorithm 1 and the readings that it allows.

The paper predicts Z^1 ... Z^T in one pass and leaves open what they are jointly. Each of Eq. 2 and 3 has a noise of its
own for step j, and each belongs to another factor in front of it:

====================  ==============================================  =========================================
what Z^j is           factor that goes with it                        from the same Z it gives back
====================  ==============================================  =========================================
"increment", Eq. 2    "printed": sqrt(1 - alpha_j)                    the forward trajectory, state by state
"marginal", Eq. 3     "posterior": (1 - alpha_j) / sqrt(1 - ab_j)     the posterior mean, if Z is asked for anew
"last", that of x_T   "ddim"                                          the deterministic path to x0
====================  ==============================================  =========================================

alpha_j = exp(-gamma x0 / T) for every j, and ab_j its j-th power: fields over the pixels.

A network's noises are never quite right, and Algorithm 1 divides their errors by sqrt(ab). Three forms do not: images
that every noise by itself and the scale give, weighted by how well each is known (:func:`estimates`,
:func:`combined`); an image that is put under noise again and asked about once more (:func:`renoised`); and the same
under one schedule for all pixels, whose noise does not tell the network its own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number
from fewsteps.samplers.walk import Step
from fewsteps.schedules import PixelAware, brightness, image_scale, noise_share
from fewsteps.schedules.pixel import PIXEL_MIN, READINGS, check_rate

FACTORS = ("printed", "posterior", "ddim")


@dataclass(frozen=True, eq=False)
class Path:
    """A forward trajectory with its noises.

    Attributes
    ----------
    states : Tensor, shape (T + 1, ...)
        x_0 to x_T.
    increments, marginals : Tensor, shape (T, ...)
        The noise of every single step (Eq. 2), and the one that takes x_0 to x_j at once (Eq. 3).
    """

    states: Tensor
    increments: Tensor
    marginals: Tensor

    def targets(self, reading: str) -> Tensor:
        """What Z^1 ... Z^T are, (T, ...).

        Raises
        ------
        ParameterError
            If the reading is unknown.

        Notes
        -----
        Source: PX-7.
        """
        if reading == "increment":
            return self.increments
        if reading == "marginal":
            return self.marginals
        if reading == "last":
            return self.marginals[-1:].expand_as(self.marginals)
        raise ParameterError(f"reading must be one of {', '.join(READINGS)}, not {reading!r}.")


def forward_path(x0: Tensor, gamma: float, steps: int, noise: Callable[[tuple[int, ...]], Tensor]) -> Path:
    """A trajectory of PixelAware's forward process, every pixel at the rate of its own brightness.

    Parameters
    ----------
    x0 : Tensor
        Pixels in (0, 1].
    gamma : float
        Between 0 and T.
    steps : int
        T.
    noise : callable
        From a shape to white noise.

    Raises
    ------
    ParameterError
        If T is no positive integer, or `gamma` not between 0 and T.
    ShapeError
        If a pixel is outside (0, 1]: a black one keeps its rate of zero for ever.

    Notes
    -----
    Source: PX-1, Eq. 2, 3, 8 and 9; PX-7; PX-10, Appendix B.
    """
    check_rate(gamma, steps)
    _check_pixels(x0)
    rate = image_scale(x0, gamma).log() / steps  # log alpha_j
    states, increments, marginals = [x0], [], []
    for j in range(1, steps + 1):
        z = noise(tuple(x0.shape)).to(x0)
        increments.append(z)
        states.append((rate / 2).exp() * states[-1] + (-torch.expm1(rate)).sqrt() * z)
        marginals.append((states[-1] - (j * rate / 2).exp() * x0) / (-torch.expm1(j * rate)).sqrt())
    return Path(torch.stack(states), torch.stack(increments), torch.stack(marginals))


def reverse_path(
    x: Tensor,
    scale: Tensor,
    noises: Tensor,
    *,
    factor: str = "posterior",
    noise: Callable[[tuple[int, ...]], Tensor] | None = None,
) -> Tensor:
    """Algorithm 1: from x_T back to x_0 with every Z^j given.

    Parameters
    ----------
    x : Tensor
        x_T.
    scale : Tensor
        The image scale x_delta = exp(-gamma x0), or its estimate, in (0, 1): broadcasts over `x`.
    noises : Tensor, shape (T, ...)
        Z^1 to Z^T, each of the shape of `x`.
    factor : {"printed", "posterior", "ddim"}
        What stands in front of Z^j. Step 9 is printed with (1 - alpha_j) / sqrt(1 - alpha_j), which is sqrt(1 -
        alpha_j); the posterior mean of Eq. 4 has a bar over the second alpha.
    noise : callable, optional
        Of fresh noise, which step 9 adds with the posterior's spread; without it the path is deterministic.

    Returns
    -------
    Tensor, shape (T + 1, ...)
        x_0 to x_T.

    Raises
    ------
    ShapeError
        If the noises have another shape than `x`, or the scale is outside (0, 1).
    ParameterError
        If the factor is unknown.

    Notes
    -----
    Source: PX-8, Algorithm 1; PX-10.
    """
    _check_noises(noises, x)
    _check_scale(scale)
    steps = len(noises)
    rate = scale.log() / steps
    grown = (-rate / 2).exp()  # 1 / sqrt(alpha), the same at every step
    states = [x]
    for j in range(steps, 0, -1):
        mean = torch.addcmul(states[-1], _factor(factor, rate, j), noises[j - 1], value=-1) * grown
        if noise is not None:
            spread = torch.expm1(rate) * torch.expm1((j - 1) * rate) / -torch.expm1(j * rate)
            mean = mean + spread.clamp(min=0).sqrt() * noise(tuple(x.shape)).to(x)
        states.append(mean)
    return torch.stack(states[::-1])


def amplification(scale: Tensor, steps: int, factor: str = "posterior") -> Tensor:
    """What an error of 1 in Z^j has become when the path arrives at x_0, for j = 1 ... T.

    Nothing looks at the state again, so every error is divided by sqrt(alpha) at each step that is left. What stands
    before Z^T grows by exp(gamma x0 / 2) in all, 22026 for a white pixel at gamma = 20.

    Parameters
    ----------
    scale : Tensor
        exp(-gamma x0).
    steps : int
        T.
    factor : {"printed", "posterior", "ddim"}

    Returns
    -------
    Tensor, shape (T, ...)

    Raises
    ------
    ParameterError
        If `steps` is not positive or the factor is unknown.

    Notes
    -----
    Source: PX-8.
    """
    integer("steps", steps, least=1)
    rate = scale.log() / steps
    return torch.stack([_factor(factor, rate, j) * (-j * rate / 2).exp() for j in range(1, steps + 1)])


def split_maps(maps: Tensor, steps: int, channels: int) -> Tensor:
    """The output of a parallel network as noises by step.

    Parameters
    ----------
    maps : Tensor, shape (B, T C, H, W)
        Those of step 1 first.
    steps : int
        T.
    channels : int
        C, of the images.

    Returns
    -------
    Tensor, shape (T, B, C, H, W)

    Raises
    ------
    ShapeError
        If the channels do not match C * T.

    Notes
    -----
    Source: PX-6, Eq. 14.
    """
    integer("steps", steps, least=1)
    if maps.ndim != 4 or maps.shape[1] != steps * channels:
        raise ShapeError(
            f"maps must have C * T = {channels} * {steps} channels, (B, {channels * steps}, H, W), not "
            f"{tuple(maps.shape)}."
        )
    return maps.unflatten(1, (steps, channels)).movedim(1, 0)


def scale_image(scale: Tensor, gamma: float) -> Tensor:
    """The image that a scale stands for, -log(x_delta) / gamma: the baseline that no reverse path may fall behind.

    Parameters
    ----------
    scale : Tensor
        In (0, 1).
    gamma : float
        Positive.

    Returns
    -------
    Tensor
        In [PIXEL_MIN, 1].

    Raises
    ------
    ParameterError
        If `gamma` <= 0.
    ShapeError
        If the scale is outside (0, 1).

    Notes
    -----
    Source: PX-5, Eq. 7 turned round.
    """
    number("gamma", gamma, above=0)
    _check_scale(scale)
    return (-scale.log() / gamma).clamp(PIXEL_MIN, 1)


def noises_of(x: Tensor, x0: Tensor, gamma: float, i: int, steps: int, reading: str = "marginal") -> Tensor:
    """All noises that an image stands for, given the state of step i: the means of Z^1 ... Z^i.

    Parameters
    ----------
    x : Tensor
        x_i.
    x0 : Tensor
        The image, or its estimate, pixels in (0, 1].
    gamma : float
        Between 0 and T.
    i, steps : int
        1 <= i <= T.
    reading : {"increment", "marginal", "last"}

    Returns
    -------
    Tensor, shape (i, ...)

    Raises
    ------
    ParameterError
        If a number is out of range, or the reading is unknown.
    ShapeError
        If a pixel is outside (0, 1].

    Notes
    -----
    Source: PX-6, Eq. 9 (the single head of its claim); PX-7.
    """
    check_rate(gamma, steps)
    integer("i", i, least=1, most=steps)
    _check_pixels(x0)
    rate = image_scale(x0, gamma).log() / steps
    last = (x - (i * rate / 2).exp() * x0) / (-torch.expm1(i * rate)).sqrt()
    return torch.stack([noise_share(rate, i, j, reading) * last for j in range(1, i + 1)])


def estimates(
    x: Tensor,
    scale: Tensor,
    noises: Tensor,
    gamma: float,
    *,
    steps: int | None = None,
    reading: str = "marginal",
    common: Tensor | None = None,
) -> Tensor:
    """The image by the scale alone, and by every noise alone.

    Z^j is an estimate of a known multiple of eps~_i (:func:`fewsteps.schedules.noise_share`), and so of the image,
    (x_i - sqrt(1 - ab_i) eps~_i) / sqrt(ab_i).

    Parameters
    ----------
    x : Tensor
        x_i.
    scale : Tensor
        The estimated scale, in (0, 1), of the shape of `x`.
    noises : Tensor, shape (i, ...)
        Z^1 to Z^i.
    gamma : float
        Positive.
    steps : int, optional
        T; default i.
    reading : {"increment", "marginal", "last"}
        What the noises are.
    common : Tensor, optional
        Brightness by which the states were put under noise, one for all pixels of an image: Eq. 9 is read with it
        instead of the scale. Default: every pixel has its own.

    Returns
    -------
    Tensor, shape (1 + i, ...)
        The scale's first; not clamped, so that their errors can be measured.

    Raises
    ------
    ShapeError
        If the noises have another shape than `x`, or the scale is outside (0, 1).
    ParameterError
        If the reading is unknown, `gamma` <= 0 or T is below i.

    Notes
    -----
    Source: PX-8.
    """
    _check_noises(noises, x)
    i = len(noises)
    steps = integer("steps", i if steps is None else steps, least=i)
    by_scale = scale_image(scale, gamma)
    rate = scale.log() / steps if common is None else image_scale(common, gamma).log() / steps
    end, spread = (i * rate / 2).exp(), (-torch.expm1(i * rate)).sqrt()
    found = [(x - spread * z / noise_share(rate, i, j, reading)) / end for j, z in enumerate(noises, 1)]
    return torch.stack([by_scale, *found])


def combined(images: Tensor, variances: Tensor) -> Tensor:
    """One image out of several estimates, each weighted by the inverse of its variance.

    Best for independent errors. Estimates that share one error count as often as there are of them, and together may
    outweigh a single better one: of one with an error of .02 beside 50 that share one of .06, the result errs by .05.

    Parameters
    ----------
    images : Tensor, shape (n, ...)
    variances : Tensor, shape (n, ...)
        Mean squared errors, positive, which broadcast over the images; infinite for one that is not to count.

    Returns
    -------
    Tensor, shape (...)
        In [PIXEL_MIN, 1].

    Raises
    ------
    ShapeError
        If there is not one variance for each estimate, one is not positive, or none is finite.

    Notes
    -----
    Source: PX-8 (a form that does not amplify).
    """
    if len(images) != len(variances):
        raise ShapeError(f"variances must have one entry for each of the {len(images)} images, not {len(variances)}.")
    if not bool((variances > 0).all()) or not bool(variances.isfinite().any(0).all()):
        raise ShapeError("variances must be positive, and one of them finite.")
    weights = 1 / variances.reshape(*variances.shape, *[1] * (images.ndim - variances.ndim))
    # An estimate that overflowed counts for nothing, and zero times infinity would be no number.
    known = torch.where(images.isfinite(), weights.expand_as(images), 0.0)
    return ((known * images.nan_to_num(0, 0, 0)).sum(0) / known.sum(0).clamp_min(1e-30)).clamp(PIXEL_MIN, 1)


def renoised(
    predict: Callable[[Tensor, float], Tensor],
    start: Tensor,
    times: Tensor,
    *,
    gamma: float,
    noise: Callable[[tuple[int, ...]], Tensor],
    eta: float = 1.0,
    calls: int = 1,
    common: bool = False,
) -> Iterator[Step]:
    """An image is predicted, put back under the noise of an earlier step by Eq. 9, and predicted again.

    The error of an answer is not multiplied on the way, as it is by Algorithm 1 with all noises fixed in advance. The
    schedule of a step is that of the image predicted last, so the new noise is as strong as that image says, and a
    network can read its own answer there, with its error: whether asking again helps has to be measured. With `common`
    the noise is that of the image's mean brightness at every pixel: it tells one number, and every pixel has the same
    signal-to-noise ratio but for its own square. A network that was trained on pixels with schedules of their own alone
    has not seen such states (``common`` of :class:`fewsteps.losses.SingleHead` shows it some).

    Parameters
    ----------
    predict : callable
        From (x_i, i / T) to an estimate of the image.
    start : Tensor
        x_i at the first of the times.
    times : Tensor, shape (n + 1,)
        i / T, decreasing from at most 1 to 0: n predictions.
    gamma : float
        Positive.
    noise : callable
        From a shape to white noise.
    eta : float
        From 0, where the noise that the prediction implies is kept (DDIM), to 1, where it is drawn anew.
    calls : int
        Network calls of a prediction.
    common : bool
        Whether all pixels of an image are put under noise by its :func:`fewsteps.schedules.brightness`. The state to
        start from has schedules of its own for every pixel all the same.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If the times do not decrease from at most 1 to 0, or a number is out of range.

    Notes
    -----
    Source: PX-8, Eq. 9 (the smallest change that generates).
    """
    number("eta", eta, least=0, most=1)
    integer("calls", calls, least=1)
    grid = [float(t) for t in times]
    if len(grid) < 2 or grid[0] > 1 or grid[-1] != 0 or any(s >= t for t, s in pairwise(grid)):
        raise ParameterError("times must decrease from at most 1 to 0.")
    x, made = start, None
    for i, (t, s) in enumerate(pairwise(grid), 1):
        x0 = predict(x, t).clamp(PIXEL_MIN, 1)
        schedule = PixelAware(brightness(x0) if common else x0, gamma)
        # The noise that x holds is read by the schedule that put it there, as far as that is known.
        made = made if common and made else PixelAware(x0, gamma)
        kept = (x - made.alpha(t) * x0) / made.sigma(t)
        fresh = noise(tuple(x.shape)).to(x) if s and eta else kept
        x = schedule.alpha(s) * x0 + schedule.sigma(s) * ((1 - eta**2) ** 0.5 * kept + eta * fresh)
        made = schedule
        yield Step(i, s, x, x0, calls * i)


def _check_noises(noises: Tensor, x: Tensor) -> None:
    if noises.shape[1:] != x.shape or not len(noises):
        raise ShapeError(f"noises must have the shape (T, {', '.join(map(str, x.shape))}), not {tuple(noises.shape)}.")


def _check_pixels(x0: Tensor) -> None:
    if not bool(((x0 > 0) & (x0 <= 1)).all()):
        raise ShapeError(f"x0 must have all pixels in (0, 1]: use x0.clamp({PIXEL_MIN}, 1).")


def _check_scale(scale: Tensor) -> None:
    if not bool(((scale > 0) & (scale < 1)).all()):
        raise ShapeError("scale must have all entries in (0, 1): it is exp(-gamma x0) of pixels above 0.")


def _factor(factor: str, rate: Tensor, j: int) -> Tensor:
    """What stands in front of Z^j, with log alpha as the rate."""
    if factor == "printed":
        return (-torch.expm1(rate)).sqrt()
    if factor == "posterior":
        return -torch.expm1(rate) / (-torch.expm1(j * rate)).sqrt()
    if factor == "ddim":
        return (-torch.expm1(j * rate)).sqrt() - (rate / 2).exp() * (-torch.expm1((j - 1) * rate)).clamp(min=0).sqrt()
    raise ParameterError(f"factor must be one of {', '.join(FACTORS)}, not {factor!r}.")

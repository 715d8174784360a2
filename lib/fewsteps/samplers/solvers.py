"""Solvers of the probability flow equation: no noise after the start, and an order of convergence above one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from fewsteps.denoisers import Denoiser
from fewsteps.denoisers.protocol import mix
from fewsteps.filters import IDENTITY, Filter
from fewsteps.samplers.walk import Noise, Start, Step, Walk


def heun(
    model: Denoiser, start: Start, times: Tensor, *, noise: Noise, filt: Filter = IDENTITY, cond: Any = None
) -> Iterator[Step]:
    """Heun's method on x / alpha against sigma / alpha, EDM's deterministic sampler: second order.

    Two network calls per step, one where a step ends at clean data: nfe = 2 steps - 1.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`fewsteps.samplers.ddim`; `noise` draws the start alone.
    filt : Filter
        Acts on the start alone: ``filt.at("prior")``.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `times` is not decreasing, or the filter asks for more than the start.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-HEUN.
    """
    walk = Walk("heun", model, start, times, noise, filt, cond)
    x = walk.start
    for step in walk:
        level_t, level_s = step.sigma_t / step.alpha_t, step.sigma_s / step.alpha_s
        x0_hat = walk.mean(x, step.t)
        slope = mix(1 / step.sigma_t, x, -1 / level_t, x0_hat)
        ahead = mix(1 / step.alpha_t, x, level_s - level_t, slope)
        if not step.to_data:
            x0_hat = walk.mean(step.alpha_s * ahead, step.s)
            slope = (slope + (ahead - x0_hat) / level_s) / 2
            ahead = mix(1 / step.alpha_t, x, level_s - level_t, slope)
        x = step.alpha_s * ahead
        yield walk.step(step.s, x, x0_hat)


def dpmpp_2m(
    model: Denoiser, start: Start, times: Tensor, *, noise: Noise, filt: Filter = IDENTITY, cond: Any = None
) -> Iterator[Step]:
    """DPM-Solver++(2M): one call per step, the step before serving as the second point.

    The first step, and a step to clean data, are of first order.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`fewsteps.samplers.ddim`; `noise` draws the start alone.
    filt : Filter
        Acts on the start alone: ``filt.at("prior")``.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `times` is not decreasing, or the filter asks for more than the start.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-DPMS.
    """
    walk = Walk("dpmpp_2m", model, start, times, noise, filt, cond)
    x, before, width_before = walk.start, None, 1.0
    for step in walk:
        x0_hat = walk.mean(x, step.t)
        direction, width = x0_hat, 1.0
        if not step.to_data:
            width = -_log(step.shrink)  # growth of log(alpha / sigma)
            if before is not None:
                lean = width / (2 * width_before)
                direction = mix(1 + lean, x0_hat, -lean, before)
        before, width_before = x0_hat, width
        x = mix(step.sigma_s / step.sigma_t, x, step.alpha_s * (1 - step.shrink), direction)
        yield walk.step(step.s, x, x0_hat)


def _log(value: Any) -> Any:
    return math.log(value) if isinstance(value, float) else value.log()

"""The sampler of denoising diffusion GANs: the ancestral walk, with x0 drawn where others take its mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from fewsteps.denoisers import Denoiser
from fewsteps.denoisers.protocol import mix
from fewsteps.filters import IDENTITY, Filter
from fewsteps.samplers.ancestral import posterior
from fewsteps.samplers.walk import Noise, Start, Step, Walk


def ddgan(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Draw x0 given x_t, then x_s from q(x_s given x_t, x0), down to clean data.

    Where the draws are exact, every x_s has the law of noisy data at s, however few and long the steps are: nothing is
    assumed Gaussian but the noise.

    Parameters
    ----------
    model : Denoiser
        Its ``draw`` is called; noise of the shape of x is drawn for it, or of the shape that its ``noise_shape`` names.
    start : Tensor or sequence of int
        The state at times[0], or the shape (B, C, H, W) of one to be drawn.
    times : Tensor, shape (steps + 1,)
        Decreasing; one network call per step.
    noise : callable
        From a shape to standard normal numbers. Every step asks for the model's, then for the posterior's, which the
        last step does not need.
    filt : Filter
        Acts on the start and on the posterior's noise ("predictor").
    cond : optional
        Handed to the model: the semantic vector z_T of a two-stage sampler.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `times` is not decreasing, or the filter asks for a drift or a corrector.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: PD-2, Eq. 7; BASE-DDGAN.
    """
    walk = Walk("ddgan", model, start, times, noise, filt, cond, injects=("predictor",))
    x = walk.start
    for step in walk:
        x0_hat = walk.sample(x, step.t)
        spread, keep = posterior(step, 1.0)
        x = mix(keep, x, step.alpha_s - keep * step.alpha_t, x0_hat)
        if not step.to_data:
            x = walk.stir(x, spread, "predictor")
        yield walk.step(step.s, x, x0_hat)

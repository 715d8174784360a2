"""Langevin moves: at one noise level after the other (NCSN), or between the steps of a predictor (NCSN++)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from fewsteps.denoisers import Denoiser
from fewsteps.denoisers.protocol import mix
from fewsteps.errors import ParameterError
from fewsteps.filters import IDENTITY, Filter
from fewsteps.parameters import integer, number
from fewsteps.samplers.ancestral import down, large, posterior, require_ve
from fewsteps.samplers.walk import Noise, Scale, Start, Step, Walk

StepSize = Callable[[Tensor, Tensor, int], Any]
Predictor = Literal["reverse diffusion", "ancestral", "ddpm"]


def langevin(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    eps: float = 2e-5,
    per_level: int = 100,
    denoise: bool = True,
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Annealed Langevin dynamics: x + (a / 2) score + sqrt(a) z with a = eps (sigma / sigma_end)^2, level by level.

    Common code writes a score + sqrt(2 a) z; this is the papers' convention, whose a is twice that one's. A move is
    unstable where a / sigma^2 = eps / sigma_end^2 >= 4, and it inflates noise by 1 / (1 - a / (4 sigma^2)) below;
    :func:`langevin_eps` gives the step of a run with fewer moves.

    Parameters
    ----------
    model : Denoiser
    start : Tensor or sequence of int
        The state at times[0]; NCSN starts from uniform numbers in [0, 1]. Or the shape of one to be drawn.
    times : Tensor
        The noise levels, decreasing, NCSN's geometric; a last time of 0 is where `denoise` leads.
    noise : callable
    eps : float
        Step at the last level that has noise, in squared units of the data.
    per_level : int
        Moves at each level: one network call each.
    denoise : bool
        End with x0_hat at the last level, one further call and iteration; only if `times` ends at 0.
    filt : Filter
        Acts on the start and on every move's noise ("corrector"), and with drift on the score.
    cond : optional

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If a number is out of range, the step is unstable, `times` is not decreasing, or the filter asks for a
        predictor.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-NCSN, BASE-NCSNv2; TDAS-3, Algorithm 1; PDS-2, Theorem 1.
    """
    number("eps", eps, above=0)
    integer("per_level", per_level, least=1)
    walk = Walk("langevin", model, start, times, noise, filt, cond, injects=("corrector",), drift=True)
    if not all(isinstance(step.sigma_t, float) for step in walk.intervals):
        raise ParameterError("langevin needs a schedule with one noise level for the whole image.")
    levels = [(step.t, step.alpha_t, step.sigma_t) for step in walk.intervals]
    final = walk.intervals[-1]
    if not final.to_data:
        levels.append((final.s, final.alpha_s, final.sigma_s))
    ratio = eps / levels[-1][2] ** 2
    if not ratio < 4:
        raise ParameterError(
            f"eps must be below 4 times the square of the last noise level, {4 * levels[-1][2] ** 2:g}, or every move "
            f"overshoots; not {eps:g}. langevin_eps gives a step for short runs."
        )
    x = walk.start
    for t, alpha, sigma in levels:
        for _ in range(per_level):
            x0_hat = walk.mean(x, t)
            gradient = _score(walk, x, x0_hat, alpha, sigma)
            a = ratio * sigma**2
            x = walk.stir(mix(1.0, x, a / 2, gradient), a**0.5, "corrector")
            yield walk.step(t, x, x0_hat)
    if denoise and final.to_data:
        x0_hat = walk.mean(x, levels[-1][0])
        yield walk.step(final.s, x0_hat, x0_hat)
    walk.settle()


def langevin_eps(eps: float, speed_up: float, sigma_end: float, *, most: float = 1.0) -> float:
    """The step of a Langevin run with `speed_up` times fewer moves: proportionally larger, up to a cap.

    Parameters
    ----------
    eps : float
        Step of the full run.
    speed_up : float
        At least 1.
    sigma_end : float
        The last noise level.
    most : float
        Cap on eps / sigma_end^2. At 1 noise is inflated by a third, at 4 a move diverges.

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: BASE-NCSN, the step rule for short runs.
    """
    number("eps", eps, above=0)
    number("speed_up", speed_up, least=1)
    number("sigma_end", sigma_end, above=0)
    number("most", most, above=0, below=4)
    return min(eps * speed_up, most * sigma_end**2)


def snr_step(corrector_snr: float = 0.16) -> StepSize:
    """NCSN++'s corrector step, 2 (snr |z| / |score|)^2, with norms averaged over the batch.

    So a sample depends on the others of its batch. `z` is the filtered noise and `score` what the filter's drift makes
    of it, and with a drift the move does not depend on the scale of M.

    Parameters
    ----------
    corrector_snr : float
        Above 0: .16 on CIFAR-10, .17 on CelebA, .075 on LSUN, .15 on FFHQ.

    Returns
    -------
    callable
        Of (score, z, number of the move, from 0).

    Raises
    ------
    ParameterError
        If `corrector_snr` is not above 0.

    Notes
    -----
    Source: BASE-VE-PC.
    """
    number("corrector_snr", corrector_snr, above=0)

    def step(gradient: Tensor, z: Tensor, move: int) -> Tensor:
        # In single precision at least: at the noise levels of large images the step exceeds what half precision holds.
        norms = [v.flatten(1).to(torch.promote_types(v.dtype, torch.float32)).norm(dim=1).mean() for v in (z, gradient)]
        return 2 * (corrector_snr * norms[0] / norms[1]) ** 2

    return step


def predictor_corrector(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    corrections: int = 1,
    step_size: StepSize | None = None,
    predictor: Predictor = "reverse diffusion",
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """NCSN++'s sampler: Langevin corrections at a noise level, then a predictor's step down from it.

    One iteration costs corrections + 1 network calls, so the usual sampler has nfe = 2 steps. The last update
    returns its noiseless mean.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`fewsteps.samplers.ddim`.
    corrections : int
        Langevin moves per level; 0 leaves the predictor alone.
    step_size : callable, optional
        Size of a move from (score, z, number of the move): x + size score + sqrt(2 size) z. Default
        ``snr_step(0.16)``.
    predictor : {"reverse diffusion", "ancestral", "ddpm"}
        The first two are for schedules with alpha = 1; "ddpm" (small variance) is for any.
    filt : Filter
        Acts on the start, on the predictor's noise ("predictor") and on the moves' ("corrector"), and with drift on
        the score beside each; "ddpm" has none in the predictor.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `corrections` < 0, `predictor` is unknown or not for this schedule, `times` is not decreasing, or the
        filter asks for what is not there.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-VE-PC; TDAS-3; PDS-3; PDS-11 with "ddpm".
    """
    integer("corrections", corrections, least=0)
    if predictor not in ("reverse diffusion", "ancestral", "ddpm"):
        raise ParameterError(f"predictor must be 'reverse diffusion', 'ancestral' or 'ddpm', not {predictor!r}.")
    if predictor == "ddpm" and filt.drift and filt.acts("predictor"):
        raise ParameterError('a ddpm predictor has no score term for a drift: use filt.at("prior", "corrector").')
    places = ("predictor", "corrector") if corrections else ("predictor",)
    walk = Walk("predictor_corrector", model, start, times, noise, filt, cond, injects=places, drift=True)
    size = snr_step() if step_size is None else step_size
    x, move = walk.start, 0
    for step in walk:
        if predictor != "ddpm":
            require_ve(f"the predictor {predictor!r}", step)
        for _ in range(corrections):
            gradient = _score(walk, x, walk.mean(x, step.t), step.alpha_t, step.sigma_t)
            z = walk.draw(x, "corrector")
            a = size(gradient, z, move)
            x = x + a * gradient + (2 * a) ** 0.5 * z
            move += 1
        x0_hat = walk.mean(x, step.t)
        spread, keep = posterior(step, 1.0)
        x = (
            mix(keep, x, step.alpha_s - keep * step.alpha_t, x0_hat)
            if predictor == "ddpm"
            else down(walk, step, x, x0_hat)
        )
        if not step.to_data:
            x = walk.stir(x, large(step) if predictor == "reverse diffusion" else spread, "predictor")
        yield walk.step(step.s, x, x0_hat)


def _score(walk: Walk, x: Tensor, x0_hat: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    """The score at x, through M M^T where the filter acts on a Langevin move's drift."""
    gradient = mix(alpha / sigma**2, x0_hat, -1 / sigma**2, x)
    return walk.filt.precondition(gradient) if walk.filt.acts("corrector") else gradient

"""Samplers that walk down the noise levels and put fresh noise back: DDPM, DDIM, Analytic-DPM, VE ancestral.

With rho the noise-to-signal ratio at s over that at t, all of them are one step,

    x_s = a x_t + (alpha_s - a alpha_t) x0_hat + c z,    a = sqrt(sigma_s^2 - c'^2) / sigma_t,

and differ in the noise: c' = eta sigma_s sqrt(1 - rho^2) is DDIM's and, at eta = 1, DDPM's small one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from fewsteps.denoisers import Denoiser
from fewsteps.denoisers.protocol import mix
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters import IDENTITY, Filter
from fewsteps.parameters import number
from fewsteps.samplers.walk import Interval, Noise, Scale, Start, Step, Walk

Variance = Literal["small", "large"]


def ddim(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    eta: float = 0.0,
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Denoising diffusion implicit models, of any noise between none (eta = 0) and DDPM's small variance (eta = 1).

    Parameters
    ----------
    model : Denoiser
    start : Tensor or sequence of int
        The state at times[0], or the shape (B, C, H, W) of one to be drawn.
    times : Tensor, shape (steps + 1,)
        Decreasing, usually to 0; one network call per step.
    noise : callable
        From a shape to standard normal numbers, for instance :func:`white_noise`.
    eta : float
        From 0 to 1.
    filt : Filter
        Acts on the start and, if eta > 0, on the injected noise ("predictor").
    cond : optional
        Handed to the model.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `eta` is out of range, `times` is not decreasing, or the filter asks for more than there is noise.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-DDIM; with eta = 1 BASE-DDPM.
    """
    number("eta", eta, least=0, most=1)
    walk = Walk("ddim", model, start, times, noise, filt, cond, injects=("predictor",) if eta else ())
    x = walk.start
    for step in walk:
        x0_hat = walk.mean(x, step.t)
        spread, keep = posterior(step, eta)
        x = mix(keep, x, step.alpha_s - keep * step.alpha_t, x0_hat)
        if eta and not step.to_data:
            x = walk.stir(x, spread, "predictor")
        yield walk.step(step.s, x, x0_hat)


def ddpm(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    variance: Variance = "small",
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Ancestral sampling of DDPM: the mean of q(x_s given x_t, x0_hat), with one of two variances.

    On the VE schedule "large" is the reverse diffusion predictor and "small" is ancestral sampling.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`ddim`.
    variance : {"small", "large"}
        sigma_s^2 (1 - rho^2), right if the data were one point; or sigma_t^2 (1 - rho^2), right if they were white
        with unit variance (DDPM's beta). No noise at the last step if it ends at clean data.
    filt : Filter
        Acts on the start and on the injected noise ("predictor").

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `variance` is unknown, `times` is not decreasing, or the filter asks for a drift or a corrector.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-DDPM.
    """
    if variance not in ("small", "large"):
        raise ParameterError(f"variance must be 'small' or 'large', not {variance!r}.")
    walk = Walk("ddpm", model, start, times, noise, filt, cond, injects=("predictor",))
    x = walk.start
    for step in walk:
        x0_hat = walk.mean(x, step.t)
        spread, keep = posterior(step, 1.0)
        x = mix(keep, x, step.alpha_s - keep * step.alpha_t, x0_hat)
        if not step.to_data:
            x = walk.stir(x, spread if variance == "small" else large(step), "predictor")
        yield walk.step(step.s, x, x0_hat)


def ve_ancestral(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Ancestral sampling of the variance exploding process: exact where there is no signal.

    On a geometric grid it is reverse diffusion with a scalar filter lam = sigma_s / sigma_t on the injected noise.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`ddim`; the model's schedule has alpha = 1.
    filt : Filter
        Acts on the start and on the injected noise ("predictor"), and with drift on the score.

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If alpha is not 1, `times` is not decreasing, or the filter asks for a corrector.
    ShapeError
        If a shape is wrong or the model returns NaN.

    Notes
    -----
    Source: BASE-VE-ANC.
    """
    walk = Walk("ve_ancestral", model, start, times, noise, filt, cond, injects=("predictor",), drift=True)
    x = walk.start
    for step in walk:
        require_ve("ve_ancestral", step)
        x0_hat = walk.mean(x, step.t)
        x = down(walk, step, x, x0_hat)
        if not step.to_data:
            x = walk.stir(x, posterior(step, 1.0)[0], "predictor")
        yield walk.step(step.s, x, x0_hat)


def analytic(
    model: Denoiser,
    start: Start,
    times: Tensor,
    *,
    noise: Noise,
    eps_power: Tensor | Callable[[float], float],
    eta: float = 1.0,
    clamp: bool = True,
    last_spread: float | None = None,
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Analytic-DPM: DDIM's step with the variance that is best for data of unknown spread.

    The injected variance is c'^2 + (alpha_s - a alpha_t)^2 V, where V = (sigma_t / alpha_t)^2 (1 - Gamma_t) is the
    mean variance of x0 given x_t and Gamma_t the mean square of the model's noise prediction.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`ddim`.
    eps_power : Tensor, shape (steps,), or callable
        Gamma at times[0], ..., times[-2], or a function of the time; see :func:`mean_square_eps`.
    eta : float
        1 is Analytic-DDPM, 0 Analytic-DDIM.
    clamp : bool
        Keep V within [0, 1], which holds for data in [-1, 1].
    last_spread : float, optional
        Most that the last injection may spread, in units of the data; 2/255 sqrt(pi/2) on CelebA.
    filt : Filter
        Acts on the start and on the injected noise ("predictor").

    Yields
    ------
    Step

    Raises
    ------
    ParameterError
        If `eta` is out of range, `times` is not decreasing, or the filter asks for a drift or a corrector.
    ShapeError
        If a shape is wrong (that of `eps_power` too) or the model returns NaN.

    Notes
    -----
    Source: BASE-ADDIM, TDAS-10.
    """
    number("eta", eta, least=0, most=1)
    if last_spread is not None:
        number("last_spread", last_spread, least=0)
    walk = Walk("analytic", model, start, times, noise, filt, cond, injects=("predictor",))
    if isinstance(eps_power, Tensor) and tuple(eps_power.shape) != (len(times) - 1,):
        raise ShapeError(f"eps_power must have one entry per step, ({len(times) - 1},), not {tuple(eps_power.shape)}.")
    powers = eps_power.tolist() if isinstance(eps_power, Tensor) else [float(eps_power(t)) for t in walk.levels[:-1]]
    if not all(isinstance(step.alpha_t, float) for step in walk.intervals):
        raise ParameterError("analytic needs a schedule with one noise level for the whole image.")
    injections = [k for k, step in enumerate(walk.intervals) if not step.to_data]
    x = walk.start
    for k, step in enumerate(walk):
        x0_hat = walk.mean(x, step.t)
        spread, keep = posterior(step, eta)
        weight = step.alpha_s - keep * step.alpha_t
        unknown = (step.sigma_t / step.alpha_t) ** 2 * (1 - powers[k])
        unknown = min(max(unknown, 0.0), 1.0) if clamp else unknown
        injected = math.sqrt(max(spread**2 + weight**2 * unknown, 0.0))
        if last_spread is not None and [k] == injections[-1:]:
            injected = min(injected, last_spread)
        x = mix(keep, x, weight, x0_hat)
        if not step.to_data:
            x = walk.stir(x, injected, "predictor")
        yield walk.step(step.s, x, x0_hat)


def mean_square_eps(model: Denoiser, x0: Tensor, times: Tensor, *, noise: Noise, batch: int = 256) -> Tensor:
    """Gamma: mean square of the model's noise prediction per entry, at every time but the last.

    Parameters
    ----------
    model : Denoiser
    x0 : Tensor, shape (N, ...)
        Clean data that the statistics are taken over; not those that results are judged on.
    times : Tensor, shape (steps + 1,)
        The grid that will be sampled on.
    noise : callable
    batch : int
        Samples per network call.

    Returns
    -------
    float64 Tensor, shape (steps,)

    Raises
    ------
    ShapeError
        If the model returns NaN.

    Notes
    -----
    Source: BASE-ADDIM.
    """
    walk = Walk("mean_square_eps", model, x0, times, noise)
    powers = []
    for step in walk:
        total = torch.zeros((), dtype=torch.float64, device=x0.device)
        for part in x0.split(batch):
            x = mix(step.alpha_t, part, step.sigma_t, noise(tuple(part.shape)))
            eps = (x - step.alpha_t * walk.mean(x, step.t)) / step.sigma_t
            total = total + eps.double().square().sum()
        powers.append(total / x0.numel())
    return torch.stack(powers).cpu()


def down(walk: Walk, step: Interval, x: Tensor, x0_hat: Tensor) -> Tensor:
    """The mean of a VE step, x + (sigma_t^2 - sigma_s^2) score, with the filter's M M^T on the score if it has one."""
    part = 1 - step.shrink**2
    if walk.filt.drift and walk.filt.acts("predictor"):
        return x + part * walk.filt.precondition(x0_hat - x)
    return mix(1 - part, x, part, x0_hat)


def require_ve(name: str, step: Interval) -> None:
    """Refuse schedules whose signal shrinks."""
    if not (isinstance(step.alpha_t, float) and step.alpha_t == 1.0 == step.alpha_s):
        raise ParameterError(f"{name} needs a schedule with alpha = 1, such as VE; for others use ddpm or ddim.")


def posterior(step: Interval, eta: float) -> tuple[Scale, Scale]:
    """Noise c' of the step, and how much of x_t it keeps."""
    part = eta**2 * (1 - step.shrink**2)
    return step.sigma_s * part**0.5, step.sigma_s * (1 - part) ** 0.5 / step.sigma_t


def large(step: Interval) -> Scale:
    """The larger noise, right for white data of unit variance: on VE it is reverse diffusion's."""
    return step.sigma_t * (1 - step.shrink**2) ** 0.5

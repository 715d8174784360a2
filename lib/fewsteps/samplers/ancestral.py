"""Samplers that walk down the noise levels and put fresh noise back: DDPM, DDIM, Analytic-DPM, VE ancestral.

With rho the noise-to-signal ratio at s over that at t, all of them are one step,

    x_s = a x_t + (alpha_s - a alpha_t) x0_hat + c z,    a = sqrt(sigma_s^2 - c'^2) / sigma_t,

and differ in the noise: c' = eta sigma_s sqrt(1 - rho^2) is DDIM's and, at eta = 1, DDPM's small one.
"""

from __future__ import annotations

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
from fewsteps.transforms import Basis, from_basis, to_basis

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
    eps_power: Tensor | Callable[[float], Any],
    power_basis: Basis | None = None,
    eta: float = 1.0,
    clamp: bool = True,
    last_spread: float | None = None,
    filt: Filter = IDENTITY,
    cond: Any = None,
) -> Iterator[Step]:
    """Analytic-DPM: DDIM's step with the variance that is best for data of unknown spread.

    The injected variance is c'^2 + (alpha_s - a alpha_t)^2 V, where V = (sigma_t / alpha_t)^2 (1 - Gamma_t) is the
    mean variance of x0 given x_t and Gamma_t the mean square of the model's noise prediction.

    With one Gamma per frequency (beyond the papers) every frequency gets the variance that is best for it. For
    Gaussian data and eta = 1 a step is then a draw from the exact conditional law, however few there are.

    Parameters
    ----------
    model, start, times, noise, cond
        As for :func:`ddim`.
    eps_power : Tensor, shape (steps,) or (steps, ..., H, W), or callable
        Gamma at times[0], ..., times[-2], a number or a mask for each, or a function of the time that returns one;
        see :func:`mean_square_eps`.
    power_basis : {"dct", "dft"}, optional
        What masks refer to; None: the entries of the image themselves.
    eta : float
        1 is Analytic-DDPM, 0 Analytic-DDIM.
    clamp : bool
        Keep V at or above 0 and, where it is one number, at most 1, which holds for data in [-1, 1].
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
    if isinstance(eps_power, Tensor) and (not eps_power.ndim or len(eps_power) != len(times) - 1):
        raise ShapeError(f"eps_power must have one entry per step, ({len(times) - 1},), not {tuple(eps_power.shape)}.")
    powers = eps_power if isinstance(eps_power, Tensor) else [eps_power(t) for t in walk.levels[:-1]]
    if not all(isinstance(step.alpha_t, float) for step in walk.intervals):
        raise ParameterError("analytic needs a schedule with one noise level for the whole image.")
    injected = [
        _injected(step, torch.as_tensor(power, dtype=torch.float64, device="cpu"), eta, clamp)
        for step, power in zip(walk.intervals, powers, strict=True)
    ]
    injections = [k for k, step in enumerate(walk.intervals) if not step.to_data]
    if last_spread is not None and injections:
        injected[injections[-1]] = injected[injections[-1]].clamp_max(last_spread)
    x = walk.start
    spreads = [spread.to(x) if spread.ndim else float(spread) for spread in injected]
    for k, step in enumerate(walk):
        x0_hat = walk.mean(x, step.t)
        keep = posterior(step, eta)[1]
        x = mix(keep, x, step.alpha_s - keep * step.alpha_t, x0_hat)
        if not step.to_data:
            if isinstance(spreads[k], float):
                x = walk.stir(x, spreads[k], "predictor")
            else:
                z = to_basis(walk.draw(x, "predictor"), power_basis)
                x = x + from_basis(spreads[k] * z, power_basis)
        yield walk.step(step.s, x, x0_hat)


def _injected(step: Interval, power: Tensor, eta: float, clamp: bool) -> Tensor:
    """Standard deviation that Analytic-DPM injects, for one Gamma or one per coefficient."""
    spread, keep = posterior(step, eta)
    unknown = (step.sigma_t / step.alpha_t) ** 2 * (1 - power)
    if clamp:
        unknown = unknown.clamp(0.0, None if power.ndim else 1.0)
    return (spread**2 + (step.alpha_s - keep * step.alpha_t) ** 2 * unknown).clamp_min(0).sqrt()


def mean_square_eps(
    model: Denoiser, x0: Tensor, times: Tensor, *, noise: Noise, basis: Basis | None = None, batch: int = 256
) -> Tensor:
    """Gamma: mean square of the model's noise prediction, at every time but the last.

    Parameters
    ----------
    model : Denoiser
    x0 : Tensor, shape (N, ...)
        Clean data that the statistics are taken over; not those that results are judged on.
    times : Tensor, shape (steps + 1,)
        The grid that will be sampled on.
    noise : callable
    basis : {"dct", "dft"}, optional
        Of every coefficient by itself. Default: one number, the mean over all entries.
    batch : int
        Samples per network call.

    Returns
    -------
    float64 Tensor, shape (steps,), or with a basis (steps, ...), the shape of a sample

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
        total = torch.zeros(x0.shape[1:], dtype=torch.float64, device=x0.device)
        for part in x0.split(batch):
            x = mix(step.alpha_t, part, step.sigma_t, noise(tuple(part.shape)))
            eps = to_basis((x - step.alpha_t * walk.mean(x, step.t)) / step.sigma_t, basis)
            total = total + eps.double().square().sum(0)
        powers.append(total / len(x0) if basis else total.mean() / len(x0))
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

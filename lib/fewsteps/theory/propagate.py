"""What a sampler makes of Gaussian data, exactly: the impulse response of its own, unmodified code.

With an exact Gaussian denoiser a sampler is an affine map of its draws. Where denoiser and filter are diagonal in one
basis, so is that map, and the gradient of the summed output coefficients with respect to a draw IS that draw's
response, coefficient by coefficient. One run forward on draws of zero gives the mean, one run backward all responses;
the sum of their squares is the output's variance. No sampling error, and nothing about a sampler is written twice.

Where pixels are masked, frequencies mix. Then the same two runs, on as many copies as there are pixels and each copy
asked for another one, give the whole Jacobian.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers import Denoiser, Gaussian
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters import IDENTITY, Filter
from fewsteps.samplers import Step, predictor_corrector
from fewsteps.theory.law import Law
from fewsteps.transforms import Basis, from_basis, to_basis

DENSE_MAX = 16
"""Largest height and width for which a dense Jacobian is computed."""

Sampler = Callable[..., Iterator[Step]]


def propagate(
    sampler: Sampler,
    model: Denoiser,
    times: Tensor,
    *,
    filt: Filter = IDENTITY,
    shape: tuple[int, ...] | None = None,
    basis: Basis | None = None,
    weights: Tensor | None = None,
    **named: Any,
) -> Law:
    """The law of a sampler's output on Gaussian data.

    Parameters
    ----------
    sampler : callable
        One of :mod:`fewsteps.samplers`, as it is; all but the sum over its draws is its own code.
    model : Denoiser
        :class:`Gaussian`, or any other whose mean is affine in x and diagonal in `basis`; others are refused.
    times : Tensor, shape (steps + 1,)
    filt : Filter
        Over pixels, or in another basis than the data's: up to 16 x 16 pixels.
    shape, basis
        Of the data, (H, W) or (C, H, W), for models other than :class:`Gaussian`.
    weights : Tensor, optional
        How many coefficients each entry stands for (:func:`fewsteps.theory.rings`); mean-field steps count them.
    **named
        The sampler's own parameters. predictor_corrector without `step_size` takes `corrector_snr`, and its steps
        then come from :func:`mean_field_steps`.

    Returns
    -------
    Law
        In the model's basis, or between pixels; ``note`` says where it is not exact.

    Raises
    ------
    ParameterError
        If the model is not affine and diagonal, or the filter mixes frequencies of an image above 16 x 16.

    Notes
    -----
    Source: TDAS-7 to TDAS-9, TDAS-12, PDS-3, on Gaussian data.
    """
    if isinstance(model, Gaussian):
        shape, basis = torch.broadcast_shapes(model.variance.shape, model.data_mean.shape), model.basis
    elif shape is None:
        raise ParameterError("shape must be given for a model that is not denoisers.Gaussian.")
    mixes = _mixes(filt, basis)
    if isinstance(sampler, functools.partial) and not sampler.args:  # what was fixed beforehand counts as named
        sampler, named = sampler.func, {**sampler.keywords, **named}
    if mixes and (len(shape) < 2 or max(shape[-2:]) > DENSE_MAX):
        raise ParameterError(
            f"filt mixes frequencies (a mask over pixels, or another basis than the data's {basis!r}), which is exact "
            f"up to {DENSE_MAX} x {DENSE_MAX} pixels only, not {' x '.join(map(str, shape[-2:]))}."
        )
    note = ""
    if sampler is predictor_corrector and named.get("corrections", 1) and named.get("step_size") is None:
        if mixes or not isinstance(model, Gaussian):
            raise ParameterError(
                "step_size must be given to predictor_corrector here: mean-field steps need one basis."
            )
        sizes = mean_field_steps(model, times, filt=filt, weights=weights, **_taken(named))
        named["step_size"] = lambda gradient, z, move: sizes[move]
        note = "mean-field: the corrector's norms are replaced by their root mean squares"
        named.pop("corrector_snr", None)
    elif "corrector_snr" in named:
        raise ParameterError("corrector_snr is for predictor_corrector with corrections and without a step_size.")
    exact = copy.copy(filt)
    exact.noise = exact.apply  # M z itself, not a draw of the same law: its response is wanted
    n = math.prod(shape)
    copies = n if mixes else 1

    def run(values: Callable[[tuple[int, ...]], Tensor]) -> tuple[Tensor, list[Tensor], int]:
        leaves: list[Tensor] = []

        def noise(wanted: tuple[int, ...]) -> Tensor:
            leaves.append(values(wanted).requires_grad_())
            return from_basis(leaves[-1], basis) if basis and not mixes else leaves[-1]

        *_, end = sampler(model, (copies, *shape), times, noise=noise, filt=exact, **named)
        return (to_basis(end.x, basis) if basis and not mixes else end.x), leaves, end.nfe

    with torch.enable_grad():  # also inside no_grad, where samplers are run
        try:
            out, leaves, nfe = run(lambda wanted: torch.zeros(wanted, dtype=torch.float64))
        except ShapeError as error:
            if named.get("step_size") is None or note:
                raise
            raise ParameterError("step_size must not depend on the state: on draws of zero it is 0 / 0.") from error
        summed = out.flatten(1).diagonal().sum() if mixes else out.sum()
        responses = list(torch.autograd.grad(summed, leaves))
    mean = out[0].detach()
    if not all(bool(torch.isfinite(response).all()) for response in responses):
        raise ParameterError(
            "the sampler's output has no finite response to its draws: a step_size must not depend on the state."
        )
    if mixes:
        covariance = torch.zeros(n, n, dtype=torch.float64)
        for response in responses:
            rows = response.flatten(1)
            covariance += rows @ rows.mT
        return Law(mean, covariance.diagonal().reshape(shape), None, covariance, nfe, note)
    variance = sum((response[0].square() for response in responses), torch.zeros(shape, dtype=torch.float64))
    if not isinstance(model, Gaussian):
        _require_affine(run, mean, responses)
    return Law(mean, variance, basis, None, nfe, note)


def mean_field_steps(
    model: Gaussian,
    times: Tensor,
    *,
    corrector_snr: float = 0.16,
    corrections: int = 1,
    predictor: str = "reverse diffusion",
    filt: Filter = IDENTITY,
    weights: Tensor | None = None,
) -> list[float]:
    """NCSN++'s corrector steps, 2 (snr |z| / |score|)^2, with both norms replaced by their root mean squares.

    Each step depends on the variance that the steps before have left, so the sampler's recursion over variances is
    written out here; the law that :func:`propagate` then finds must agree with it.

    Parameters
    ----------
    model : Gaussian
    times : Tensor
    corrector_snr, corrections, predictor, filt
        As for :func:`fewsteps.samplers.predictor_corrector`.
    weights : Tensor, optional
        How many coefficients each entry of the model stands for.

    Returns
    -------
    list of float
        One per move, in order.

    Raises
    ------
    ParameterError
        If the filter mixes frequencies.

    Notes
    -----
    Source: BASE-VE-PC.
    """
    if _mixes(filt, model.basis):
        raise ParameterError("filt must be diagonal in the model's basis for mean-field steps.")
    ones = torch.ones(torch.broadcast_shapes(model.variance.shape, model.data_mean.shape), dtype=torch.float64)
    gain = to_basis(filt.apply(from_basis(ones, model.basis)), model.basis)  # M is diagonal: what it does to ones
    gains = {place: gain if filt.acts(place) else ones for place in ("prior", "predictor", "corrector")}
    pull = {place: gain**2 if filt.drift and filt.acts(place) else ones for place in ("predictor", "corrector")}
    w = ones if weights is None else weights.expand(ones.shape)
    levels = [(float(model.schedule.alpha(t)), float(model.schedule.sigma(t))) for t in times.double()]
    v0, centre = model.variance, to_basis(model.data_mean.expand(ones.shape), model.basis)
    variance, mean = (levels[0][1] * gains["prior"]) ** 2, 0 * ones
    sizes = []
    for (alpha_t, sigma_t), (alpha_s, sigma_s) in itertools.pairwise(levels):
        slope = -1 / (alpha_t**2 * v0 + sigma_t**2)  # of the score
        for _ in range(corrections):
            gradient = (pull["corrector"] * slope) ** 2 * (variance + (mean - alpha_t * centre) ** 2)
            z = gains["corrector"] ** 2
            size = float(2 * corrector_snr**2 * (w * z).sum() / (w * gradient).sum())
            keep = 1 + size * pull["corrector"] * slope
            variance = keep**2 * variance + 2 * size * z
            mean = alpha_t * centre + keep * (mean - alpha_t * centre)
            sizes.append(size)
        shrink = alpha_t * sigma_s / (alpha_s * sigma_t)
        part = 1 - shrink**2
        # x_s = stay x + push (score, through M M^T if the drift is filtered) + noise
        stay, push = alpha_s / alpha_t, part * alpha_s / alpha_t * sigma_t**2
        keep = stay + push * pull["predictor"] * slope
        spread = sigma_t if predictor == "reverse diffusion" else sigma_s
        added = (spread**2 * part * gains["predictor"] ** 2) if sigma_s > 0 else 0.0
        mean = stay * alpha_t * centre + keep * (mean - alpha_t * centre)
        variance = keep**2 * variance + added
    return sizes


def _taken(named: dict[str, Any]) -> dict[str, Any]:
    return {key: named[key] for key in ("corrector_snr", "corrections", "predictor") if key in named}


def _mixes(filt: Filter, basis: Basis | None) -> bool:
    """Whether M couples coefficients of that basis."""
    if basis is None:
        return filt.frequency is not None or filt.solenoid is not None
    return not filt.is_diagonal or (filt.frequency is not None and filt.basis != basis)


def _require_affine(run: Callable, mean: Tensor, responses: list[Tensor]) -> None:
    """Draws that are not zero must give what the responses say, or the sampler is no diagonal affine map of them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        out, leaves, _ = run(lambda wanted: torch.randn(wanted, generator=generator, dtype=torch.float64))
    said = mean + sum(response[0] * leaf[0].detach() for response, leaf in zip(responses, leaves, strict=True))
    if float((out[0] - said).abs().max()) > 1e-6 * (1 + float(out.abs().max())):
        raise ParameterError(
            "model must be affine in x and diagonal in the basis: on random draws the sampler does not follow its "
            "responses (is it clipped, or a mixture?)."
        )

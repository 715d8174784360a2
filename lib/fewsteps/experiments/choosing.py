"""Filters that are chosen: by TDAS' rule, from the ratio of powers, or as the best of a small grid.

Whatever is chosen is chosen on a seed of its own, `CHOICE_SEED`, and judged on others; every family is given a
grid of the same size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from fewsteps import checkpoints, filters, metrics, spectra
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import filtering, pixels, references
from fewsteps.experiments.sampling import MOST_SEED, Plan, sample
from fewsteps.transforms import Basis

CHOICE_SEED = MOST_SEED - 1  # nobody judges on it by accident
STATISTICS = 200  # images that TDAS takes its statistics over
GAMMA = 1000  # images that a gain for every ring is taken from
TRIED = 256  # images per point of a grid

_LAM = (0.7, 0.8, 0.9, 0.95)
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "scalar": [
        {"kind": "scalar", "lam": lam} for lam in (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.03)
    ],
    "tdas": [{"kind": "tdas", "lam": lam, "r": r} for lam, r in product(_LAM, (0.1, 0.25, 0.4))],
    "pds": [{"kind": "pds", "lam": lam, "r": 0.2} for lam in (0.8, 0.9, 1.1, 1.3, 1.6, 2.0)]
    + [{"kind": "pds", "lam": lam, "r": 0.1} for lam in (0.8, 0.9, 1.1, 1.3, 1.6, 2.0)],
    "pds_data": [
        {"kind": "pds_data", "alpha": alpha, "direction": direction}
        for alpha, direction in product((1.5, 2.0, 3.0, 5.0, 10.0, 20.0), ("M", "M_inv"))
    ],
    # Samplers of VP processes lose power, so gains above 1 are among these.
    "scalar_vp": [
        {"kind": "scalar", "lam": lam} for lam in (0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.01, 1.02, 1.03, 1.05, 1.07, 1.1)
    ],
    "tdas_vp": [{"kind": "tdas", "lam": lam, "r": r} for lam, r in product((0.9, 0.95, 1.05, 1.1), (0.1, 0.25, 0.4))],
    # "step": that of Langevin moves over the square of the last noise level; NCSN's own is 0.2.
    "langevin_step": [{"step": step} for step in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)],
    "langevin_pds": [
        {"kind": "pds", "r": 0.2, "lam": lam, "direction": direction, "drift": True, "step": step}
        for lam, direction, step in product((1.3, 1.6), ("M", "M_inv"), (0.2, 0.5, 1.0))
    ],
    "langevin_tdas": [
        {"kind": "tdas", "lam": lam, "r": r, "step": step}
        for lam, r, step in product((0.8, 0.9), (0.1, 0.25), (0.2, 0.5, 1.0))
    ],
}
"""Twelve points each. A zone's gain of 1 is no filter, so it is in no grid."""


def choose(
    rule: Mapping[str, Any], plan: Plan, folder: Path = checkpoints.FOLDER, device: str = "cpu"
) -> dict[str, Any]:
    """Carry out a rule for a plan.

    Parameters
    ----------
    rule : mapping
        ``rule``: "tdas_auto" (``basis``, ``quantiles``, ``amplitude``), "gamma" (``basis``) or "best" (``among``, a
        key of `FAMILIES`); what stands beside these, such as ``where`` and ``drift``, goes into every filter.
    plan : Plan
        Its filter, count and seed are not looked at.
    folder : Path
        Of the checkpoint.
    device : str
        Where images are made.

    Returns
    -------
    dict
        ``filt``, for :func:`fewsteps.experiments.filtering.build`, and ``why``: what it was chosen by; where a step
        of Langevin moves is chosen too, ``named`` for the plan.

    Raises
    ------
    ParameterError
        If the rule is unknown, or TDAS' rule gives nothing here.
    """
    given = dict(rule)
    named = given.pop("rule", None)
    plain = replace(plan, filt=None, seed=CHOICE_SEED)
    source = checkpoints.card(plan.checkpoint, folder)["data"]
    if named == "tdas_auto":
        basis: Basis = given.pop("basis", "dct")
        how = {key: given.pop(key) for key in ("quantiles", "amplitude") if key in given}
        ratio = _ratio(replace(plain, count=STATISTICS), source, basis, folder, device)
        zones = filters.tdas_zones(ratio, basis, **how)
        filt = {"kind": "tdas", "lam": list(zones.lam), "r": list(zones.r), "basis": basis, **given}
        return {"filt": filt, "why": {"images": STATISTICS, "mean_gamma": float(ratio.mean())}}
    if named == "gamma":
        basis = given.pop("basis", "dct")
        ratio = filtering.on_rings(_ratio(replace(plain, count=GAMMA), source, basis, folder, device), basis)
        gains = [float(f"{float(gain):.5g}") for gain in ratio.rsqrt()]
        return {"filt": {"kind": "rings", "gains": gains, "basis": basis, **given}, "why": {"images": GAMMA}}
    if named == "best":
        family = given.pop("among", None)
        if family not in FAMILIES:
            raise ParameterError(f"among must be one of {', '.join(FAMILIES)}, not {family!r}.")
        points = [{**point, **given} for point in FAMILIES[family]]
        base = replace(plain, count=TRIED)
        tried = [(quick(_at(base, point, folder), source, folder, device), point) for point in points]
        if not any(math.isfinite(value) for value, _ in tried):
            raise ParameterError(f"{plan.sampler} diverges at every point of {family} with {plan.nfe} network calls.")
        best = _at(base, min(tried, key=lambda pair: pair[0])[1], folder)
        chosen = {} if best.named == plain.named else {"named": dict(best.named)}
        return {
            "filt": best.filt,
            **chosen,
            "why": {"images": TRIED, "tried": [[v if math.isfinite(v) else None, point] for v, point in tried]},
        }
    raise ParameterError(f"rule must be one of tdas_auto, gamma and best, not {named!r}.")


def _at(plan: Plan, point: Mapping[str, Any], folder: Path) -> Plan:
    """A plan with the filter, and the step of Langevin moves, of one point of a grid."""
    filt = dict(point)
    step = filt.pop("step", None)
    named = dict(plan.named)
    if step is not None:
        named["eps"] = step * checkpoints.card(plan.checkpoint, folder)["predicts"]["sigmas"][-1] ** 2
    return replace(plan, filt=filt or None, named=named)


def quick(plan: Plan, source: Mapping[str, Any], folder: Path, device: str = "cpu") -> float:
    """Fréchet distance to the training images in the first feature network, by which points of a grid are compared.

    A point at which the sampler diverges is infinitely far.
    """
    name = references.networks_for(source["name"], source["size"])[0]
    extractor = references.feature_network(name)
    against = references.read(source["name"], source["size"], name).train
    try:
        images = sample(plan, folder, device=device).images
    except ShapeError:
        return math.inf
    return metrics.frechet(metrics.Moments.of(metrics.features(extractor, images)), against)


def _ratio(plan: Plan, source: Mapping[str, Any], basis: Basis, folder: Path, device: str) -> Tensor:
    """gamma: power of what the plan makes over power of the training images, (H, W)."""
    made = spectra.power_spectrum(sample(plan, folder, device=device).images.double(), basis)
    return spectra.ratio(made, pixels.read(source["name"], source["size"]).power(basis))

"""Filters that are chosen: by TDAS' rule, from the ratio of powers, or as the best of a family.

Whatever is chosen is chosen on a seed of its own, `CHOICE_SEED`, and judged on others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fewsteps import checkpoints, filters, metrics, spectra
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import filtering, pixels, references
from fewsteps.experiments.families import FAMILIES, best, ends, search
from fewsteps.experiments.sampling import MOST_SEED, Plan, sample
from fewsteps.transforms import Basis

CHOICE_SEED = MOST_SEED - 1  # nobody judges on it by accident
STATISTICS = 200  # images that TDAS takes its statistics over
GAMMA = 1000  # images that a gain for every ring is taken from
TRIED = 256  # images per point of a search


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

    Notes
    -----
    Source: TDAS-8; beyond the papers.
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
        base = replace(plain, count=TRIED)

        def tried(point: dict[str, Any]) -> float:
            return quick(_at(base, {**point, **given}, folder), source, folder, device)

        found = search(FAMILIES[family], tried)
        if not any(math.isfinite(value) for value, _ in found):
            raise ParameterError(f"{plan.sampler} diverges at every point of {family} with {plan.nfe} network calls.")
        at = _at(base, {**best(found), **given}, folder)
        chosen = {} if at.named == plain.named else {"named": dict(at.named)}
        return {
            "filt": at.filt,
            **chosen,
            "why": {
                "images": TRIED,
                "tried": [[value if math.isfinite(value) else None, {**point, **given}] for value, point in found],
                "ends": ends([point for _, point in found], best(found)),
            },
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
    """:func:`distance` of what a plan makes, by which points of a search are compared.

    A point at which the sampler diverges is infinitely far.
    """
    try:
        return distance(sample(plan, folder, device=device).images, source)
    except ShapeError:
        return math.inf


def distance(images: Tensor, source: Mapping[str, Any]) -> float:
    """Fréchet distance to the training images of a data set, in its first feature network.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
    source : mapping
        ``name`` and ``size`` of the data set, as a card has them under ``data``.
    """
    name = references.networks_for(source["name"], source["size"])[0]
    extractor = references.feature_network(name)
    against = references.read(source["name"], source["size"], name).train
    return metrics.frechet(metrics.Moments.of(metrics.features(extractor, images)), against)


def _ratio(plan: Plan, source: Mapping[str, Any], basis: Basis, folder: Path, device: str) -> Tensor:
    """gamma: power of what the plan makes over power of the training images, (H, W)."""
    made = spectra.power_spectrum(sample(plan, folder, device=device).images.double(), basis)
    return spectra.ratio(made, pixels.read(source["name"], source["size"]).power(basis))

"""Chapter 07: the best that filtered noise can do, on Gaussian data exactly and on trained networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, samplers, trained
from fewsteps.denoisers import Gaussian
from fewsteps.experiments import choosing, filtering, gates, onestep, prediction
from fewsteps.experiments.few_step import automatic
from fewsteps.experiments.sampling import Plan, matching, sample
from fewsteps.experiments.tdas import Behaviour, behaviour
from fewsteps.filters import IDENTITY, Filter
from fewsteps.schedules import VE, geometric
from fewsteps.shapes import Float
from fewsteps.theory import RingData, propagate, steps_for

GAINS = [0.5 + 0.01 * k for k in range(60)]
JUDGED_TWICE = {
    "VE ancestral": ("ancestral", "as it is"),
    "VE ancestral, predictions corrected": ("ancestral", "by frequency"),
    "DDIM": ("ddim", "as it is"),
    "DPM-Solver++(2M)": ("dpmpp_2m", "as it is"),
}
"""Sampler and prediction of what ``tools/measure_agreement.py`` judges in the features of others as well."""


def scoreboard(data: RingData, size: int, nfe: int, source: RingData) -> dict[str, float | None]:
    """W2 over the data's rms of everything this book has, at equal network calls, exact.

    Parameters
    ----------
    data : RingData
        What is judged.
    size : int
        Of its images.
    nfe : int
    source : RingData
        What the scalar, the zones of TDAS' rule and gamma^(-1/2) are made from; `data` itself for their best case.

    Returns
    -------
    dict
        None where TDAS' rule gives nothing.

    Notes
    -----
    Source: TDAS-8, TDAS-11, PDS-9; beyond the papers.
    """

    def distance(judged: RingData, key: str, filt: Filter = IDENTITY) -> float:
        return judged.distance(judged.run(key, steps_for(key, nfe), filt))[0]

    gamma = source.run("reverse", nfe).variance[0] / source.variance
    one = min(GAINS, key=lambda g: distance(source, "reverse", source.filter(torch.full_like(gamma, g))))
    zones = automatic(source, gamma, size, "dct")[0].mask
    found: dict[str, float | None] = {"reverse diffusion": distance(data, "reverse")}
    found["with TDAS' rule"] = None if zones is None else distance(data, "reverse", data.filter(zones))
    found["with one scalar"] = distance(data, "reverse", data.filter(torch.full_like(gamma, one)))
    found["with γ^(−1/2)"] = distance(data, "reverse", data.filter(gamma.rsqrt()))
    for key, name in (
        ("ancestral", "VE ancestral"), ("analytic", "one variance (Analytic-DDPM)"),
        ("spectral", "a variance per frequency"), ("ddim", "DDIM"), ("heun", "Heun"), ("dpmpp_2m", "DPM-Solver++(2M)"),
    ):  # fmt: skip
        found[name] = distance(data, key)
    return found


def along_the_way(data: RingData, steps: int) -> dict[str, Float[Tensor, "steps n"]]:
    """Variance of the state over what it should be, after every step and at every frequency, exact.

    Of reverse diffusion, the same under gamma^(-1/2), which makes its end right, and of ancestral sampling with the
    variance that is right at each step for each frequency. All on the VE process.

    Parameters
    ----------
    data : RingData
    steps : int

    Notes
    -----
    Source: beyond the papers; TDAS-7 (gamma).
    """
    schedule = data.schedule(VE)
    model, times = Gaussian(schedule, data.variance[None]), geometric(schedule, steps)
    gamma = data.run("reverse", steps).variance[0] / data.variance
    power = times[:-1, None] ** 2 / (data.variance + times[:-1, None] ** 2)

    def law(until: int, sampler: Any, **named: Any) -> Tensor:
        found = propagate(sampler, model, times[: until + 1], weights=data.weights, **named).variance[0]
        return found / (data.variance + times[until] ** 2)

    plain = {"corrections": 0}
    every = range(1, steps + 1)
    return {
        "reverse diffusion": torch.stack([law(k, samplers.predictor_corrector, **plain) for k in every]),
        "with γ^(−1/2)": torch.stack(
            [law(k, samplers.predictor_corrector, filt=data.filter(gamma.rsqrt()), **plain) for k in every]
        ),
        "a variance per frequency": torch.stack(
            [law(k, samplers.analytic, eps_power=power[:k, None], clamp=False) for k in every]
        ),
    }


def on_network(network: str, nfe: int, *, count: int, seed: int = 0, half: bool = False) -> dict[str, Plan]:
    """Plans for one network at equal network calls; the gains of gamma^(-1/2) are measured, on other seeds.

    Parameters
    ----------
    network : str
    nfe, count, seed : int
    half : bool

    Notes
    -----
    Source: beyond the papers.
    """
    base = _plan(network, "reverse", nfe, count, seed, half)
    gains = choosing.choose({"rule": "gamma"}, base)["filt"]
    return {
        "reverse diffusion": base,
        "with γ^(−1/2)": replace(base, filt=gains),
        "VE ancestral": replace(base, sampler="ancestral"),
        "VE ancestral, predictions corrected": replace(base, sampler="ancestral", prediction="by frequency"),
        "one variance (Analytic-DDPM)": replace(base, sampler="analytic"),
        "a variance per frequency": replace(base, sampler="spectral"),
        "DPM-Solver++(2M)": replace(base, sampler="dpmpp_2m"),
    }


def corrected(network: str, nfe: int, *, count: int, seed: int = 0, half: bool = False) -> dict[str, Plan]:
    """Plans for ancestral sampling with its predictions as they are, scaled, and put right ring by ring.

    Parameters
    ----------
    network : str
    nfe, count, seed : int
    half : bool

    Notes
    -----
    Source: beyond the papers.
    """
    base = _plan(network, "ancestral", nfe, count, seed, half)
    return {
        "as they are": base,
        "one gain per call": replace(base, prediction="scaled"),
        "one gain per ring and call": replace(base, prediction="by frequency"),
    }


def _plan(network: str, sampler: str, nfe: int, count: int, seed: int, half: bool) -> Plan:
    labels = gates.usual_labels(checkpoints.card(network))
    return Plan(network, sampler, nfe, count=count, seed=seed, half=half, labels=labels)


def predictions(plans: Iterable[Plan]) -> list[dict[str, Any]]:
    """Power of a network's predictions along the way of each plan, over that of its predictions on real noisy images.

    Returns
    -------
    list of dict
        ``level``, noise over signal for images in [0, 1] at every network call, and ``thirds``, for every call the
        ratio in the lowest, the middle and the highest third of the rings. Where nothing is known yet the ratio is 1.

    Notes
    -----
    Source: beyond the papers.
    """
    found = []
    for plan in plans:
        said = matching(trained.load(plan.checkpoint), plan)
        ratios = torch.stack(said.ratios)
        found.append(
            {
                "level": [onestep.level_of(said.ideal.schedule, t) for t in said.times],
                "thirds": torch.stack([part.mean(1) for part in ratios.tensor_split(3, 1)], 1),
            }
        )
    return found


def ideals(network: str) -> dict[str, prediction.Ideal]:
    """What the power of a network's predictions should be, as :class:`fewsteps.widgets.SamplingLab` is given it.

    Returns
    -------
    dict
        ``ideal``, and of a network that knows classes ``told``, where it is told the class.

    Raises
    ------
    DataError
        As for :func:`fewsteps.experiments.prediction.ideal`.
    """
    model = trained.load(network)
    found = {"ideal": prediction.ideal(model, VE())}
    return found | ({"told": prediction.ideal(model, VE(), told=True)} if model.classes else {})


def total_variance(network: str) -> dict[str, Tensor]:
    """Power of the prediction on real noisy images plus its error, over the data's variance.

    The law of total variance says 1 for the posterior mean of any data. So the variance per frequency makes a step
    from a real noisy image right in power, and what is lost on the way is lost because the states are not such images.

    Returns
    -------
    dict
        ``level``, noise over signal for images in [0, 1], shape (n,), and ``thirds`` of the rings, shape (n, 3).

    Notes
    -----
    Source: BASE-ADDIM; beyond the papers.
    """
    model = trained.load(network)
    said = prediction.ideal(model, VE(), told=bool(model.classes))
    errors = said.errors
    parts = [filtering.on_rings(row).tensor_split(3) for row in errors.error + errors.power]
    whole = said.data.tensor_split(3)
    thirds = [[part.sum() / data.sum() for part, data in zip(row, whole, strict=True)] for row in parts]
    return {"level": errors.levels, "thirds": torch.tensor(thirds)}


def shown(plans: dict[str, Plan], count: int) -> dict[str, tuple[Tensor, Behaviour]]:
    """For every plan its first `count` images, and what it does to frequencies."""
    return {name: (sample(plan).images[:count], behaviour(plan)) for name, plan in plans.items()}

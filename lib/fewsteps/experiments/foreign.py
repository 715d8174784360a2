"""A model that was made elsewhere, before an improvement is believed: spectra, a filter by the rule, a fair table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fewsteps import filters, metrics, results, samplers, schedules, spectra, trained
from fewsteps.denoisers import Corrected, Denoiser
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import families
from fewsteps.experiments.prediction import CALIBRATION, CALIBRATION_SEED, Ideal, Matching
from fewsteps.filters import IDENTITY, Filter
from fewsteps.parameters import integer
from fewsteps.samplers import Step
from fewsteps.transforms import Basis

SCALAR, ZONE = "predictor-corrector, best scalar", "predictor-corrector, best TDAS"
RULE = "predictor-corrector, TDAS' rule"
PREDICTIONS = {"VE ancestral, predictions scaled": "scaled", "VE ancestral, predictions corrected": "by frequency"}
"""What is done to the predictions of ancestral sampling, of :data:`fewsteps.experiments.prediction.HOW`."""


@dataclass(frozen=True)
class Run:
    """How a model is sampled.

    Attributes
    ----------
    sampler : callable
        Of :mod:`fewsteps.samplers`.
    per_step : int
        Network calls of a step.
    named : mapping
        Its further parameters.
    filt : Filter
    """

    sampler: Callable[..., Iterator[Step]]
    per_step: int = 1
    named: Mapping[str, Any] = field(default_factory=dict)
    filt: Filter = IDENTITY


PC = Run(samplers.predictor_corrector, per_step=2)
RUNS: dict[str, Run] = {
    "predictor-corrector": PC,
    "reverse diffusion": Run(samplers.predictor_corrector, named={"corrections": 0}),
    "VE ancestral": Run(samplers.ve_ancestral),
    "DPM-Solver++(2M)": Run(samplers.dpmpp_2m),
}


def images(model: Denoiser, shape: Sequence[int], run: Run, nfe: int, *, count: int, seed: int) -> Tensor:
    """Samples as images.

    Parameters
    ----------
    model : Denoiser
        Variance exploding.
    shape : (C, H, W)
    run : Run
    nfe : int
        Network calls per image; as many steps as they pay for.
    count, seed : int

    Returns
    -------
    Tensor, shape (count, C, H, W)
        In [0, 1].

    Raises
    ------
    ParameterError
        If the calls do not pay for a step.

    Notes
    -----
    Source: BASE-VE-PC, BASE-VE-ANC, BASE-DPMS.
    """
    steps = integer("nfe", nfe, least=run.per_step) // run.per_step
    times = schedules.geometric(model.schedule, steps)
    with torch.no_grad():
        x = samplers.last(
            run.sampler(
                model, (count, *shape), times, noise=samplers.white_noise(seed), filt=run.filt, **dict(run.named)
            )
        )
    return trained.to_images(x, model.schedule)


def gains(
    model: Denoiser, shape: Sequence[int], run: Run, nfe: int, ideal: Ideal, how: str, *, count: int = CALIBRATION
) -> list[Tensor]:
    """What the predictions of a run are to be multiplied by, one mask of shape (H, W) per network call.

    From one run on images of a seed of its own.

    Parameters
    ----------
    model : Denoiser
    shape : (C, H, W)
    run : Run
    nfe : int
    ideal : Ideal
        Of the model: :func:`fewsteps.experiments.prediction.ideal_of`.
    how : {"as it is", "by frequency", "scaled"}
    count : int
        Images of that run.

    Returns
    -------
    list of Tensor
        For :class:`fewsteps.denoisers.Corrected` around ``ideal.around``.

    Raises
    ------
    ParameterError
        If the calls do not pay for a step.

    Notes
    -----
    Source: beyond the papers.
    """
    found = Matching(ideal, how)
    images(Corrected(model, found, ideal.around), shape, run, nfe, count=count, seed=CALIBRATION_SEED)
    return found.gains


def excess(made: Tensor, power: Tensor, basis: Basis = "dct") -> Tensor:
    """Generated over real power at every frequency, all channels together: TDAS' gamma.

    Parameters
    ----------
    made : Tensor, shape (N, C, H, W)
    power : Tensor, shape (H, W)
        Of real images, in the same basis.

    Returns
    -------
    float64 Tensor, shape (H, W)

    Notes
    -----
    Source: TDAS-7, Eq. 7.
    """
    return spectra.ratio(spectra.power_spectrum(made.double(), basis), power)


def automatic(ratio: Tensor, basis: Basis = "dct") -> Filter | None:
    """TDAS' filter from the ratio of powers; None where its rule gives none, or one that is no filter.

    Notes
    -----
    Source: TDAS-8.
    """
    try:
        return filters.tdas_auto(ratio, basis)
    except ParameterError:
        return None


def table(
    made: Mapping[str, Callable[..., Tensor]],
    against: metrics.Moments,
    features: Callable[[Tensor], Tensor],
    seeds: Sequence[int],
) -> list[tuple[str, float, float]]:
    """Fréchet distances of several ways to sample, all to the same images.

    Parameters
    ----------
    made : mapping of name to callable
        From a keyword ``seed`` to images.
    against : Moments
        Of the features of real images, others than those that a filter was chosen by.
    features : callable
        From images to (N, D).
    seeds : sequence of int

    Returns
    -------
    list of (name, mean, half the distance between the extremes over seeds)

    Notes
    -----
    Source: TDAS-11.
    """
    rows = []
    for name, make in made.items():
        values = [metrics.frechet(metrics.Moments.of(features(make(seed=seed))), against) for seed in seeds]
        rows.append((name, sum(values) / len(values), (max(values) - min(values)) / 2))
    return rows


@dataclass(frozen=True)
class Compared:
    """What came out at one number of network calls."""

    nfe: int
    count: int
    """Images per seed."""
    rows: list[tuple[str, float, float]]
    """As :func:`table` makes them, the nearest first."""
    rule: str
    """The filter by the rule, in words."""
    searched: list[str]
    """Of the best scalar and the best zone: what they are, and where they lie at the end of what was tried."""


def compare(
    model: Denoiser,
    shape: Sequence[int],
    nfe: int,
    power: Tensor,
    train: metrics.Moments,
    test: metrics.Moments,
    features: Callable[[Tensor], Tensor],
    *,
    count: int,
    seeds: Sequence[int],
    ideal: Ideal | None = None,
    samples: int = 200,
    trial: int = 64,
) -> Compared:
    """Every way to sample at one number of calls, the filter by the rule, the best zone and the best scalar among them.

    What is chosen comes from other seeds than `seeds`, scalar and zone by training images; judged is by test images.

    Parameters
    ----------
    model : Denoiser
    shape : (C, H, W)
    nfe : int
    power : Tensor, shape (H, W)
        Of real images, by frequency.
    train, test : Moments
        Of the features of real images: scalar and zone are chosen by the first, all are judged by the second.
    features : callable
        From images to (N, D).
    count : int
        Images per seed.
    seeds : sequence of int
    ideal : Ideal, optional
        What the model's predictions should be; with it ancestral sampling is also run with them put right.
    samples : int
        Images by which the rule is found; the paper takes 200.
    trial : int
        Images by which each of the twelve scalars and twelve zones is tried.

    Returns
    -------
    Compared

    Notes
    -----
    Source: TDAS-8, TDAS-11.
    """

    def draw(run: Run, seed: int, count: int = count) -> Tensor:
        return images(model, shape, run, nfe, count=count, seed=seed)

    first = max(seeds) + 1
    ratio = excess(draw(PC, first, samples), power)
    rule = automatic(ratio)

    def distance(filt: Filter) -> float:
        try:
            made = draw(replace(PC, filt=filt), first + 1, trial)
        except ShapeError:  # it diverges
            return math.inf
        return metrics.frechet(metrics.Moments.of(features(made)), train)

    runs, searched = dict(RUNS), []
    for name, family in ((SCALAR, "scalar"), (ZONE, "tdas")):
        tried = families.search(families.FAMILIES[family], lambda point: distance(_made(point, shape)))
        if all(math.isinf(value) for value, _ in tried):
            raise ParameterError(f"the predictor-corrector diverges with every {family} at {nfe} calls: give it more.")
        runs[name] = replace(PC, filt=_made(families.best(tried), shape))
        searched.append(f"{name}: {_told(tried)}")
    said = "gives no filter, since kappa never reaches its quantiles"
    if rule is not None:
        runs[RULE] = replace(PC, filt=rule)
        zones = filters.tdas_zones(ratio)
        pairs = (f"λ = {lam:.2g} from r = {r:.2g} on" for lam, r in zip(zones.lam, zones.r, strict=True))
        said = "says " + ", ".join(pairs)
    made: dict[str, Callable[..., Tensor]] = {name: partial(draw, run) for name, run in runs.items()}
    if ideal is not None:
        made |= {name: _corrected(model, shape, nfe, ideal, how, count) for name, how in PREDICTIONS.items()}
    rows = table(made, test, features, seeds)
    return Compared(nfe, count, sorted(rows, key=lambda row: row[1]), said, searched)


def unfiltered(
    model: Denoiser,
    shape: Sequence[int],
    nfe: int,
    test: metrics.Moments,
    features: Callable[[Tensor], Tensor],
    ideal: Ideal,
    *,
    count: int,
    seeds: Sequence[int],
) -> Compared:
    """Ancestral sampling with and without corrected predictions, and 2M: nothing to search, so more images.

    Parameters
    ----------
    model, shape, nfe, test, features, ideal, count, seeds
        As for :func:`compare`.

    Returns
    -------
    Compared

    Notes
    -----
    Source: beyond the papers.
    """
    made: dict[str, Callable[..., Tensor]] = {
        name: partial(images, model, shape, RUNS[name], nfe, count=count)
        for name in ("VE ancestral", "DPM-Solver++(2M)")
    }
    made |= {name: _corrected(model, shape, nfe, ideal, how, count) for name, how in PREDICTIONS.items()}
    rows = table(made, test, features, seeds)
    return Compared(nfe, count, sorted(rows, key=lambda row: row[1]), "was not asked", [])


def _corrected(
    model: Denoiser, shape: Sequence[int], nfe: int, ideal: Ideal, how: str, count: int
) -> Callable[..., Tensor]:
    run = RUNS["VE ancestral"]
    found = gains(model, shape, run, nfe, ideal, how)
    return lambda seed: images(Corrected(model, found, ideal.around), shape, run, nfe, count=count, seed=seed)


def _made(point: Mapping[str, Any], shape: Sequence[int]) -> Filter:
    """The filter of a point of the families "scalar" and "tdas"."""
    if point["kind"] == "scalar":
        return filters.scalar(point["lam"])
    return filters.tdas((shape[-2], shape[-1]), point["lam"], point["r"])


def _told(tried: families.Found) -> str:
    point = families.best(tried)
    at_ends = families.ends([other for _, other in tried], point)
    found = ", ".join(f"{key} = {value:g}" for key, value in point.items() if key != "kind")
    return found + (f" ({'; '.join(at_ends)})" if at_ends else "")


def measured(part: str = "rows") -> list[Compared]:
    """What ``tools/measure_foreign.py`` found on the shipped pipeline.

    Parameters
    ----------
    part : {"rows", "unfiltered"}
        Everything by few images, or what needs no search by more.

    Raises
    ------
    DataError
        If the table is not there.
    """
    rows = results.read("foreign_model").get(part, [])
    return [Compared(**row | {"rows": [(name, mean, half) for name, mean, half in row["rows"]]}) for row in rows]


def by_ring(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency in cycles per pixel, and the mean of `ratio` over its ring; the zero frequency left out."""
    rings = spectra.radial_mean(ratio, "dct")
    return rings.frequency[1:], rings.power[1:]


def verdict(rows: Sequence[tuple[str, float, float]]) -> str:
    """A sentence on TDAS' rule from a table with all of `RUNS`, what was searched and, where there is one, the rule.

    Two rows are told apart where their distance exceeds the spread of both over seeds.

    Parameters
    ----------
    rows : sequence of (name, mean, half)
        From :func:`table`.
    """
    known = {name: (mean, half) for name, mean, half in rows}
    if RULE not in known:
        return "the rule gives no filter, since kappa never reaches its quantiles."
    others = min(("VE ancestral", "DPM-Solver++(2M)"), key=lambda name: known[name][0])
    against = {"predictor-corrector": "no filter", ZONE: "the best zone", SCALAR: "the best scalar", others: others}
    return f"at this budget the filter by the rule is {_beside(known, RULE, against)}."


def verdict_corrected(rows: Sequence[tuple[str, float, float]]) -> str:
    """A sentence on ancestral sampling with its predictions put right, told apart as in :func:`verdict`.

    Parameters
    ----------
    rows : sequence of (name, mean, half)
        From :func:`compare` with an `ideal`, or from :func:`unfiltered`.

    Returns
    -------
    str
    """
    known = {name: (mean, half) for name, mean, half in rows}
    scaled, corrected = PREDICTIONS
    if corrected not in known:
        return "predictions were not corrected in this table."
    against = {"VE ancestral": "predictions as they are", scaled: "one gain per call"}
    against |= {ZONE: ZONE} if ZONE in known else {}
    against |= {"DPM-Solver++(2M)": "DPM-Solver++(2M)"}
    return f"ancestral sampling with corrected predictions is {_beside(known, corrected, against)}."


def _beside(known: Mapping[str, tuple[float, float]], name: str, against: Mapping[str, str]) -> str:
    """As in "better than no filter, worse than the best zone and not apart from 2M"."""
    *others, last = (f"{_compared(known[name], known[other])} {label}" for other, label in against.items())
    return f"{', '.join(others)} and {last}"


def _compared(one: tuple[float, float], other: tuple[float, float]) -> str:
    if abs(one[0] - other[0]) <= one[1] + other[1]:
        return "not apart from"
    return "better than" if one[0] < other[0] else "worse than"

"""Chapter 05: what is printed, what the theorems say, and what a trained network does to frequencies."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, filters, networks, samplers, spectra, trained
from fewsteps.denoisers import Gaussian
from fewsteps.errors import DataError, ParameterError
from fewsteps.experiments import boards, filtering, grids, pixels
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.filters import IDENTITY, Filter, Zones
from fewsteps.schedules import VE, geometric
from fewsteps.shapes import Float
from fewsteps.theory import RingData, calls_of, dense, propagate, steps_for
from fewsteps.transforms import Basis


def printed_dct(n: int) -> Float[Tensor, "n n"]:
    """The one-dimensional DCT as TDAS prints it, with 1/sqrt(2) on the sample n = 0 instead of on the row k = 0.

    Notes
    -----
    Source: TDAS-2, appendix A.1.
    """
    index = torch.arange(n, dtype=torch.float64)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi / n * (index + 0.5) * index[:, None])
    matrix[:, 0] /= math.sqrt(2)
    return matrix


def permutation_gap(filt: Filter, *, side: int = 8, steps: int = 10, seed: int = 0) -> float:
    """How far a sampler's law is from following a permutation of the pixels; 0 if it ignores where they are.

    Pixels are independent with variances of their own, and sampled by reverse diffusion with an exact score. What is
    compared is the law for permuted variances with the permuted law, in the Frobenius norm of the covariance.

    Parameters
    ----------
    filt : Filter
        On all noise.
    side, steps, seed : int

    Returns
    -------
    float
        Relative.

    Notes
    -----
    Source: TDAS-1, Theorem 2 and Remark 1.
    """
    generator = torch.Generator().manual_seed(seed)
    variance = torch.rand(side, side, generator=generator, dtype=torch.float64) + 0.05
    order = torch.randperm(side * side, generator=generator)
    schedule = VE(0.05, 5.0)

    def covariance(v: Tensor) -> Tensor:
        times = geometric(schedule, steps)
        law = propagate(samplers.predictor_corrector, Gaussian(schedule, v), times, filt=filt, corrections=0)
        found = dense(law).covariance
        assert found is not None
        return found

    here = covariance(variance)[order][:, order]
    there = covariance(variance.flatten()[order].reshape(side, side))
    return float((there - here).norm() / here.norm())


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a sampler on a trained network does to frequencies, beside the training images.

    Attributes
    ----------
    frequency, gamma : Tensor
        Cycles per pixel, and generated over real power, by ring; the zero frequency left out.
    radius, kappa : Tensor
        TDAS' mean of gamma beyond a radius.
    zones : Zones or None
        Its automatic parameters; None where kappa never reaches a quantile.
    nfe : int
    """

    frequency: Tensor
    gamma: Tensor
    radius: Tensor
    kappa: Tensor
    zones: Zones | None
    nfe: int


def behaviour(plan: Plan, basis: Basis = "dct", *, quantiles: Sequence[float] = (0.75, 0.9)) -> Behaviour:
    """Sample, and compare powers with those of the training images.

    Parameters
    ----------
    plan : Plan
    basis : {"dct", "dft"}
    quantiles : sequence of float
        For the automatic parameters: (0.75, 0.9) for VE, (0.25, 0.1) for VP.

    Returns
    -------
    Behaviour

    Raises
    ------
    DataError
        If there are no statistics of the training images.

    Notes
    -----
    Source: TDAS-7, Eq. 7 and appendix A.3; TDAS-8.
    """
    source = checkpoints.card(plan.checkpoint)["data"]
    made = sample(plan)
    ratio = spectra.ratio(
        spectra.power_spectrum(made.images.double(), basis),
        pixels.read(source["name"], source["size"]).power(basis),
    )
    shape = (ratio.shape[-2], ratio.shape[-1])
    scale = source["size"] if basis == "dft" else 2 * source["size"]
    gamma = filtering.on_rings(ratio, basis)[1:]
    frequency = torch.arange(1, len(gamma) + 1, dtype=torch.float64) / scale
    radius = torch.linspace(0, 0.95 * spectra.kappa_end(shape, basis), 60, dtype=torch.float64)
    try:
        zones = filters.tdas_zones(ratio, basis, quantiles=quantiles)
    except ParameterError:
        zones = None
    return Behaviour(frequency, gamma, radius, spectra.kappa(ratio, radius, basis), zones, made.nfe)


def sensitivity(
    data: RingData,
    size: int,
    steps: int,
    *,
    lam: Sequence[tuple[float, float]],
    r: Sequence[tuple[float, float]],
    key: str = "pc",
) -> Float[Tensor, "n m"]:
    """W2 over the data's rms for every pair of gains (rows) and pair of radii (columns), exact.

    Radii are taken in rising order: with r1 > r2, as Fig. 11 prints six of its seven pairs, no frequency would get λ1
    by Eq. 8.

    Notes
    -----
    Source: TDAS-11, Figs 10 and 11.
    """
    squared = data.rings.squared

    def distance(gains: tuple[float, float], radii: tuple[float, float]) -> float:
        mask = filters.zone_gains(squared, (size, size), gains, sorted(radii))
        return data.distance(data.run(key, steps, data.filter(mask)))[0]

    return torch.tensor([[distance(gains, radii) for radii in r] for gains in lam], dtype=torch.float64)


PLACED: dict[str, dict[str, Any]] = {
    "start and injected noise": {},
    "injected noise alone": {"where": ("predictor", "corrector")},
    "start alone": {"where": ("prior",)},
}


def measured_sensitivity(table: str, metric: str = "FD") -> Float[Tensor, "gains radii"]:
    """Distance with a filter over that without, on a trained network, from a table of `grids.sensitivity`.

    Parameters
    ----------
    table : str
        In data/results.
    metric : str

    Returns
    -------
    Tensor, shape (7, 7)
        Rows are pairs of gains and columns pairs of radii, which act in rising order (`grids.GAINS`, `grids.RADII`).

    Raises
    ------
    DataError
        If the table is not there, or a point of the grid is missing.

    Notes
    -----
    Source: TDAS-11, Figs 10 and 11.
    """
    value = {entry.method: entry.value for entry in boards.read(table, metric)}
    wanted = [[grids.pair(lam, r) for r in grids.RADII] for lam in grids.GAINS]
    if missing := {grids.NONE, *(name for row in wanted for name in row)} - value.keys():
        raise DataError(f"{table} has no row of {', '.join(sorted(missing))}: fewsteps sweep {table} makes them.")
    return torch.tensor([[value[name] for name in row] for row in wanted]) / value[grids.NONE]


def ablation(data: RingData, mask: Tensor, steps: int, key: str = "pc") -> dict[str, float]:
    """W2 over the data's rms with the filter at the start, on the injected noise, on both and on neither, exact.

    Notes
    -----
    Source: TDAS-11, Fig. 3 (a).
    """
    found = {"no filter": data.distance(data.run(key, steps))[0]}
    for name, placed in PLACED.items():
        found[name] = data.distance(data.run(key, steps, data.filter(mask, **placed)))[0]
    return found


def calls_to_reach(
    data: RingData, goal: float, *, key: str, gains: Mapping[int, Tensor] | None = None, most: int = 2000
) -> int | None:
    """Fewest network calls on a grid of steps at which a sampler comes within `goal` of the data (W2 over rms).

    Parameters
    ----------
    data : RingData
    goal : float
    key : str
        Of ``theory.RIVALS``.
    gains : mapping of int to Tensor, optional
        A filter for every number of steps; only these numbers are tried.
    most : int
        Network calls.

    Returns
    -------
    int or None
        None if no number of steps does.

    Notes
    -----
    Source: TDAS-11, Table 2 (steps at equal quality; times follow from the time of a call).
    """
    tried = sorted(gains) if gains is not None else _ladder(steps_for(key, most))
    for steps in tried:
        if calls_of(key, steps) > most:
            return None
        filt = data.filter(gains[steps]) if gains is not None else IDENTITY
        if data.distance(data.run(key, steps, filt))[0] <= goal:
            return calls_of(key, steps)
    return None


def _ladder(most: int) -> list[int]:
    return sorted({max(2, round(2 * 1.2**k)) for k in range(60) if round(2 * 1.2**k) <= most})


def filter_share(
    name: str, size: int | None = None, *, batch: int = 16, repeats: int = 5, seed: int = 0
) -> dict[str, float]:
    """Time of one filtered draw over that of one network call, in one run on one machine.

    Parameters
    ----------
    name : str
        A checkpoint.
    size : int, optional
        Another size of image, for a network of that description with weights that nobody trained.
    batch, repeats, seed : int

    Returns
    -------
    dict
        ``network`` and ``filter`` in milliseconds, the filter's beyond plain noise, and ``share`` of the two.

    Notes
    -----
    Source: TDAS-12, Remark 2.
    """
    model = trained.load(name)
    network = model.network if size is None else networks.build(model.card["network"] | {"size": size}).eval()
    size = size or model.shape[-1]
    filt = filters.tdas((size, size), (0.9, 0.8), (0.4, 0.6))
    x = samplers.white_noise(seed)((batch, model.shape[0], size, size))
    times = x.new_zeros(batch)

    def took(work: Any) -> float:
        best = math.inf
        with torch.inference_mode():
            work()
            for _ in range(repeats):
                began = time.perf_counter()
                work()
                best = min(best, time.perf_counter() - began)
        return 1000 * best

    called, filtered = took(lambda: network(x, times)), took(lambda: filt.noise(x))
    return {"network": called, "filter": filtered, "share": filtered / called}

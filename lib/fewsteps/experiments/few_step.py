"""What chapter 04 computes beyond single laws: sweeps, filters chosen and judged on different data, a mixture."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from fewsteps import filters, samplers, spectra
from fewsteps.denoisers import Gaussian, GaussianMixture
from fewsteps.errors import ParameterError
from fewsteps.filters import IDENTITY
from fewsteps.schedules import VE, geometric
from fewsteps.theory import (
    RIVALS,
    Law,
    RingData,
    Rings,
    calls_of,
    on_rings,
    power_law,
    propagate,
    rings,
    steps_for,
)
from fewsteps.transforms import Basis, from_basis, to_basis

Distance = Literal["w2", "kl"]
# By size, for data in [0, 1]: the papers' noise levels and corrector, and TDAS' Table 4 as printed, from the number of
# iterations to gains and radii. At 256 px (LSUN, church) the paper itself samples with the row of the DCT.
PAPER = {
    32: {
        "sigma": (0.01, 50.0),
        "snr": 0.16,
        "dft": {
            50: ((0.892, 0.798), (0.400, 0.455)),
            100: ((0.948, 0.895), (0.400, 0.455)),
            200: ((0.984, 0.967), (0.400, 0.455)),
        },
    },
    64: {"sigma": (0.01, 90.0), "snr": 0.17, "dft": {132: ((0.877, 0.782), (0.398, 0.456))}},
    256: {
        "sigma": (0.01, 380.0),
        "snr": 0.075,
        "dft": {400: ((0.921, 0.873), (0.400, 0.455))},
        "dct": {400: ((0.591, 0.511), (0.781, 0.862))},
    },
    1024: {"sigma": (0.01, 1348.0), "snr": 0.15, "dft": {100: ((0.955, 0.878), (0.400, 0.455))}},
}
RADII = (0.400, 0.455)


def sweep(data: RingData, budgets: Sequence[int], keys: Iterable[str] = RIVALS) -> list[dict[str, Any]]:
    """Distance of every rival's law to the data at every budget of network calls.

    Parameters
    ----------
    data : RingData
    budgets : sequence of int
        Network calls; a rival takes as many steps as they pay for, and the row says how many calls that is. Where they
        do not pay for a single one, there is no row.
    keys : iterable of str

    Returns
    -------
    list of dict
        key, steps, nfe, w2 (over the data's rms), kl (nats per coefficient).

    Notes
    -----
    Source: TDAS-12, BASE-DPMS: equal network calls.
    """
    rows = []
    for key in keys:
        paid = [steps_for(key, nfe) for nfe in budgets if calls_of(key, steps_for(key, nfe)) <= nfe]
        for steps in dict.fromkeys(paid):
            w2, kl = data.distance(data.run(key, steps))
            rows.append({"key": key, "steps": steps, "nfe": calls_of(key, steps), "w2": w2, "kl": kl})
    return rows


class Choice(NamedTuple):
    """A filter that was chosen on some data: its name, what was found, and its gains on the rings (None: undefined)."""

    name: str
    found: str
    mask: Tensor | None


def choose(
    data: RingData,
    size: int,
    steps: int,
    *,
    gains: Sequence[float],
    radii: Sequence[float],
    basis: Basis = "dct",
    by: Distance = "w2",
) -> list[Choice]:
    """Filters for the predictor-corrector with that many iterations, all chosen on one data set.

    Parameters
    ----------
    data : RingData
        On all rings of an image, none joined.
    size : int
        Of that image.
    steps : int
    gains, radii : sequence of float
        The grid that the best scalar and the best zone are looked for on; radius 0 spares the mean alone.
    basis : {"dct", "dft"}
        Of the rings.
    by : {"w2", "kl"}
        What "best" means.

    Returns
    -------
    list of Choice
        TDAS' automatic zones as printed, for amplitudes, and with the quantiles for a falling kappa; the best scalar,
        the best zone, and gamma^(-1/2).

    Notes
    -----
    Source: TDAS-8, appendix A.2.
    """
    gamma = data.run("pc", steps).variance[0] / data.variance
    choices = automatic(data, gamma, size, basis)

    def distance(mask: Tensor) -> float:
        return _distance(data, data.run("pc", steps, data.filter(mask)), by)

    ones = torch.ones_like(data.variance)
    lam = min(gains, key=lambda g: distance(g * ones))
    choices.append(Choice("one scalar", f"λ = {lam:.3f}", lam * ones))
    near = sorted(gains, key=lambda g: abs(g - lam))[:7]  # the best gain of a zone lies near that of all frequencies
    grid = [(g, r) for g in (*near, *gains[:: max(1, len(gains) // 5)]) for r in radii]
    lam, r = min(grid, key=lambda pair: distance(_zones(data.rings, size, pair[:1], pair[1:])))
    choices.append(
        Choice("best zone of a grid", f"λ = {lam:.3f} beyond r = {r:.2f}", _zones(data.rings, size, (lam,), (r,)))
    )
    choices.append(Choice("γ^(−1/2)", "one gain per frequency", gamma.rsqrt()))
    return choices


def automatic(data: RingData, gamma: Tensor, size: int, basis: Basis) -> list[Choice]:
    """TDAS' rule in three readings: as printed, with a root for amplitudes, with the quantiles for a falling kappa.

    Parameters
    ----------
    data : RingData
        On all rings of an image, none joined.
    gamma : Tensor, shape (n,)
        Power of the sampler's output over that of the data, on the rings.
    size : int
    basis : {"dct", "dft"}

    Returns
    -------
    list of Choice

    Notes
    -----
    Source: TDAS-8, appendix A.2 and A.3.
    """
    index = torch.searchsorted(data.rings.squared, spectra.square_distance((size, size), basis))
    choices = []
    for name, quantiles, amplitude in (
        ("TDAS, as printed", (0.75, 0.9), False),
        ("TDAS, for amplitudes", (0.75, 0.9), True),
        ("TDAS, quantiles .25 and .1", (0.25, 0.1), False),
    ):
        try:
            zones = filters.tdas_zones(gamma[index], basis, quantiles=quantiles, amplitude=amplitude)
        except ParameterError:
            choices.append(Choice(name, "undefined: κ never reaches the quantiles", None))
            continue
        words = " and ".join(f"λ = {lam:.3f} beyond r = {r:.3f}" for lam, r in zip(*zones, strict=True))
        choices.append(Choice(name, words, _zones(data.rings, size, zones.lam, zones.r)))
    return choices


def judge(choices: Sequence[Choice], data: RingData, steps: int, *, by: Distance = "w2") -> dict[str, float | None]:
    """Distance of every choice on other data, and of what needs no filter, at equal network calls.

    Notes
    -----
    Source: TDAS-8; BASE-VE-ANC, BASE-DPMS.
    """
    nfe = calls_of("pc", steps)
    found: dict[str, float | None] = {"no filter": _distance(data, data.run("pc", steps), by)}
    for name, _, mask in choices:
        found[name] = None if mask is None else _distance(data, data.run("pc", steps, data.filter(mask)), by)
    for key in ("ancestral", "dpmpp_2m"):
        found[RIVALS[key].label] = _distance(data, data.run(key, steps_for(key, nfe)), by)
    return found


def resolution(size: int, steps: int, *, gains: Sequence[float], by: Distance = "w2") -> dict[str, float]:
    """Distance of NCSN++'s sampler from 1/f^2 images of one size, filtered in several ways.

    Parameters
    ----------
    size : {32, 64, 256, 1024}
        With the paper's noise levels and corrector for that size; data in [0, 1] with a standard deviation of 1/4.
    steps : int
        Iterations; two network calls each.
    gains : sequence of float
        Scalars to choose from; chosen on 1/f^2.5.
    by : {"w2", "kl"}

    Returns
    -------
    dict
        no filter; fixed zones (0.9 and 0.8 beyond Table 4's radii, DFT); Table 4's own where it has this number of
        iterations, for the DFT and the DCT; the best scalar; the ancestral predictor with its corrector; VE
        ancestral and DPM-Solver++(2M) at equal network calls. TDAS' automatic zones need every ring: :func:`choose`.

    Notes
    -----
    Source: TDAS-12, Table 4 and Fig. 1.
    """
    paper = PAPER[size]
    high, low = reversed(paper["sigma"])

    def images(exponent: float, basis: Basis = "dft") -> RingData:
        ring = rings(size, basis, most=150)
        return RingData(ring, power_law(ring, exponent, 1 / 16), (high, low))

    def pc(of: RingData, mask: Tensor | None = None, **named: Any) -> float:
        filt = IDENTITY if mask is None else of.filter(mask)
        return _distance(of, of.run("pc", steps, filt, corrector_snr=paper["snr"], **named), by)

    data, steeper = images(2.0), images(2.5)
    found = {"no filter": pc(data), "zones, λ = 0.9 and 0.8": pc(data, _zones(data.rings, size, (0.9, 0.8), RADII))}
    for basis in ("dft", "dct"):
        if steps in paper.get(basis, {}):
            of = images(2.0, basis)
            found[f"Table 4, {basis.upper()}"] = pc(of, _zones(of.rings, size, *paper[basis][steps]))
    ones = torch.ones_like(data.variance)
    best = min(gains, key=lambda g: pc(steeper, g * ones))
    found["one scalar"] = pc(data, best * ones)
    found["ancestral predictor"] = pc(data, predictor="ancestral")
    found["VE ancestral"] = _distance(data, data.run("ancestral", 2 * steps), by)
    found[RIVALS["dpmpp_2m"].label] = _distance(data, data.run("dpmpp_2m", 2 * steps), by)
    return found


def filter_cost(size: int, *, batch: int, seed: int = 0, repeats: int = 5) -> dict[str, float]:
    """What drawing noise costs on this machine, plain and filtered.

    Parameters
    ----------
    size, batch : int
        Images of 3 x size x size, `batch` at a time.
    seed, repeats : int

    Returns
    -------
    dict
        Milliseconds per image.

    Notes
    -----
    Source: TDAS-12, Remark 2.
    """
    zones = {basis: filters.tdas((size, size), 0.9, 0.4, basis) for basis in ("dct", "dft")}
    made = {"white noise": IDENTITY, "filtered, DCT": zones["dct"], "filtered, DFT": zones["dft"]}
    found = {}
    for name, filt in made.items():
        noise, shape = samplers.white_noise(seed), (batch, 3, size, size)
        filt.noise(noise(shape))
        begin = time.perf_counter()
        for _ in range(repeats):
            filt.noise(noise(shape))
        found[name] = 1e3 * (time.perf_counter() - begin) / repeats / batch
    return found


def shapes_of_error(data: RingData, steps: int) -> dict[tuple[str, str], Tensor]:
    """gamma on the rings after so many iterations, by sampler and by the process that it samples.

    Returns
    -------
    dict
        (label, process) -> Tensor, shape (n,). Ancestral sampling and DDIM are the same for VE and VP.

    Notes
    -----
    Source: TDAS-7, appendix A.3.
    """
    process = {
        "reverse": "VE",
        "pc": "VE",
        "ancestral": "VE, VP",
        "ddim": "VE, VP",
        "ddpm_large": "VP",
        "analytic": "VP",
    }
    laws = {(RIVALS[key].label, name): data.run(key, steps) for key, name in process.items()}
    laws["Analytic-DDIM", "VP"] = data.run("analytic", steps, eta=0.0)
    return {key: law.variance[0] / data.variance for key, law in laws.items()}


def own_rule(data: RingData, size: int, steps: int, basis: Basis) -> dict[str, tuple[float, float] | None]:
    """TDAS' rule computed on the very data that it is judged on, as the paper uses it.

    Parameters
    ----------
    data : RingData
        On all rings of an image, none joined.
    size, steps : int
    basis : {"dct", "dft"}

    Returns
    -------
    dict
        W2 over the data's rms and KL per coefficient, without a filter and for every reading of the rule; None where
        it is undefined.

    Notes
    -----
    Source: TDAS-8, appendix A.2 and A.3.
    """
    plain = data.run("pc", steps)
    found: dict[str, tuple[float, float] | None] = {"no filter": data.distance(plain)}
    for name, _, mask in automatic(data, plain.variance[0] / data.variance, size, basis):
        found[name] = None if mask is None else data.distance(data.run("pc", steps, data.filter(mask)))
    return found


def measured(row: dict[str, Any], ring: Rings, levels: tuple[float, float]) -> RingData:
    """A row of data/results/spectra.json as Gaussian data.

    Notes
    -----
    Source: SD-1, section 4.1 (measured spectra).
    """
    frequency, power = (torch.tensor(row[key][1:]) for key in ("frequency", "power"))
    return RingData(ring, on_rings(ring, frequency, power, row["exponent_of_mean"]), levels)


def conditioning(power: Tensor, size: int, sigma: float, alphas: Sequence[float]) -> dict[str, float]:
    """Condition numbers of the noisy data's covariance, before and after preconditioning.

    Parameters
    ----------
    power : Tensor, shape (n,)
        Radial spectrum of images in [-1, 1], orthonormal DFT, without the zero frequency.
    size : int
        Pixels along a side: PDS' logarithm is of the plain DFT's power.
    sigma : float
    alphas : sequence of float
        PDS' softening.

    Returns
    -------
    dict
        Largest over smallest of (power + sigma^2) / m^2, for m = 1 and for PDS' masks and their inverses.

    Notes
    -----
    Source: PDS-10, section 2; PDS-5, Eq. 22.
    """
    noisy = power + sigma**2
    found = {"none": float(noisy.max() / noisy.min())}
    for alpha in alphas:
        mask = pds_gains(power, size, alpha)
        for name, m in ((f"M, α = {alpha:g}", mask), (f"M⁻¹, α = {alpha:g}", 1 / mask)):
            values = noisy / m**2
            found[name] = float(values.max() / values.min())
    return found


def pds_gains(power: Tensor, size: int, alpha: float) -> Tensor:
    """PDS' data-driven gains on a radial spectrum: images in [0, 1], plain DFT, the mean grey of 1/2 as its maximum.

    Notes
    -----
    Source: PDS-5, Eq. 22; PDS-10.
    """
    plain = torch.cat((torch.tensor([(size**2 / 2) ** 2]).to(power), power * size**2 / 4))
    return filters.pds_mask(plain[None], alpha)[0, 1:]


def limit(m: float, drift: bool, steps: int, *, moves: bool) -> float:
    """Variance of the output over that of white data, where all noise is scaled by m.

    Parameters
    ----------
    m : float
    drift : bool
        Whether m^2 multiplies the score, as in PDS, or not, as in TDAS.
    steps : int
    moves : bool
        Langevin moves at one low noise level instead of the reverse diffusion from sigma = 50 to 0.01.

    Returns
    -------
    float

    Notes
    -----
    Source: TDAS-9, PDS-3: the limits m^2 and m^2 / (2 m^2 - 1).
    """
    model = Gaussian(VE(0.01, 50), torch.ones(1, 1, dtype=torch.float64))
    filt = filters.scalar(m, drift=drift)
    if moves:
        level = 0.75
        times, target = torch.tensor([level, 0.0], dtype=torch.float64), 1 + level**2
        eps = min(12 * target / steps, 0.5)  # six relaxation times in all, however many moves they are cut into
        law = propagate(samplers.langevin, model, times, filt=filt, eps=eps, per_level=steps, denoise=False)
        return float(law.variance) / target
    law = propagate(samplers.predictor_corrector, model, geometric(model.schedule, steps), filt=filt, corrections=0)
    return float(law.variance)


class Estimate(NamedTuple):
    """A mean over independent batches with half the width of its 95 % interval."""

    mean: float
    half: float


def mixture(generator: torch.Generator, size: int = 16) -> GaussianMixture:
    """A target that is not Gaussian: four components with means, spectra and weights of their own, score exact.

    Notes
    -----
    Source: TDAS-9, PDS-9: does what holds on Gaussians hold beyond?
    """
    ring = rings(size)
    index = torch.searchsorted(ring.squared, spectra.square_distance((size, size)))
    exponents = (1.5, 2.0, 2.5, 3.0)
    variances = torch.stack([power_law(ring, a, 0.05)[index] for a in exponents])[:, None]
    rough = torch.randn((4, 1, size, size), generator=generator, dtype=torch.float64)
    centres = from_basis(power_law(ring, 3.0, 0.1)[index].sqrt() * rough, "dct")
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
    return GaussianMixture(VE(0.02, 50), weights, centres, variances, basis="dct")


@torch.no_grad()
def on_mixture(
    model: GaussianMixture, sample: Callable[[tuple[int, ...], int], Tensor], *, batches: int, batch: int
) -> dict[str, Estimate]:
    """How samples differ from the mixture, over independent batches.

    Parameters
    ----------
    model : GaussianMixture
    sample : callable
        From a shape (B, 1, H, W) and a seed to samples.
    batches, batch : int

    Returns
    -------
    dict of Estimate
        "low", "middle", "high": gamma in thirds of the frequencies, against the mixture's exact power.
        "weights": half the sum of absolute differences between the components' weights; not zero for true samples.
        "surprise": bits per pixel by which the samples are less (above 0) or more likely than as many true ones.

    Notes
    -----
    Source: TDAS-7, TDAS-9.
    """
    size = model.shape[-1]
    order = spectra.radius((size, size), "dct").flatten()[1:].argsort() + 1
    bands = dict(zip(("low", "middle", "high"), order.chunk(3), strict=True))
    exact = model.power.flatten()
    seen: dict[str, list[float]] = {}
    for k in range(batches):
        shape = (batch, 1, size, size)
        x, true = sample(shape, 1000 + k), model.sample(samplers.white_noise(500 + k, dtype=torch.float64)(shape))
        power = to_basis(x.double(), model.basis).flatten(1).square().mean(0)
        for name, band in bands.items():
            seen.setdefault(name, []).append(float(power[band].sum() / exact[band].sum()))
        shares, likely = model.evidence(x.double())
        seen.setdefault("weights", []).append(float((shares - model.weights).abs().sum() / 2))
        gap = float(model.evidence(true)[1] - likely) / math.log(2) / size**2
        seen.setdefault("surprise", []).append(gap)
    factor = 1.96 / math.sqrt(batches)
    return {
        name: Estimate(float(torch.tensor(v).mean()), factor * float(torch.tensor(v).std())) for name, v in seen.items()
    }


def mixture_rivals(
    model: GaussianMixture, steps: int, lam: float
) -> dict[str, Callable[[tuple[int, ...], int], Tensor]]:
    """What is compared on the mixture, all at 2 `steps` network calls; `lam` is the scalar filter's.

    Notes
    -----
    Source: TDAS-9, BASE-VE-ANC, BASE-DPMS.
    """
    size, pc = model.shape[-1], samplers.predictor_corrector
    zones = filters.tdas((size, size), (0.9, 0.8), RADII, "dft")
    return {
        "true samples": lambda shape, seed: model.sample(samplers.white_noise(seed, dtype=torch.float64)(shape)),
        "predictor-corrector": drawing(pc, model, steps),
        "TDAS, λ = 0.9 and 0.8": drawing(pc, model, steps, filt=zones),
        f"one scalar, λ = {lam:.3f}": drawing(pc, model, steps, filt=filters.scalar(lam)),
        RIVALS["ancestral"].label: drawing(samplers.ve_ancestral, model, 2 * steps),
        RIVALS["dpmpp_2m"].label: drawing(samplers.dpmpp_2m, model, 2 * steps),
    }


def drawing(
    sampler: Callable[..., Any], model: GaussianMixture, steps: int, **named: Any
) -> Callable[[tuple[int, ...], int], Tensor]:
    """A sampler on a geometric grid of that many steps, as :func:`on_mixture` asks for it."""

    def sample(shape: tuple[int, ...], seed: int) -> Tensor:
        noise = samplers.white_noise(seed)
        return samplers.last(sampler(model, shape, geometric(model.schedule, steps), noise=noise, **named))

    return sample


def _distance(data: RingData, law: Law, by: Distance) -> float:
    return data.distance(law)[("w2", "kl").index(by)]


def _zones(ring: Rings, size: int, lam: Sequence[float], r: Sequence[float]) -> Tensor:
    return filters.zone_gains(ring.squared, (size, size), lam, r)

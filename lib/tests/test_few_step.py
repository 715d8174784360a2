"""What chapter 04 computes beyond single laws, against definitions and against each other."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from fewsteps import denoisers, filters, samplers, spectra, theory
from fewsteps import schedules as sch
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import few_step

RINGS = theory.rings(16)
LAW = theory.RingData(RINGS, theory.power_law(RINGS, 2.0, 0.25), (50.0, 0.02))


def test_sweep_spends_what_it_says():
    """TDAS-12, BASE-DPMS: steps, calls and distances of every row are those of one run; budgets are never exceeded."""
    rows = few_step.sweep(LAW, (12, 24))
    assert {row["key"] for row in rows} == set(theory.RIVALS)
    for row in rows:
        law = LAW.run(row["key"], row["steps"])
        assert law.nfe == row["nfe"] <= 24
        assert (row["w2"], row["kl"]) == LAW.distance(law)
    assert few_step.sweep(LAW, (3,), ["langevin", "ddim"]) == few_step.sweep(LAW, (3,), ["ddim"])  # a level costs six
    w2 = {row["key"]: row["w2"] for row in rows if row["nfe"] > 20}
    assert w2["dpmpp_2m"] < w2["heun"] < w2["reverse"] < w2["pc"]


def test_distance_is_relative():
    """TDAS-12: scaling an amplitude by 1 + e is at distance e; nothing is at distance 0."""
    data = theory.law_of(denoisers.Gaussian(sch.VE(), LAW.variance[None]))
    assert LAW.distance(data) == (0, 0)
    scaled = theory.Law(data.mean, data.variance * 1.21)
    assert LAW.distance(scaled)[0] == pytest.approx(0.1)
    assert LAW.distance(scaled)[1] == pytest.approx((0.21 - math.log(1.21)) / 2)


def test_chosen_filters_are_the_best_of_their_kind():
    """TDAS-8: on the data they were chosen on, gamma^(-1/2) beats the zones, which beat or equal every scalar tried."""
    gains, radii = [0.8, 0.85, 0.9, 0.95, 1.0], [0.0, 0.3]
    choices = few_step.choose(LAW, 16, 20, gains=gains, radii=radii)
    on_own = few_step.judge(choices, LAW, 20)
    assert on_own["γ^(−1/2)"] < on_own["one scalar"] < on_own["no filter"]
    scalars = [LAW.distance(LAW.run("pc", 20, LAW.filter(g * torch.ones(len(RINGS.count)))))[0] for g in gains]
    assert on_own["one scalar"] == pytest.approx(min(scalars))
    nfe = LAW.run("pc", 20).nfe
    assert on_own[theory.RIVALS["ancestral"].label] == LAW.distance(LAW.run("ancestral", nfe))[0]
    by_name = {choice.name: choice for choice in choices}
    assert by_name["TDAS, as printed"].mask is None and on_own["TDAS, as printed"] is None
    zones = by_name["TDAS, quantiles .25 and .1"]
    index = torch.searchsorted(RINGS.squared, spectra.square_distance((16, 16)))
    ratio = (LAW.run("pc", 20).variance[0] / LAW.variance)[index]
    built = filters.tdas_auto(ratio, quantiles=(0.25, 0.1))
    assert torch.equal(zones.mask[index], built.frequency.exact)


@pytest.mark.parametrize("size", [32, 64])
def test_resolution_uses_the_papers_settings(size):
    """TDAS-12: no filter, Table 4 and the scalar are runs of the sampler at the paper's levels and corrector."""
    steps = {32: 50, 64: 132}[size]
    found = few_step.resolution(size, steps, gains=[0.95, 1.0])
    ring = theory.rings(size, "dft", most=150)
    high = {32: 50.0, 64: 90.0}[size]
    data = theory.RingData(ring, theory.power_law(ring, 2.0, 1 / 16), (high, 0.01))
    snr = {32: 0.16, 64: 0.17}[size]
    assert found["no filter"] == data.distance(data.run("pc", steps, corrector_snr=snr))[0]
    gains, radii = {32: ((0.892, 0.798), (0.4, 0.455)), 64: ((0.877, 0.782), (0.398, 0.456))}[size]
    mask = torch.ones_like(ring.squared)
    for gain, r in zip(gains, radii, strict=True):
        mask[ring.squared.sqrt() > math.sqrt(2) * r * size] = gain
    expected = data.distance(data.run("pc", steps, data.filter(mask), corrector_snr=snr))[0]
    assert found["Table 4, DFT"] == pytest.approx(expected, rel=1e-6)
    assert found["one scalar"] <= found["no filter"]
    assert not any("Table" in name for name in few_step.resolution(size, 10, gains=[1.0]))
    assert found["VE ancestral"] == data.distance(data.run("ancestral", 2 * steps))[0]


def test_conditioning_by_hand():
    """PDS-10: condition numbers of (S + sigma^2) / m^2, with PDS' mask written out."""
    power = torch.tensor([4.0, 1.0, 0.01], dtype=torch.float64)
    found = few_step.conditioning(power, 8, 0.1, (5,))
    noisy = power + 0.01
    assert found["none"] == pytest.approx(4.01 / 0.02)
    log = torch.log1p(power * 64 / 4)
    m = (log / math.log1p(32.0**2) + 4) / 5
    values = noisy / m**2
    assert found["M, α = 5"] == pytest.approx(float(values.max() / values.min()))
    values = noisy * m**2
    assert found["M⁻¹, α = 5"] == pytest.approx(float(values.max() / values.min()))
    flat = few_step.conditioning(torch.ones(5).double(), 8, 1.0, (1,))
    assert flat == {"none": 1, "M, α = 1": 1, "M⁻¹, α = 1": 1}


def test_relaxation_is_the_condition_number():
    """PDS-10: where the fastest frequency relaxes in one move, the slowest takes as many as the condition number.

    And a preconditioner changes that number of moves as it changes the condition number.
    """
    power = torch.tensor([0.81, 0.2, 1e-9], dtype=torch.float64)
    sigma, numbers = 0.1, {}
    for name, m in (("none", torch.ones(3, dtype=torch.float64)), ("M, α = 5", few_step.pds_gains(power, 8, 5.0))):
        numbers[name] = few_step.conditioning(power, 8, sigma, (5,))[name]
        total = (power + sigma**2) / m**2
        assert numbers[name] == pytest.approx(float(total.max() / total.min()))
        model = denoisers.Gaussian(sch.VE(0.05, 1), power[None])
        times = torch.tensor([sigma, 0.0], dtype=torch.float64)
        filt = filters.Filter(space=m[None], where={"corrector"}, drift=True)
        slow, eps = int(total.argmax()), 2 * 0.999 * float(total.min())  # the fastest frequency relaxes at once
        inflated = (power + sigma**2)[slow] / (1 - eps / (4 * total[slow]))
        off = []
        for moves in (10, 10 + round(numbers[name])):
            named = {"eps": eps, "per_level": moves, "denoise": False}
            law = theory.propagate(samplers.langevin, model, times, filt=filt, **named)
            off.append(float((law.variance[0, slow] / inflated - 1).abs()))
        assert off[1] / off[0] == pytest.approx(math.exp(-2), rel=0.1)
    assert numbers["M, α = 5"] < 0.9 * numbers["none"]


@pytest.mark.parametrize("m", [0.9, 1.2])
def test_limits(m):
    """TDAS-9, PDS-3: with 600 steps each kind of move is within 3 % of its own limit, and of no other."""
    goals = {(True, False): m**2, (True, True): 1.0, (False, False): m**2, (False, True): m**2 / (2 * m**2 - 1)}
    for (moves, drift), goal in goals.items():
        value = few_step.limit(m, drift, 600, moves=moves)
        assert value == pytest.approx(goal, rel=0.03)
        assert all(abs(value / other - 1) > 0.1 for other in goals.values() if abs(other / goal - 1) > 0.2)


def test_langevin_moves_inside_ddpm_keep_the_law():
    """PDS-11: many preconditioned moves inside DDPM leave p_t as it is; with the score as it is, they do not."""
    vp = sch.VPLinear()
    v = theory.power_law(RINGS, 1.0, 0.5)[None]
    model, weights = denoisers.Gaussian(vp, v), RINGS.count[None]
    masked = (RINGS.squared < 20)[None]
    times = torch.tensor([1.0, 0.5, 0.3, 0.295], dtype=torch.float64)  # the last step is too short to matter
    target = vp.alpha(times[-1]) ** 2 * v + vp.sigma(times[-1]) ** 2
    off = {}
    for drift in (True, False):
        filt = filters.Filter(space=1 + 0.5 * masked.double(), where={"corrector"}, drift=drift)
        law = theory.propagate(
            samplers.predictor_corrector, model, times, weights=weights, predictor="ddpm", corrections=400,
            filt=filt, corrector_snr=0.1,
        )  # fmt: skip
        off[drift] = (law.variance / target - 1)[masked].abs().max()
    assert off[True] < 0.03
    assert off[False] > 0.5


def test_mixture_is_judged_fairly():
    """TDAS-9: true samples show no difference, within five standard errors; spoilt ones show what was done to them."""
    model = few_step.mixture(torch.Generator().manual_seed(1), size=8)

    def true(shape, seed):
        return model.sample(samplers.white_noise(seed, dtype=torch.float64)(shape))

    seen = few_step.on_mixture(model, true, batches=12, batch=128)
    for band in ("low", "middle", "high"):
        assert abs(seen[band].mean - 1) < 5 / 1.96 * seen[band].half
    assert abs(seen["surprise"].mean) < 5 / 1.96 * seen["surprise"].half
    louder = few_step.on_mixture(model, lambda shape, seed: 1.1 * true(shape, seed), batches=12, batch=128)
    assert louder["high"].mean == pytest.approx(1.21 * seen["high"].mean)
    assert louder["surprise"].mean > 0
    first = model._means.exact[:1]
    one = few_step.on_mixture(
        model,
        lambda shape, seed: denoisers.exact.from_basis(first.expand(shape), "dct"),
        batches=2,
        batch=16,
    )
    assert one["weights"].mean == pytest.approx(0.6, abs=0.01)  # all samples lie at the component that should have .4
    drawn = few_step.drawing(samplers.ddim, model, 3)
    assert torch.equal(drawn((2, 1, 8, 8), 5), drawn((2, 1, 8, 8), 5))


def test_rivals_refuse_in_a_sentence():
    with pytest.raises(ParameterError, match="sampler must be one of reverse"):
        LAW.run("euler", 5)
    with pytest.raises(ParameterError, match="nfe must be an integer of at least 1"):
        theory.steps_for("pc", 0)
    with pytest.raises(ShapeError, match="one entry per ring"):
        theory.RingData(RINGS, torch.ones(3), (1.0, 0.1))


def test_measured_spectra_on_rings():
    """SD-1: at measured frequencies the measured power, between them their geometric mean, beyond them the law."""
    frequency = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    power = torch.tensor([8.0, 2.0, 0.5], dtype=torch.float64)
    at = theory.Rings(torch.zeros(5), torch.tensor([0.05, 0.1, 0.2 * math.sqrt(2), 0.4, 0.6]).double(), torch.ones(5))
    found = theory.on_rings(at, frequency, power, 3.0)
    expected = torch.tensor([8.0, 8.0, 1.0, 0.5, 0.5 / 1.5**3]).double()
    assert (found / expected - 1).abs().max() < 1e-6


def test_own_rule_is_judged_on_its_own_data():
    """TDAS-8: zones from the data's own gamma, as `tdas_auto` makes them, and None where the rule is undefined."""
    found = few_step.own_rule(LAW, 16, 20, "dct")
    assert found["no filter"] == LAW.distance(LAW.run("pc", 20))
    assert found["TDAS, as printed"] is None
    index = torch.searchsorted(RINGS.squared, spectra.square_distance((16, 16)))
    gamma = LAW.run("pc", 20).variance[0] / LAW.variance
    mask = filters.tdas_auto(gamma[index], quantiles=(0.25, 0.1)).frequency.exact
    grid = denoisers.Gaussian(sch.VE(0.02, 50), LAW.variance[index], basis="dct")
    filt = filters.Filter(mask, basis="dct")
    law = theory.propagate(samplers.predictor_corrector, grid, sch.geometric(grid.schedule, 20), filt=filt)
    w2 = (theory.frechet(law, theory.law_of(grid)) / float(grid.variance.sum())) ** 0.5
    assert found["TDAS, quantiles .25 and .1"][0] == pytest.approx(w2, rel=1e-6)


def test_shapes_of_error_are_those_of_the_samplers():
    """TDAS-7: reverse diffusion above 1 and ancestral sampling below at every frequency, Analytic-DDIM crossing 1."""
    gammas = few_step.shapes_of_error(LAW, 30)
    assert len(gammas) == 7
    by_label = {label: gamma for (label, _), gamma in gammas.items()}
    assert by_label[theory.RIVALS["reverse"].label].min() > 1 > by_label[theory.RIVALS["ancestral"].label].max()
    crossing = by_label["Analytic-DDIM"]
    assert crossing[1] < 1 < crossing[-1]
    assert bool((crossing[1:].diff() > 0).all())


def test_filtered_noise_is_timed_per_image(monkeypatch):
    """TDAS-12: plain noise and both bases, in that order, per image; by a clock that goes by squares of seconds."""
    ticks = (float(k * k) for k in itertools.count())
    monkeypatch.setattr(few_step, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    cost = few_step.filter_cost(32, batch=4, repeats=5)
    assert cost == {"white noise": 1000 / 20, "filtered, DCT": 5000 / 20, "filtered, DFT": 9000 / 20}
    assert list(cost) == ["white noise", "filtered, DCT", "filtered, DFT"]


def test_rivals_on_the_mixture_spend_the_same():
    """TDAS-9: all samplers draw, each on its own grid, and true samples are the mixture's own."""
    model = few_step.mixture(torch.Generator().manual_seed(1), size=8)
    drawn = {name: run((3, 1, 8, 8), 4) for name, run in few_step.mixture_rivals(model, 3, 0.9).items()}
    assert len(drawn) == 6 and all(x.shape == (3, 1, 8, 8) for x in drawn.values())
    assert torch.equal(drawn["true samples"], model.sample(samplers.white_noise(4, dtype=torch.float64)((3, 1, 8, 8))))
    twice = few_step.drawing(samplers.ve_ancestral, model, 6)((3, 1, 8, 8), 4)
    assert torch.equal(drawn[theory.RIVALS["ancestral"].label], twice)

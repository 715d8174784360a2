"""What chapters 05 and 06 compute for themselves: against hand calculation, closed forms and the samplers."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from fewsteps import checkpoints, filters, samplers, spectra, theory, transforms
from fewsteps import schedules as sch
from fewsteps.denoisers import Gaussian
from fewsteps.errors import ParameterError
from fewsteps.experiments import best, choosing, pds, pixels, tdas
from fewsteps.experiments.sampling import Plan, sample


@pytest.fixture(scope="module")
def data():
    rings = theory.rings(16, "dft")
    return theory.RingData(rings, theory.power_law(rings, 2.0, 0.25), (50.0, 0.02))


def test_the_printed_dct():
    """TDAS-2: as printed the rows are neither of length 1 nor orthogonal; with the factor on k = 0 they are."""
    printed = tdas.printed_dct(6)
    n, k = torch.arange(6.0, dtype=torch.float64), torch.arange(6.0, dtype=torch.float64)[:, None]
    by_hand = math.sqrt(2 / 6) * torch.cos(math.pi / 6 * (n + 0.5) * k) * torch.where(n == 0, 0.5**0.5, 1.0)
    assert torch.allclose(printed, by_hand)
    assert (printed @ printed.mT - torch.eye(6)).abs().max() > 0.5
    mended = printed.clone()
    mended[:, 0] *= math.sqrt(2)
    mended[0] /= math.sqrt(2)
    one = torch.eye(6, dtype=torch.float64)
    assert torch.allclose(mended @ mended.mT, one)
    rows = transforms.dct2(one[:, None].expand(6, 6, 6))[:, 0]  # constant along columns: one-dimensional
    assert torch.allclose(rows.mT / math.sqrt(6), mended)


def test_permuted_pixels_are_sampled_alike_without_a_filter():
    """TDAS-1: 0 for white noise and for one scalar, far from it for a mask over frequencies or over pixels."""
    assert tdas.permutation_gap(filters.IDENTITY) < 1e-14
    assert tdas.permutation_gap(filters.scalar(0.7), seed=3) < 1e-14
    assert tdas.permutation_gap(filters.tdas((8, 8), 0.7, 0.3)) > 0.1
    assert tdas.permutation_gap(filters.Filter(space=torch.linspace(0.5, 1, 64).reshape(8, 8))) > 0.1


def test_behaviour_of_a_network():
    """TDAS-7: gamma and kappa of samples by hand; more noise at the end raises them."""
    plan = Plan("digits", "ancestral", 6, count=64, seed=1)
    found = tdas.behaviour(plan)
    source = checkpoints.card("digits")["data"]
    power = transforms.dct2(sample(plan).images.double()).square().mean((0, 1))
    ratio = power / pixels.read(source["name"], source["size"]).dct.mean(0)
    distance = spectra.square_distance((8, 8)).sqrt().round()
    assert float(found.gamma[2]) == pytest.approx(float(ratio[distance == 3].mean()), rel=1e-6)
    assert float(found.kappa[0]) == pytest.approx(float(ratio.mean()), rel=1e-6)
    assert found.frequency[2] == 3 / 16
    assert found.nfe == 6
    noisy = tdas.behaviour(Plan("digits", "reverse", 6, count=64, seed=1))
    assert float(noisy.gamma[-3:].mean()) > 2 * float(found.gamma[-3:].mean())


def test_sensitivity_and_ablation_are_the_samplers(data):
    """TDAS-11: a grid point and a place of the filter against a run of the sampler written out here."""
    grid = tdas.sensitivity(data, 16, 12, lam=[(1.0, 1.0), (0.9, 0.6)], r=[(0.1, 0.3), (0.3, 0.1)])
    mask = filters.zone_gains(data.rings.squared, (16, 16), (0.9, 0.6), (0.1, 0.3))
    # Printed the other way round, as in Fig. 11, radii are the same two: else no frequency would get the first gain.
    assert torch.equal(grid[:, 0], grid[:, 1])
    assert set(filters.zone_gains(data.rings.squared, (16, 16), (0.9, 0.6), (0.3, 0.1)).tolist()) == {1.0, 0.6}
    assert float(grid[0, 0]) == float(grid[0, 1]) == data.distance(data.run("pc", 12))[0]
    assert float(grid[1, 1]) == data.distance(data.run("pc", 12, data.filter(mask)))[0]
    found = tdas.ablation(data, mask, 12)
    assert found["start and injected noise"] == float(grid[1, 1])
    assert found["no filter"] == float(grid[0, 0])
    # Noise of level 50 is forgotten; what is injected is not.
    assert abs(found["start alone"] / found["no filter"] - 1) < 0.01
    assert abs(found["injected noise alone"] / found["no filter"] - 1) > 0.03


def test_calls_to_reach_a_distance(data):
    """TDAS-11, Table 2: the last number of calls is enough and the one before is not; never is None."""
    goal = 0.1
    calls = tdas.calls_to_reach(data, goal, key="ancestral")
    assert calls is not None
    assert data.distance(data.run("ancestral", calls))[0] <= goal
    before = max(steps for steps in tdas._ladder(2000) if steps < calls)
    assert data.distance(data.run("ancestral", before))[0] > goal
    assert tdas.calls_to_reach(data, 1e-9, key="ancestral", most=50) is None
    quiet = dict.fromkeys((10, 40), torch.full_like(data.variance, 1e-3))
    assert tdas.calls_to_reach(data, goal, key="pc", gains=quiet) is None


def test_filter_share_is_a_ratio(monkeypatch):
    """TDAS-12: milliseconds of a draw over milliseconds of a call, each the best of five; by a clock that is given."""
    seconds = (5.0, 4.0, 8.0, 7.0, 6.0, 2.0, 3.0, 9.0, 1.0, 4.0)
    ticks = itertools.accumulate(itertools.chain.from_iterable((1.0, s) for s in seconds))
    monkeypatch.setattr(tdas, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert tdas.filter_share("digits", batch=2, repeats=5) == {"network": 4000, "filter": 1000, "share": 0.25}
    assert next(ticks, None) is None


def test_both_directions_and_every_site(data):
    """PDS-2, PDS-3: M and its inverse are each other's, and the sites are the sampler's own."""
    found = pds.by_direction(data, 16, 12, "pc", (5,))
    gains = pds.data_gains(data, 16, 5)
    assert gains[0] == 1
    assert gains.min() == gains[-1] > 0.8
    for name, mask in (("M, α = 5", gains), ("M⁻¹, α = 5", 1 / gains)):
        assert found[name] == data.distance(data.run("pc", 12, data.filter(mask, drift=True)))[0]
    sites = pds.by_site(data, gains, 12)
    assert sites["nowhere"] == found["none"]
    assert sites["all three (as released)"] == pytest.approx(found["M, α = 5"], rel=1e-12)
    one, distance = pds.scalar_like_pds(data, data, 12, "pc", (1.0, 1.1, 1.2))
    assert distance == min(pds.scalar_like_pds(data, data, 12, "pc", (gain,))[1] for gain in (1.0, 1.1, 1.2))
    assert one > 1


def test_a_large_omega_stops_the_corrector():
    """PDS-7: the step is divided by the norm's square, 1 + 2 omega^2 for a white score; NCSN's fixed step explodes."""
    for omega in (0.0, 1.0, 30.0):
        assert pds.move_left(omega, count=256) == pytest.approx(1 / (1 + 2 * omega**2), rel=0.02)
    assert pds.turned_law(0.0, 0.2) == pytest.approx(1 / (1 - 0.2 / 4), rel=1e-6)
    assert pds.turned_law(1000.0, 0.2, moves=20) > 1e6


def test_the_rotating_process():
    """PDS-8: the circle becomes a tilted ellipse, and simulated paths fill that one."""
    before, after = pds.rotating(2.0, (1.0, 2.0))
    assert torch.allclose(before, torch.eye(2, dtype=torch.float64))
    assert torch.allclose(after, torch.tensor([[0.52, -0.24], [-0.24, 1.48]], dtype=torch.float64))
    assert torch.allclose(pds.rotating(0.0, (1.0, 2.0))[1], before)  # without rotation the theorem holds
    points = pds.simulated(2.0, (1.0, 2.0), paths=3000)
    assert (points.mT @ points / len(points) - after).abs().max() < 0.15


def test_moves_inside_ddpm(data):
    """PDS-11: at equal network calls; the unconditioned moves are those of the sampler itself."""
    found = pds.on_ddpm(data, 16, 20)
    schedule = data.schedule(sch.VPLinear)
    model = Gaussian(schedule, data.variance[None])
    law = theory.propagate(
        samplers.predictor_corrector, model, sch.geometric(schedule, 10), predictor="ddpm", weights=data.weights
    )
    assert law.nfe == 20
    assert found["with moves"] == data.distance(law)[0]
    assert len({round(value, 9) for value in found.values()}) == 4


def test_the_scoreboard_is_the_samplers(data):
    """BEST-1: gamma^(-1/2) and a variance per frequency are exact where they know the data, at any number of calls."""
    dct = theory.rings(16)
    here = theory.RingData(dct, theory.power_law(dct, 1.5, 0.25), (50.0, 0.02))
    found = best.scoreboard(here, 16, 6, here)
    assert found["with γ^(−1/2)"] < 1e-7
    # The last step, from the lowest level to clean data, is every method's; nothing else is missing.
    jump = (here.variance**2 / (here.variance + 0.02**2)).sqrt()
    floor = ((dct.count * (jump - here.variance.sqrt()).square()).sum() / (dct.count * here.variance).sum()).sqrt()
    assert found["a variance per frequency"] == pytest.approx(float(floor), rel=0.02)
    assert found["with one scalar"] < found["reverse diffusion"]
    assert found["DDIM"] == here.distance(here.run("ddim", 6))[0]


def test_states_on_the_way(data):
    """BEST-1: gamma^(-1/2) is right at the end alone, a variance per frequency at every step before the last jump."""
    way = best.along_the_way(data, 6)
    assert (way["a variance per frequency"][:-1] - 1).abs().max() < 1e-3
    assert (way["with γ^(−1/2)"][-1] - 1).abs().max() < 1e-9
    assert way["with γ^(−1/2)"][:-1].min() > 1
    assert way["with γ^(−1/2)"][0].min() > 1.5
    whole = data.run("reverse", 6).variance[0] / data.variance
    assert torch.allclose(way["reverse diffusion"][-1], whole)


def test_plans_on_a_network(monkeypatch):
    """At equal calls, one start, and gains that other seeds gave."""
    monkeypatch.setattr(choosing, "GAMMA", 16)
    plans = best.on_network("digits", 4, count=4)
    assert {plan.nfe for plan in plans.values()} == {4}
    assert {plan.seed for plan in plans.values()} == {0}
    seen = best.shown(dict(list(plans.items())[:2]), 2)
    (images, found), (filtered, _) = seen.values()
    assert images.shape == (2, 1, 8, 8)
    assert not torch.equal(images, filtered)
    assert found.nfe == 4


def test_a_network_of_noise_is_sampled_by_vp_alone():
    """BASE-VP: the shipped network predicts noise, makes images under VP samplers, and refuses VE ones by name."""
    assert checkpoints.card("fashion-vp")["predicts"]["kind"] == "eps"
    images = sample(Plan("fashion-vp", "dpmpp_2m", 8, count=2)).images
    assert images.shape == (2, 1, 32, 32)
    assert float((images < 0.1).double().mean()) > 0.2  # garments on black
    with pytest.raises(ParameterError, match=r"noise of a VP process: of the samplers .*ddim"):
        sample(Plan("fashion-vp", "reverse", 8, count=2))

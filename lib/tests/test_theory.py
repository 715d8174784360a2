"""The exact law of a sampler's output: against Monte Carlo, dense algebra, closed forms and itself."""

import itertools
import math
from functools import partial

import pytest
import torch

from fewsteps import denoisers, filters, spectra, theory
from fewsteps import samplers as sam
from fewsteps import schedules as sch
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.transforms import to_basis

VE = sch.VE(0.01, 20)
VP = sch.VPLinear()


def spectrum(size, basis="dct", exponent=2.0):
    squared = spectra.square_distance((size, size), basis)
    squared[0, 0] = 1
    v = squared ** (-exponent / 2)
    return v / v.mean()


def gaussian(schedule, size=8, basis="dct", mean=0.0):
    return denoisers.Gaussian(schedule, spectrum(size, basis), mean, basis=basis)


def zones(size, basis="dct"):
    return filters.tdas((size, size), (0.9, 0.7), (0.2, 0.4) if basis == "dct" else (0.1, 0.3), basis)


# name -> sampler, schedule, its parameters, where and with which drift the filter acts (None: no filter)
EVERYWHERE = ((), False)
CASES = {
    "langevin": (sam.langevin, VE, {"per_level": 3, "eps": 5e-5}, None),
    "langevin, filtered drift": (sam.langevin, VE, {"per_level": 3, "eps": 5e-5}, ((), True)),
    "reverse diffusion": (sam.predictor_corrector, VE, {"corrections": 0}, None),
    "reverse diffusion, TDAS": (sam.predictor_corrector, VE, {"corrections": 0}, EVERYWHERE),
    "reverse diffusion, PDS": (sam.predictor_corrector, VE, {"corrections": 0}, ((), True)),
    "predictor-corrector": (sam.predictor_corrector, VE, {}, None),
    "predictor-corrector, PDS corrector": (sam.predictor_corrector, VE, {}, (("corrector",), True)),
    "predictor-corrector, TDAS": (sam.predictor_corrector, VE, {"corrections": 2}, EVERYWHERE),
    "ve_ancestral": (sam.ve_ancestral, VE, {}, None),
    "ddpm small, filtered start": (sam.ddpm, VP, {}, (("prior",), False)),
    "ddpm large": (sam.ddpm, VP, {"variance": "large"}, EVERYWHERE),
    "ddim": (sam.ddim, VP, {}, None),
    "ddim eta .5": (sam.ddim, VP, {"eta": 0.5}, EVERYWHERE),
    "analytic": (sam.analytic, VP, {"eps_power": lambda t: 0.5, "eta": 0.0, "clamp": False}, None),
    "heun": (sam.heun, VE, {}, (("prior",), False)),
    "dpmpp_2m": (sam.dpmpp_2m, VP, {}, None),
    "pc on DDPM": (sam.predictor_corrector, VP, {"predictor": "ddpm"}, (("corrector",), True)),
}
MEAN_FIELD = [name for name in CASES if "-corrector" in name or name == "pc on DDPM"]
DFT = ["langevin, filtered drift", "predictor-corrector, TDAS", "ddpm large", "heun"]


def case(name, size, basis="dct", filtered=zones):
    sampler, schedule, named, placed = CASES[name]
    filt = filters.IDENTITY if placed is None else filtered(size, basis).at(*placed[0], drift=placed[1])
    return sampler, schedule, named | {"filt": filt}


@pytest.mark.parametrize(("name", "basis"), [(name, "dct") for name in CASES] + [(name, "dft") for name in DFT])
def test_propagate_against_monte_carlo(name, basis):
    """TDAS-7: 4096 samples of the sampler in pixels; max |z| < 5 over 1024 frequencies, mean z^2 within [.8, 1.2]."""
    size, n = 32, 4096
    sampler, schedule, named = case(name, size, basis)
    centre = torch.linspace(-1, 1, size * size, dtype=torch.float64).reshape(size, size)
    model = gaussian(schedule, size, basis, centre)
    times = sch.geometric(schedule, 10)
    law = theory.propagate(sampler, model, times, **named)
    with torch.no_grad():
        *_, end = sampler(model, (n, 1, size, size), times, noise=sam.white_noise(7), **named)
    assert end.nfe == law.nfe
    out = to_basis(end.x.double(), basis)[:, 0]
    z = (out.var(0) / law.variance - 1) * math.sqrt((n - 1) / 2)
    assert z.abs().max() < 5
    assert 0.8 <= z.square().mean() <= 1.2
    shift = (out.mean(0) - law.mean) / (law.variance / n).sqrt()
    assert shift.abs().max() < 5
    assert law.exact == (name not in MEAN_FIELD)


@pytest.mark.parametrize("name", [name for name in CASES if name not in MEAN_FIELD])
def test_propagate_against_dense_algebra(name):
    """The diagonal law is the dense one: all 64 x 64 responses of the sampler run in pixels."""
    sampler, schedule, named = case(name, 8)
    model = gaussian(schedule, mean=0.3)
    times = sch.geometric(schedule, 6)
    diagonal = theory.dense(theory.propagate(sampler, model, times, **named))
    filt = named["filt"]
    # The same filter, told as one that cannot be seen to be diagonal: with a mask of ones over pixels.
    blind = filters.Filter(
        torch.ones(8, 8) if filt.frequency is None else filt.frequency.exact, torch.ones(8, 8),
        where=("prior",) if filt.is_identity else filt.where, drift=filt.drift,
    )  # fmt: skip
    full = theory.propagate(sampler, model, times, **(named | {"filt": blind}))
    assert diagonal.exact and full.covariance is not None
    assert (full.covariance - diagonal.covariance).abs().max() < 1e-10 * full.covariance.abs().max()
    assert (full.mean - diagonal.mean).abs().max() < 1e-10


def test_a_mask_over_pixels_is_dense_and_right():
    """TDAS-6, PDS-6: covariance of a filtered ancestral run by explicit matrices, step by step."""
    size, times = 5, sch.geometric(VE, 5)
    v = spectrum(size)
    model = denoisers.Gaussian(VE, v, basis="dct")
    pixels = torch.rand(size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.4
    for order in ("space first", "space last"):
        filt = filters.Filter(filters.zone_mask((size, size), 0.6, 0.3), pixels, order=order, drift=True)
        law = theory.propagate(sam.predictor_corrector, model, times, corrections=0, filt=filt)
        n = size * size
        eye = torch.eye(n, dtype=torch.float64)
        m = filt.apply(eye.reshape(n, size, size)).reshape(n, n).mT
        covariance = theory.dense(theory.Law(torch.zeros(size, size, dtype=torch.float64), v, "dct")).covariance
        x = float(times[0]) ** 2 * m @ m.mT
        for t, s in itertools.pairwise(times.tolist()):
            step = eye - (t**2 - s**2) * m @ m.mT @ torch.linalg.inv(covariance + t**2 * eye)
            x = step @ x @ step.mT + ((t**2 - s**2) * m @ m.mT if s else 0)
        assert (law.covariance - x).abs().max() < 1e-9 * x.abs().max()
    # a start drawn as PDS draws it, in the other direction
    inverse = filters.Filter(None, pixels).inverse()
    law = theory.propagate(sam.ddim, model, times, filt=inverse.at("prior"))
    assert law.covariance.shape == (n, n)


def test_any_linear_model_may_be_asked_and_no_other():
    """A network's adapter around a linear map gives the Gaussian's law; a clipped or mixed one is refused."""
    model = gaussian(VP)
    times = sch.geometric(VP, 8)

    def eps(x, t):
        alpha, sigma = VP.alpha(t[0].double()), VP.sigma(t[0].double())
        return (x - alpha * model.mean(x, float(t[0]))) / sigma

    told = denoisers.FromEps(eps, VP)
    law = theory.propagate(sam.ddpm, told, times, shape=(8, 8), basis="dct")
    exact = theory.propagate(sam.ddpm, model, times)
    assert (law.variance / exact.variance - 1).abs().max() < 1e-9
    for wrong, basis in ((denoisers.Clipped(told), "dct"), (told, "dft")):
        with pytest.raises(ParameterError, match="affine in x and diagonal"):
            theory.propagate(sam.ddpm, wrong, times, shape=(8, 8), basis=basis)


def test_propagate_looks_through_what_was_fixed_beforehand_and_through_no_grad():
    """A partial sampler is the sampler, its mean-field steps included; and readers sample under no_grad."""
    model, times = gaussian(VE), sch.geometric(VE, 6)
    fixed = partial(sam.predictor_corrector, predictor="ancestral", corrections=2)
    with torch.no_grad():
        law = theory.propagate(fixed, model, times, corrector_snr=0.1)
    named = {"predictor": "ancestral", "corrections": 2, "corrector_snr": 0.1}
    same = theory.propagate(sam.predictor_corrector, model, times, **named)
    assert torch.equal(law.variance, same.variance) and not law.exact


def test_mean_field_steps_agree_with_the_law_they_lead_to():
    """BASE-VE-PC: run on the steps of one law, the norms of that law give those steps again."""
    model, times = gaussian(VE, mean=0.5), sch.geometric(VE, 10)
    for filt in (zones(8), zones(8).at(drift=True)):
        sizes = theory.mean_field_steps(model, times, filt=filt, corrections=2)
        assert len(sizes) == 20
        for k in (0, 1, 10, 19):
            # the state before move k: a walk cut after k moves, by asking a model of the sampler's own moves
            states = []

            def spy(gradient, z, move, states=states, sizes=sizes):
                states.append((gradient, z))
                return sizes[move]

            n = 4000
            noise = sam.white_noise(k, dtype=torch.float64)
            with torch.no_grad():
                sam.last(
                    sam.predictor_corrector(
                        model, (n, 1, 8, 8), times, noise=noise, corrections=2, step_size=spy, filt=filt
                    )
                )
            gradient, z = states[k]
            seen = 2 * (0.16 * z.square().mean().sqrt() / gradient.square().mean().sqrt()) ** 2
            assert float(seen) == pytest.approx(sizes[k], rel=0.02)


def test_schedule_and_grid_agree_with_closed_forms():
    """BASE-VE-ANC: without signal the ancestral sampler is exact and reverse diffusion adds what the sum says."""
    model = denoisers.Gaussian(VE, torch.full((1, 1), 1e-30, dtype=torch.float64))
    times = sch.geometric(VE, 30)[:-1]  # ends at sigma_min, where the state should be pure noise
    law = theory.propagate(sam.ve_ancestral, model, times)
    assert float(law.variance) == pytest.approx(float(times[-1]) ** 2, rel=1e-9)
    law = theory.propagate(sam.predictor_corrector, model, times, corrections=0)
    v = float(times[0]) ** 2
    for t, s in itertools.pairwise(times.tolist()):
        v = (s / t) ** 4 * v + t**2 - s**2
    assert float(law.variance) == pytest.approx(v, rel=1e-9)
    assert v > 1.5 * float(times[-1]) ** 2
    # white data with unit variance: DDPM's large variance is exact
    white = denoisers.Gaussian(VP, torch.ones(2, 2, dtype=torch.float64))
    law = theory.propagate(sam.ddpm, white, sch.uniform(VP, 7)[:-1], variance="large")
    start = float(VP.sigma(1.0)) ** 2
    assert (law.variance - 1).abs().max() < 1.01 * (1 - start)


def test_limits_of_filtered_noise():
    """TDAS-9, PDS-3: with ever more steps TDAS tends to m^2 v, PDS' predictor to m^2 v / (2 m^2 - 1)."""
    schedule = sch.VE(1e-2, 50)
    v = torch.ones(1, 1, dtype=torch.float64)
    model = denoisers.Gaussian(schedule, v)
    times = sch.geometric(schedule, 2000)
    for m in (0.9, 1.2):
        filt = filters.scalar(m)
        reverse = partial(theory.propagate, sam.predictor_corrector, model, times, corrections=0)
        assert float(reverse(filt=filt).variance) == pytest.approx(m**2, rel=0.01)
        drift = float(reverse(filt=filt.at("prior", "predictor", drift=True)).variance)
        assert drift == pytest.approx(m**2 / (2 * m**2 - 1), rel=0.02)
    # a Langevin move with the drift keeps its target, one without does not
    times = torch.tensor([0.5, 0.0], dtype=torch.float64)
    named = {"eps": 5e-3, "per_level": 2400, "denoise": False}
    for m in (0.9, 1.2):
        for drift, target in ((True, 1.25), (False, 1.25 * m**2)):
            law = theory.propagate(sam.langevin, model, times, filt=filters.scalar(m, drift=drift), **named)
            assert float(law.variance) == pytest.approx(target, rel=2e-3)


def test_optimal_filter_is_optimal():
    """TDAS-7: all noise through gamma^(-1/2) makes a linear sampler's power exact."""
    model, times = gaussian(VE, 16), sch.geometric(VE, 15)
    data = theory.law_of(model)
    plain = theory.propagate(sam.predictor_corrector, model, times, corrections=0)
    best = filters.optimal(spectra.ratio(plain.power, data.power))
    law = theory.propagate(sam.predictor_corrector, model, times, corrections=0, filt=best)
    assert (law.variance / data.variance - 1).abs().max() < 1e-12
    assert theory.frechet(law, data) < 1e-20 < theory.frechet(plain, data)
    assert theory.kl(law, data) < 1e-20 < theory.kl(plain, data)


def test_distances():
    """Fréchet and KL against torch's distributions and a dense matrix root; the two forms of one law agree."""
    shape = (3, 4)
    a = theory.Law(torch.rand(shape).double(), torch.rand(shape).double() + 0.1, "dct")
    b = theory.Law(torch.rand(shape).double(), torch.rand(shape).double() + 0.1, "dct")
    one, two = theory.dense(a), theory.dense(b)
    normal = torch.distributions.MultivariateNormal
    p = normal(one.mean.flatten(), one.covariance)
    q = normal(two.mean.flatten(), two.covariance)
    expected = float(torch.distributions.kl_divergence(p, q))
    assert theory.kl(a, b) == pytest.approx(expected, rel=1e-9)
    assert theory.kl(one, two) == pytest.approx(expected, rel=1e-9)
    assert theory.frechet(a, b) == pytest.approx(theory.frechet(one, two), rel=1e-9)
    values = torch.linalg.eigvals(one.covariance @ two.covariance)
    root = float(values.sqrt().real.sum())
    frechet = (one.mean - two.mean).square().sum() + one.covariance.trace() + two.covariance.trace() - 2 * root
    assert theory.frechet(one, two) == pytest.approx(float(frechet), rel=1e-9)
    assert theory.frechet(a, a) == theory.kl(a, a) == 0
    empty = theory.Law(a.mean, torch.zeros(shape).double(), "dct")
    assert theory.kl(empty, a) == math.inf == theory.kl(a, empty)
    assert theory.frechet(a, empty) > 0
    assert theory.kl(theory.dense(empty), one) == math.inf == theory.kl(one, theory.dense(empty))
    with pytest.raises(ShapeError, match="one shape"):
        theory.kl(a, theory.Law(a.mean[:2], a.variance[:2], "dct"))
    with pytest.raises(ShapeError, match="one basis"):
        theory.frechet(a, theory.Law(a.mean, a.variance, "dft"))


@pytest.mark.parametrize("basis", ["dct", "dft"])
def test_rings_stand_for_the_whole_image(basis):
    """TDAS-12: a law of the radius alone, weighted by counts, has the full grid's distance; joined rings nearly."""
    size = 32
    ring = theory.rings(size, basis)
    assert float(ring.count.sum()) == size**2
    full = spectra.radius((size, size), basis)
    assert float((ring.frequency * ring.count).sum()) == pytest.approx(float(full.sum()))
    v = theory.power_law(ring, 2.0)
    assert float((v * ring.count).sum() / size**2) == pytest.approx(1)
    times = sch.geometric(VE, 10)
    sampler = partial(theory.propagate, sam.predictor_corrector)
    named = {"corrector_snr": 0.1}
    model = denoisers.Gaussian(VE, v[None])
    radial = sampler(model, times, weights=ring.count[None], **named)
    index = torch.bucketize(spectra.square_distance((size, size), basis), ring.squared - 0.5) - 1
    grid = denoisers.Gaussian(VE, v[index], basis=basis)
    whole = sampler(grid, times, **named)
    assert (radial.variance[0][index] / whole.variance - 1).abs().max() < 1e-10
    near = theory.frechet(radial, theory.law_of(model), weights=ring.count[None])
    assert near == pytest.approx(theory.frechet(whole, theory.law_of(grid)), rel=1e-9)
    few = theory.rings(size, basis, most=60)
    assert len(few.count) <= 60
    assert float(few.count.sum()) == size**2
    coarse = denoisers.Gaussian(VE, theory.power_law(few, 2.0)[None])
    law = sampler(coarse, times, weights=few.count[None], **named)
    assert theory.frechet(law, theory.law_of(coarse), weights=few.count[None]) == pytest.approx(near, rel=0.02)


def test_what_propagate_refuses():
    model = gaussian(VE, 32)
    masked = filters.Filter(space=torch.ones(32, 32))
    with pytest.raises(ParameterError, match="16 x 16 pixels only, not 32 x 32"):
        theory.propagate(sam.ve_ancestral, model, sch.geometric(VE, 3), filt=masked)
    other = filters.tdas((32, 32), 0.5, 0.2, "dft")
    with pytest.raises(ParameterError, match="another basis"):
        theory.propagate(sam.ve_ancestral, model, sch.geometric(VE, 3), filt=other)
    with pytest.raises(ParameterError, match="shape must be given"):
        theory.propagate(sam.ddim, denoisers.FromX0(lambda x, t: x, VE), sch.geometric(VE, 3))
    small, grid = gaussian(VE), sch.geometric(VE, 3)
    with pytest.raises(ParameterError, match="corrector_snr is for"):
        theory.propagate(sam.ddim, small, grid, corrector_snr=0.1)
    for mean in (0.0, 0.3):
        with pytest.raises(ParameterError, match="step_size must not depend on the state"):
            theory.propagate(sam.predictor_corrector, gaussian(VE, mean=mean), grid, step_size=sam.snr_step())
    with pytest.raises(ParameterError, match="at most 1024"):
        theory.dense(theory.law_of(gaussian(VE, 64)))


@pytest.mark.parametrize("basis", ["dct", "dft"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_analytic_by_frequency_is_exact_however_few_the_steps(basis, steps):
    """BASE-ADDIM, one Gamma per frequency: every step draws from the exact conditional law; one Gamma does not."""
    schedule = sch.VE(0.05, 1e4)
    model = gaussian(schedule, 8, basis)
    times = sch.geometric(schedule, steps + 1)[:-1]  # to the last level that has noise, where the law is known

    def power(t):
        return t**2 / (model.variance + t**2)

    law = theory.propagate(sam.analytic, model, times, eps_power=power, power_basis=basis)
    target = model.variance + 0.05**2
    assert law.nfe == steps
    assert (law.variance / target - 1).abs().max() < 1e-6
    one = theory.propagate(sam.analytic, model, times, eps_power=lambda t: power(t).mean(), clamp=False)
    assert (one.variance / target - 1).abs().max() > 0.1
    if steps == 1:  # right on average, but for what an earlier step got wrong
        assert float(one.variance.mean() / target.mean()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("basis", ["dct", "dft"])
def test_gamma_by_frequency(basis):
    """BASE-ADDIM: mean square eps of an exact denoiser is sigma^2 / (alpha^2 v + sigma^2) at every frequency."""
    model = gaussian(VP, 8, basis)
    times = torch.tensor([0.9, 0.4, 0.1, 0.0], dtype=torch.float64)
    clean = model.sample(torch.randn(6000, 1, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    found = sam.mean_square_eps(model, clean, times, noise=sam.white_noise(5, dtype=torch.float64), basis=basis)
    alpha, sigma = (scale(times[:-1])[:, None, None, None] for scale in (VP.alpha, VP.sigma))
    exact = sigma**2 / (alpha**2 * model.variance + sigma**2)
    assert found.shape == (3, 1, 8, 8)
    z = (found / exact - 1) * math.sqrt(6000 / 2)
    assert z.abs().max() < 4.5
    assert float(z.square().mean()) == pytest.approx(1, abs=0.3)
    alone = sam.mean_square_eps(model, clean, times, noise=sam.white_noise(5, dtype=torch.float64))
    assert torch.allclose(alone, found.mean((1, 2, 3)), rtol=1e-12)

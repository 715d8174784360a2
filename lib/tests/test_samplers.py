"""Samplers against diffusers, against each other, and against the order that their theory promises."""

import itertools
import math
from functools import partial

import pytest
import torch

from fewsteps import denoisers, filters
from fewsteps import samplers as sam
from fewsteps import schedules as sch
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.transforms import dct2, idct2

VE = sch.VE(0.01, 50)
VP = sch.VPLinear()
STEPS = sch.Discrete.linear(1000)
SHAPE = (2, 1, 8, 8)
POWER = 1 / (1 + torch.arange(8.0, dtype=torch.float64)[:, None] ** 2 + torch.arange(8.0, dtype=torch.float64) ** 2)
EVERY = {
    "langevin": (partial(sam.langevin, per_level=2), VE, 2),
    "predictor_corrector": (sam.predictor_corrector, VE, 2),
    "ve_ancestral": (sam.ve_ancestral, VE, 1),
    "ddpm": (sam.ddpm, VP, 1),
    "ddim": (sam.ddim, VP, 1),
    "ddim, eta .5": (partial(sam.ddim, eta=0.5), STEPS, 1),
    "analytic": (partial(sam.analytic, eps_power=lambda t: 0.6), VP, 1),
    "heun": (sam.heun, VE, 2),
    "dpmpp_2m": (sam.dpmpp_2m, VP, 1),
}


def gaussian(schedule, mean=0.0):
    return denoisers.Gaussian(schedule, POWER, mean, basis="dct")


def noise(seed=0):
    return sam.white_noise(seed, dtype=torch.float64)


def white(*shape, seed=0):
    return noise(seed)(shape)


class Counted(denoisers.MeanOnly):
    """A denoiser that counts its calls and spoils one of them."""

    def __init__(self, model, bad=None):
        self.model, self.schedule, self.calls, self.bad = model, model.schedule, 0, bad

    def mean(self, x, t, cond=None):
        self.calls += 1
        self.told = cond
        mean = self.model.mean(x, t)
        return mean * math.nan if self.calls == self.bad else mean


@pytest.mark.parametrize("name", EVERY)
def test_calls_are_counted_and_seeds_repeat(name):
    """BASE-VE-PC: calls counted are nfe, never steps; same seed, same bits; another seed, other bits."""
    sampler, schedule, per_step = EVERY[name]
    times = sch.geometric(schedule, 7)
    model = Counted(gaussian(schedule))
    steps = list(sampler(model, SHAPE, times, noise=noise(), cond="told"))
    assert model.told == "told"
    assert [step.i for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].nfe == model.calls
    extra = {"langevin": 1, "heun": -1}.get(name, 0)
    assert steps[-1].nfe == 7 * per_step + extra
    assert steps[-1].t == 0
    again = sam.last(sampler(gaussian(schedule), SHAPE, times, noise=noise()))
    assert torch.equal(again, steps[-1].x)
    assert not torch.equal(sam.last(sampler(gaussian(schedule), SHAPE, times, noise=noise(1))), again)
    with pytest.raises(AttributeError):
        steps[-1].x = None


@pytest.mark.parametrize("name", EVERY)
def test_identity_filter_is_no_filter(name):
    """TDAS-3: all-one masks change nothing but the last bits."""
    sampler, schedule, _ = EVERY[name]
    places = {"ddim": ("prior",), "heun": ("prior",), "dpmpp_2m": ("prior",)}.get(name, ())
    ones = filters.tdas((8, 8), 1.0, 0.2).at(*places)
    times = sch.geometric(schedule, 5)

    # One-transform noise reads its draw as coefficients; hand it those of the draw that the plain run uses.
    same = noise()

    def coefficients(shape):
        return dct2(same(shape))

    plain = sam.last(sampler(gaussian(schedule), SHAPE, times, noise=noise()))
    filtered = sam.last(sampler(gaussian(schedule), SHAPE, times, noise=coefficients, filt=ones))
    assert (filtered - plain).abs().max() < 1e-10 * (1 + float(plain.abs().max()))


def run(sampler, schedule, times, seed=0, **named):
    return sam.last(sampler(gaussian(schedule), white(*SHAPE, seed=9), times, noise=noise(seed), **named))


def test_documented_equivalences():
    """BASE-DDPM, BASE-DDIM, BASE-VE-ANC: one step seen through many names."""
    times = sch.quadratic(VP, 20)
    assert torch.equal(run(sam.ddim, VP, times, eta=1.0), run(sam.ddpm, VP, times))
    ve = sch.geometric(VE, 20)
    ancestral = run(sam.ve_ancestral, VE, ve)
    assert (ancestral - run(sam.ddpm, VE, ve)).abs().max() < 1e-12
    pc = partial(sam.predictor_corrector, corrections=0)
    assert (run(pc, VE, ve) - run(sam.ddpm, VE, ve, variance="large")).abs().max() < 1e-10
    assert (run(pc, VE, ve, predictor="ancestral") - ancestral).abs().max() < 1e-12
    assert (run(pc, VE, ve, predictor="ddpm") - ancestral).abs().max() < 1e-12
    # on a geometric grid ancestral sampling is reverse diffusion with a scalar filter on its noise
    geometric = ve[:-1]
    ratio = float(geometric[1] / geometric[0])
    scaled = filters.scalar(ratio, where={"predictor"})
    assert (run(pc, VE, geometric, filt=scaled) - run(sam.ve_ancestral, VE, geometric)).abs().max() < 1e-9
    # with nothing unknown about x0, the analytic variance is DDIM's own
    sure = partial(sam.analytic, eps_power=torch.ones(20), eta=0.3)
    assert (run(sure, VP, times) - run(sam.ddim, VP, times, eta=0.3)).abs().max() < 1e-12


def test_ddim_is_euler():
    """BASE-DDIM: eta = 0 is Euler's method on x / alpha against sigma / alpha, and the first step of 2M."""
    times = sch.uniform(VP, 10)
    model, x = gaussian(VP), white(*SHAPE, seed=9)
    level = (VP.sigma(times) / VP.alpha(times)).tolist()
    y = x / float(VP.alpha(times[0]))
    for k in range(10):
        alpha = float(VP.alpha(times[k]))
        y = y + (level[k + 1] - level[k]) * (y - model.mean(alpha * y, float(times[k]))) / level[k]
    assert (run(sam.ddim, VP, times) - y).abs().max() < 1e-12
    assert (run(sam.dpmpp_2m, VP, times[:2]) - run(sam.ddim, VP, times[:2])).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("sampler", "order"), [(sam.ddim, 1), (sam.heun, 2), (sam.dpmpp_2m, 2)], ids=["ddim", "heun", "dpmpp_2m"]
)
@pytest.mark.parametrize("schedule", [VE, VP], ids=["VE", "VP"])
def test_order_of_convergence(sampler, order, schedule):
    """BASE-DDIM, BASE-HEUN, BASE-DPMS: error against the exact flow falls as steps^-order on Gaussian data."""
    ends = torch.tensor([0.5, 0.02] if schedule is VP else [5.0, 0.05], dtype=torch.float64)
    centre = white(8, 8, seed=4)
    model = gaussian(schedule, centre)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    x = white(*SHAPE, seed=9)
    # every coefficient keeps its place in units of its own spread
    spread = (alpha[:, None, None] ** 2 * POWER + sigma[:, None, None] ** 2).sqrt()
    exact = alpha[1] * centre + idct2(spread[1] / spread[0] * dct2(x - alpha[0] * centre))
    errors = []
    for steps in (40, 80, 160, 320):
        fraction = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        times = schedule.time(torch.exp(torch.lerp(*(sigma / alpha).log(), fraction)))
        errors.append(float((sam.last(sampler(model, x, times, noise=noise())) - exact).abs().max()))
    rates = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert abs(rates[-1] - order) < 0.1, (rates, errors)


class TestAgainstDiffusers:
    """The same denoiser in the schedulers that most people run: largest absolute difference below 1e-9."""

    TIMES = torch.cat((torch.arange(981, 0, -20), torch.zeros(1))).double()  # diffusers' 50 steps, counted from 1

    def ours(self, sampler, model, start, times, **named):
        return sam.last(sampler(model, start, times, noise=noise(3), **named))

    def theirs(self, scheduler, model, x, steps=50, **named):
        scheduler.alphas_cumprod = STEPS.alpha_bars[1:]  # theirs are rounded to float32
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            alpha, sigma = float(STEPS.alpha(float(t) + 1)), float(STEPS.sigma(float(t) + 1))
            eps = (x - alpha * model.mean(x, float(t) + 1)) / sigma
            x = scheduler.step(eps, t, x, **named).prev_sample
        return x

    @pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
    def test_ddim(self, eta):
        """BASE-DDIM."""
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="leading", beta_start=1e-4, beta_end=0.02)
        x, model = white(*SHAPE), gaussian(STEPS)
        generator = torch.Generator().manual_seed(3)
        theirs = self.theirs(scheduler, model, x, eta=eta, generator=generator if eta else None)
        assert (self.ours(sam.ddim, model, x, self.TIMES, eta=eta) - theirs).abs().max() < 1e-9

    @pytest.mark.parametrize("variance", ["small", "large"])
    def test_ddpm(self, variance):
        """BASE-DDPM."""
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler(clip_sample=False, variance_type=f"fixed_{variance}", timestep_spacing="leading")
        x, model = white(*SHAPE), gaussian(STEPS)
        theirs = self.theirs(scheduler, model, x, generator=torch.Generator().manual_seed(3))
        assert (self.ours(sam.ddpm, model, x, self.TIMES, variance=variance) - theirs).abs().max() < 1e-9

    def test_dpm_solver(self):
        """BASE-DPMS."""
        from diffusers import DPMSolverMultistepScheduler

        scheduler = DPMSolverMultistepScheduler(
            timestep_spacing="leading", final_sigmas_type="zero", lower_order_final=False, steps_offset=0
        )
        x, model = white(*SHAPE), gaussian(STEPS)
        scheduler.set_timesteps(50)
        index = scheduler.timesteps + 1
        times = torch.cat((index.double(), torch.zeros(1, dtype=torch.float64)))
        scheduler.sigmas = STEPS.sigma(times) / STEPS.alpha(times)
        theirs = x
        for t in scheduler.timesteps:
            at = float(t) + 1
            eps = (theirs - float(STEPS.alpha(at)) * model.mean(theirs, at)) / float(STEPS.sigma(at))
            theirs = scheduler.step(eps, t, theirs).prev_sample
        # they round the state to float32 at every step: 2^-24 per step of a state below 4
        bound = 50 * 4 * 2**-24
        assert (self.ours(sam.dpmpp_2m, model, x, times) - theirs).abs().max() < bound

    def test_ve_predictor_corrector(self, monkeypatch):
        """BASE-VE-PC: corrector, then predictor, at the same level; the noiseless mean in the end."""
        from diffusers import ScoreSdeVeScheduler
        from diffusers.schedulers import scheduling_sde_ve

        def randn(shape, generator, **_):  # theirs would draw one of its two noises in float32
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        monkeypatch.setattr(scheduling_sde_ve, "randn_tensor", randn)

        count, snr = 30, 0.17
        scheduler = ScoreSdeVeScheduler(num_train_timesteps=count, snr=snr, sigma_min=0.01, sigma_max=50.0)
        scheduler.set_timesteps(count)
        scheduler.set_sigmas(count)
        times = sch.geometric(VE, count)
        assert (scheduler.discrete_sigmas.double().flip(0) / times[:-1] - 1).abs().max() < 1e-5
        scheduler.discrete_sigmas = times[:-1].flip(0)
        scheduler.sigmas = scheduler.discrete_sigmas
        model, x = gaussian(VE), 50 * white(*SHAPE)
        generator, theirs = torch.Generator().manual_seed(3), x
        for k, t in enumerate(times[:-1]):
            at = torch.tensor((count - 1 - k + (0.25 if k else 0)) / (count - 1), dtype=torch.float64)
            score = denoisers.score(model, theirs, float(t))
            theirs = scheduler.step_correct(score, theirs, generator=generator).prev_sample
            score = denoisers.score(model, theirs, float(t))
            out = scheduler.step_pred(score, at, theirs, generator=generator)
            theirs = out.prev_sample
        ours = self.ours(sam.predictor_corrector, model, x, times, step_size=sam.snr_step(snr))
        # theirs multiplies the step size with float32 ones: one rounding of 2^-24 per step, the state ends below 1
        assert (ours - out.prev_sample_mean).abs().max() < count * 2**-24


def test_langevin_samples_its_target_with_the_inflation_that_it_says():
    """BASE-NCSN, BASE-NCSNv2: at one level the stationary variance is s / (1 - a / (4 s)), s = v + sigma^2."""
    schedule = sch.VE(0.5, 2)
    v = torch.tensor([[0.2, 1.0, 4.0]], dtype=torch.float64)
    model = denoisers.Gaussian(schedule, v)
    times = torch.tensor([0.5, 0.0], dtype=torch.float64)
    eps = 0.4 * 0.25
    n = 20000
    x = sam.last(sam.langevin(model, (n, 1, 3), times, noise=noise(), eps=eps, per_level=300, denoise=False))
    target = v + 0.25
    expected = target / (1 - eps / (4 * target))
    z = (x.var(0) / expected - 1) / math.sqrt(2 / n)
    assert z.abs().max() < 5
    denoised = list(sam.langevin(model, (4, 1, 3), times, noise=noise(), eps=eps, per_level=2))
    assert len(denoised) == 3 and denoised[-1].t == 0
    assert torch.equal(denoised[-1].x, model.mean(denoised[-2].x, 0.5))
    assert sam.langevin_eps(2e-5, 10, 0.01) == pytest.approx(1e-4)  # capped: 2e-4 would be twice sigma^2
    assert sam.langevin_eps(2e-5, 2, 0.01) == 4e-5


def test_corrector_does_not_see_the_scale_of_a_preconditioner():
    """PDS-3: with a drift, M and 5 M give the same move; norms are averaged over the batch."""
    times = sch.geometric(VE, 6)
    first = filters.pds_radial((8, 8), 0.2, 1.6, where={"corrector"})
    scaled = filters.Filter(5 * first.frequency.exact, basis="dft", where={"corrector"}, drift=True)
    one, two = (run(sam.predictor_corrector, VE, times, filt=f) for f in (first, scaled))
    assert (one - two).abs().max() < 1e-9
    both = white(2, 1, 8, 8, seed=9)
    together = sam.last(sam.predictor_corrector(gaussian(VE), both, times[:2], noise=lambda s: white(*s, seed=8)))
    alone = sam.last(
        sam.predictor_corrector(gaussian(VE), both[:1], times[:2], noise=lambda s: white(2, *s[1:], seed=8)[: s[0]])
    )
    assert (together[:1] - alone).abs().max() > 1e-6


def test_mean_square_eps_is_the_gaussians():
    """BASE-ADDIM: Gamma of a Gaussian is the mean of sigma^2 / (alpha^2 v + sigma^2)."""
    model, times = gaussian(VP), sch.uniform(VP, 4)
    clean = model.sample(white(3000, 1, 8, 8))
    measured = sam.mean_square_eps(model, clean, times, noise=noise(5))
    for k, t in enumerate(times[:-1]):
        alpha, sigma = float(VP.alpha(t)), float(VP.sigma(t))
        terms = sigma**2 / (alpha**2 * POWER + sigma**2)
        error = math.sqrt(2 * float(terms.square().mean()) / (3000 * 64))
        assert abs(float(measured[k]) - float(terms.mean())) < 5 * error
    # and with it the injected variance is right for white data, at any number of steps
    spread = denoisers.Gaussian(VP, torch.full((8, 8), 0.3, dtype=torch.float64), basis="dct")
    power = torch.tensor([float(VP.sigma(t) ** 2 / (VP.alpha(t) ** 2 * 0.3 + VP.sigma(t) ** 2)) for t in times[:-1]])
    x = sam.last(sam.analytic(spread, (4000, 1, 8, 8), times[:-1], noise=noise(6), eps_power=power[:-1]))
    expected = float(VP.alpha(times[-2]) ** 2 * 0.3 + VP.sigma(times[-2]) ** 2)
    assert abs(float(x.var()) / expected - 1) < 5 * math.sqrt(2 / x.numel()) + 1e-4  # the start is not quite N(0, 1)


def test_analytic_caps_the_last_injection():
    """TDAS-10: the last noise that is put back spreads at most so much."""
    times = sch.uniform(VP, 3)
    drawn = []

    def source(shape):
        drawn.append(white(*shape, seed=len(drawn)))
        return drawn[-1]

    named = {"eps_power": torch.tensor([0.5, 0.5, 0.5]), "last_spread": 0.0}
    steps = list(sam.analytic(gaussian(VP), white(*SHAPE, seed=9), times, noise=source, **named))
    free = list(sam.analytic(gaussian(VP), white(*SHAPE, seed=9), times, noise=lambda s: 0 * white(*s), **named))
    assert len(drawn) == 2
    assert (steps[0].x - free[0].x).abs().max() > 0.1
    second = list(
        sam.analytic(
            gaussian(VP), steps[0].x, times[1:], noise=lambda s: 0 * white(*s), eps_power=named["eps_power"][1:]
        )
    )
    assert torch.equal(second[0].x, steps[1].x)


@pytest.mark.parametrize("name", EVERY)
def test_a_broken_model_is_named_with_its_iteration(name):
    sampler, schedule, per_step = EVERY[name]
    model = Counted(gaussian(schedule), bad=2 * per_step + 1)
    iteration = 5 if name == "langevin" else 3
    with pytest.raises(ShapeError, match=rf"NaN or infinite values at iteration {iteration} of"):
        sam.last(sampler(model, SHAPE, sch.geometric(schedule, 6), noise=noise()))


class Elsewhere(torch.Tensor):
    """Numbers on the CPU that say they are on a GPU, whose sums are not to be waited for."""

    device = torch.device("cuda")


@pytest.mark.parametrize("name", EVERY)
def test_a_model_that_breaks_on_a_device_is_named_at_the_end_with_its_first_bad_iteration(name):
    sampler, schedule, per_step = EVERY[name]

    class Far(Counted):
        def mean(self, x, t, cond=None):
            return super().mean(x.as_subclass(torch.Tensor), t).as_subclass(Elsewhere)

    times, made = sch.geometric(schedule, 6), []
    model = Far(gaussian(schedule), bad=2 * per_step + 1)
    iteration = 5 if name == "langevin" else 3
    with pytest.raises(ShapeError, match=rf"NaN or infinite values at iteration {iteration} of"):
        made.extend(sampler(model, SHAPE, times, noise=noise()))
    assert model.calls == made[-1].nfe and made[-1].t == 0  # nothing was waited for before
    assert len(list(sampler(Far(gaussian(schedule)), SHAPE, times, noise=noise()))) == len(made)


@pytest.mark.parametrize(
    ("name", "asked", "sentence"),
    [
        ("ddim", filters.scalar(0.9), "injects no noise"),
        ("heun", filters.scalar(0.9), "injects no noise"),
        ("dpmpp_2m", filters.scalar(0.9).at("predictor"), "cannot filter noise at predictor"),
        ("ddpm", filters.scalar(0.9).at("corrector"), "cannot filter noise at corrector"),
        ("ddpm", filters.scalar(0.9, drift=True), "no score term"),
        ("analytic", filters.scalar(0.9, drift=True), "no score term"),
        ("langevin", filters.scalar(0.9).at("predictor"), "cannot filter noise at predictor"),
        ("ve_ancestral", filters.scalar(0.9).at("prior", "corrector"), "cannot filter noise at corrector"),
        ("predictor_corrector", filters.scalar(0.9, drift=True).at("prior"), "nothing to act on at the start"),
        ("ddim, eta .5", filters.tdas((16, 16), 0.5, 0.2), r"shape \(..., 16, 16\), not \(2, 1, 8, 8\)"),
    ],
)
def test_no_part_of_a_filter_is_ignored(name, asked, sentence):
    """PDS-3: what a sampler cannot honour it refuses."""
    sampler, schedule, _ = EVERY[name]
    with pytest.raises((ParameterError, ShapeError), match=sentence):
        sam.last(sampler(gaussian(schedule), SHAPE, sch.geometric(schedule, 4), noise=noise(), filt=asked))


def test_a_given_start_is_not_filtered_in_silence():
    given, times = white(*SHAPE), sch.geometric(VP, 4)
    with pytest.raises(ParameterError, match="its start is given"):
        sam.last(sam.ddpm(gaussian(VP), given, times, noise=noise(), filt=filters.scalar(0.9).at("prior", "predictor")))
    everywhere = sam.last(sam.ddpm(gaussian(VP), given, times, noise=noise(), filt=filters.scalar(0.9)))
    injected = sam.last(sam.ddpm(gaussian(VP), given, times, noise=noise(), filt=filters.scalar(0.9).at("predictor")))
    assert torch.equal(everywhere, injected)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_in_a_loop_waits_for_the_device(name):
    """On the meta device there are no numbers, and reading one raises: filters, NaN watch and all read none."""
    sampler, schedule, _ = EVERY[name]
    filt = filters.tdas((8, 8), 0.9, 0.3)
    if name in ("ddim", "heun", "dpmpp_2m"):
        filt = filt.at("prior")
    elif name in ("langevin", "predictor_corrector", "ve_ancestral"):
        filt = filt.at(drift=True)

    def source(shape):
        return torch.empty(shape, device="meta")

    def walk(model):
        times = sch.geometric(schedule, 6)
        steps = sampler(model, SHAPE, times, noise=source, filt=filt)
        return [step.x for step in itertools.islice(steps, 5)]  # after the last one the watch may be read

    states = walk(gaussian(schedule))
    assert len(states) == 5 and all(x.device.type == "meta" for x in states)

    class Reads(Counted):
        def mean(self, x, t, cond=None):
            return super().mean(x, t) * float(x.sum())

    with pytest.raises(RuntimeError, match="meta"):
        walk(Reads(gaussian(schedule)))


def test_edges_of_grids_and_of_precision():
    """What a review found: the last injection of a grid that does not reach 0, half precision at large noise."""
    times = sch.uniform(VP, 4)[:-1]
    free, capped = (
        list(
            sam.analytic(
                gaussian(VP), white(*SHAPE, seed=9), times, noise=noise(1), eps_power=torch.full((3,), 0.5), **named
            )
        )
        for named in ({}, {"last_spread": 0.0})
    )
    assert torch.equal(free[1].x, capped[1].x)
    assert not torch.equal(free[2].x, capped[2].x)
    large = sch.VE(0.01, 1348)
    half = sam.last(
        sam.predictor_corrector(
            gaussian(large), SHAPE, sch.geometric(large, 20), noise=sam.white_noise(0, dtype=torch.float16)
        )
    )
    assert half.dtype == torch.float16 and bool(torch.isfinite(half).all())
    points = denoisers.Empirical(VE, white(5, *SHAPE[1:]))
    assert points.mean(white(*SHAPE).half(), 1.0).dtype == torch.float16
    pixelwise = sch.PixelAware(torch.rand(1, 8, 8).double().clamp_min(0.01), 20.0)
    field = denoisers.FromX0(lambda x, t: x, pixelwise)
    with pytest.raises(ParameterError, match="one noise level for the whole image"):
        sam.last(sam.langevin(field, SHAPE, sch.uniform(pixelwise, 3), noise=noise()))
    assert sam.last(sam.ddpm(field, SHAPE, sch.uniform(pixelwise, 3), noise=noise())).shape == SHAPE


def test_analytic_dpm_believes_no_more_variance_than_images_have():
    """TDAS-10: what is unknown of x0 is cut at 1, as Bao et al. do for images in [-1, 1]; at first it is far more."""
    schedule, times = sch.VPLinear(), torch.tensor([1.0, 0.5], dtype=torch.float64)
    (a_t, a_s), (s_t, s_s) = (f(times).tolist() for f in (schedule.alpha, schedule.sigma))
    start, given = white(*SHAPE), {"eps_power": lambda t: 0.0, "eta": 0.0}
    kept, loose = (
        next(sam.analytic(gaussian(schedule), start, times, noise=noise(3), clamp=clamp, **given)).x
        for clamp in (True, False)
    )
    spread = abs(a_s - s_s / s_t * a_t) * (s_t / a_t - 1)
    assert torch.allclose(loose - kept, spread * white(*SHAPE, seed=3), atol=1e-9)


def test_langevin_goes_to_the_data_from_a_grid_that_does_not():
    """BASE-NCSN: the last level has its moves as well, before the noise that is left is taken off."""
    schedule = sch.VE(0.01, 50)
    whole = sch.geometric(schedule, 4)
    for times in (whole, whole[:-1]):
        steps = list(sam.langevin(gaussian(schedule), SHAPE, times, noise=noise(), per_level=2, denoise=False))
        assert len(steps) == 8

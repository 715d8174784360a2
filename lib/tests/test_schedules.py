"""Schedules against definitions, diffusers-style products, quadrature and simulation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from fewsteps import schedules as sch

CONTINUOUS = [sch.VE(0.01, 50), sch.VPLinear(), sch.VPCosine()]
ALL = [*CONTINUOUS, sch.Discrete.linear(1000), sch.Discrete.cosine(200)]
pixels = st.floats(sch.PIXEL_MIN, 1)
gammas = st.floats(0.5, 60)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_schedules_start_clean_and_lose_snr(schedule):
    """PX-2: SNR falls strictly, from infinity at t = 0; every schedule satisfies the protocol."""
    assert isinstance(schedule, sch.Schedule)
    assert float(schedule.alpha(0.0)) == pytest.approx(1, abs=1e-15)
    assert float(schedule.sigma(0.0)) == pytest.approx(0, abs=1e-15)
    times = sch.uniform(schedule, 100)
    assert bool((sch.snr(schedule, times[:-1]).diff() > 0).all())
    assert math.isinf(sch.snr(schedule, 0.0))


@pytest.mark.parametrize("schedule", [*CONTINUOUS[1:], *ALL[3:]], ids=lambda s: type(s).__name__)
def test_variance_preserving_preserves(schedule):
    times = sch.uniform(schedule, 50)
    total = schedule.alpha(times).square() + schedule.sigma(times).square()
    assert (total - 1).abs().max() < 1e-14


def test_linear_rate_is_the_integral():
    schedule = sch.VPLinear(0.1, 20)
    for t in (1e-6, 0.01, 0.5, 1.0):
        area, _ = integrate.quad(lambda s: 0.1 + s * 19.9, 0, t)
        assert float(schedule.alpha(t)) == pytest.approx(math.exp(-area / 2), rel=1e-12)
        assert float(schedule.sigma(t)) == pytest.approx(math.sqrt(-math.expm1(-area)), rel=1e-12)


@pytest.mark.parametrize("schedule", CONTINUOUS, ids=lambda s: type(s).__name__)
def test_time_inverts_the_noise_level(schedule):
    times = sch.uniform(schedule, 64)[:-1]
    again = schedule.time(schedule.sigma(times) / schedule.alpha(times))
    assert torch.allclose(again, times, rtol=1e-9)


def test_discrete_is_the_cumulative_product():
    """BASE-DDPM's alpha_bar, step by step, for the linear and the cosine betas."""
    for schedule in (sch.Discrete.linear(1000), sch.Discrete.cosine(1000)):
        product = torch.cumprod(1 - schedule.betas, 0)
        assert torch.allclose(schedule.alpha_bars[1:], product, rtol=1e-10)
        assert torch.equal(
            schedule.time(schedule.sigma(torch.arange(1.0, 1001)) / schedule.alpha(torch.arange(1.0, 1001))).long(),
            torch.arange(1, 1001),
        )
    assert float(sch.Discrete.cosine(1000).betas.max()) == 0.999


def test_discrete_has_the_published_ends():
    """Two values of the linear schedule that every implementation shares."""
    schedule = sch.Discrete.linear(1000, 1e-4, 0.02)
    assert float(schedule.alpha_bars[1]) == pytest.approx(0.9999, abs=1e-12)
    assert float(schedule.alpha_bars[1000]) == pytest.approx(4.0358e-5, rel=1e-3)


@pytest.mark.parametrize("steps", [2, 4, 100])
def test_eq_12_is_the_linear_schedule_sampled(steps):
    """PD-1: Eq. 12, term by term."""
    t = torch.arange(1, steps + 1, dtype=torch.float64)
    printed = 1 - torch.exp(-0.1 / steps - 0.5 * (20 - 0.1) * (2 * t - 1) / steps**2)
    assert torch.allclose(sch.Discrete.from_vp(sch.VPLinear(0.1, 20), steps).betas, printed, rtol=1e-11)


@pytest.mark.parametrize(("tie", "alpha_bar_1"), [("smallest", 0.658), ("largest", 0.746)])
def test_progressive_schedule_of_two_steps(tie, alpha_bar_1):
    """PD-1: T = 2 is reached from T^ = 5 and 6; Eq. 13 makes it end where the ordinary schedule ends."""
    schedule = sch.progressive(2, tie=tie)
    assert sch.progressive_lengths(2) == [5, 6]
    assert float(schedule.alpha_bars[1]) == pytest.approx(alpha_bar_1, abs=5e-4)
    ordinary = sch.Discrete.from_vp(sch.VPLinear(0.1, 20), 5)
    assert float(schedule.alpha_bars[2]) == pytest.approx(float(ordinary.alpha_bars[-1]), rel=1e-9)


@settings(max_examples=25)
@given(st.integers(2, 12), st.floats(0.02, 1))
def test_progressive_lengths_match_a_search(steps, threshold):
    """PD-1: SNR(t^) > threshold > SNR(t^ + 1), by looking at every schedule."""
    found = []
    for length in range(steps + 1, 20 * steps):
        schedule = sch.Discrete.from_vp(sch.VPLinear(0.1, 20), length)
        ratio = sch.snr(schedule, torch.tensor([steps, steps + 1.0]))
        if ratio[0] > threshold > ratio[1]:
            found.append(length)
    assert sch.progressive_lengths(steps, threshold=threshold) == found


def test_ordinary_two_steps_destroy_the_semantics():
    """PD-1: the standard T = 2 schedule is below SNR 0.1 in the middle, the special one well above."""
    assert float(sch.snr(sch.Discrete.from_vp(sch.VPLinear(), 2), 1.0)) < 0.1
    assert float(sch.snr(sch.progressive(2), 1.0)) > 1


@given(pixels, gammas, st.floats(0.001, 1))
def test_pixel_schedule_is_the_papers(x, gamma, t):
    """PX-1, PX-2: Eq. 7-9 and 11 in one another's terms."""
    x0 = torch.tensor([x], dtype=torch.float64)
    schedule = sch.PixelAware(x0, gamma)
    scale = sch.image_scale(x0, gamma)
    assert torch.allclose(schedule.alpha_bar(t), scale**t, rtol=1e-12)
    assert torch.allclose(schedule.alpha(t).square() + schedule.sigma(t).square(), torch.ones(1).double())
    assert torch.allclose(sch.snr(schedule, t, power=x0**2), sch.pixel_snr(x0, t, gamma), rtol=1e-9)
    assert torch.allclose(-scale.log() / gamma, x0, rtol=1e-9)


def test_pixel_steps_multiply_up():
    """PX-1: alpha_i = x_delta^(1/T) per step, Eq. 8, after i steps is Eq. 9."""
    x0 = torch.linspace(sch.PIXEL_MIN, 1, 50, dtype=torch.float64)
    step = sch.image_scale(x0, 20) ** (1 / 200)
    schedule = sch.PixelAware(x0, 20)
    for i in (1, 37, 200):
        assert torch.allclose(step**i, schedule.alpha_bar(i / 200), rtol=1e-11)


def test_printed_eq_10_hardly_diffuses():
    """PX-2: the stray /T leaves the image in place at t = 1."""
    x0 = torch.tensor([0.5], dtype=torch.float64)
    printed = sch.PixelAware(x0, 20, form="printed", steps=200)
    assert float(printed.alpha_bar(1.0)) == pytest.approx(math.exp(-20 * 0.5 / 200))
    assert float(sch.PixelAware(x0, 20).alpha_bar(1.0)) == pytest.approx(math.exp(-10))


def test_forward_process_by_simulation():
    """PX-1, PX-3: Euler-Maruyama of the SDE (23) reaches alpha and sigma at t = 1, pixel by pixel."""
    x0 = torch.tensor([0.05, 0.3, 1.0], dtype=torch.float64)
    gamma, steps, count = 4.0, 400, 20000
    generator = torch.Generator().manual_seed(0)
    x = x0.expand(count, 3).clone()
    rate = gamma * x0 / steps
    for _ in range(steps):
        x = x - rate / 2 * x + rate.sqrt() * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    schedule = sch.PixelAware(x0, gamma)
    assert (x.mean(0) - schedule.alpha(1.0) * x0).abs().max() < 5 / count**0.5
    assert (x.std(0) / schedule.sigma(1.0) - 1).abs().max() < 0.03


@given(pixels, gammas, st.floats(0.01, 1))
def test_snr_rate_is_the_derivative(x, gamma, t):
    """PX-3: the corrected Eq. 17 is the derivative of Eq. 11; the printed one is smaller by exp(gamma t x)."""
    x0 = torch.tensor(x, dtype=torch.float64)
    at = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(sch.pixel_snr(x0, at, gamma), at)
    rate = sch.pixel_snr_rate(x0, t, gamma)
    assert torch.allclose(rate, slope, rtol=1e-8)
    printed = sch.pixel_snr_rate(x0, t, gamma, form="printed")
    assert torch.allclose(rate / printed, torch.exp(torch.tensor(gamma * t * x, dtype=torch.float64)), rtol=1e-6)


def test_proposition_1_holds_until_the_peak():
    """PX-3: brighter loses SNR faster while gamma t x < SNR_PEAK, and more slowly beyond."""
    assert 3 * math.tanh(sch.SNR_PEAK / 2) == pytest.approx(sch.SNR_PEAK, rel=1e-12)
    x0 = torch.linspace(sch.PIXEL_MIN, 1, 400, dtype=torch.float64)
    gamma = 20.0
    for t in (0.05, 0.1, sch.SNR_PEAK / gamma):
        assert bool((sch.pixel_snr_rate(x0, t, gamma).diff() < 0).all())
    t = 0.5
    beyond = x0[gamma * t * x0 > sch.SNR_PEAK]
    assert bool((sch.pixel_snr_rate(beyond, t, gamma).diff() > 0).all())


def test_pixels_do_not_reach_zero_snr_together():
    """PX-11: the time to fall to an SNR of 0.01 differs by more than fivefold between brightnesses."""
    x0 = torch.tensor([0.01, 0.2, 1.0], dtype=torch.float64)
    times = sch.time_to_snr(x0, 0.01, 20)
    for x, t in zip(x0, times, strict=True):
        assert float(sch.pixel_snr(x, float(t), 20)) == pytest.approx(0.01, rel=1e-9)
    assert times.max() / times.min() > 5


@given(st.floats(0.05, 1), st.floats(1, 50))
def test_ddpm_mean_is_the_integral(x, a):
    """PX-3: d E[x] / dt = -a t / 2 E[x] has the solution with a / 4; a / 2 is the misprint of Eq. 22."""
    t = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    mean = sch.expected_ddpm(torch.tensor(x, dtype=torch.float64), t, a)
    (slope,) = torch.autograd.grad(mean, t)
    assert slope.item() == pytest.approx(-a * 0.4 / 2 * mean.item(), rel=1e-9)
    printed = sch.expected_ddpm(torch.tensor(x, dtype=torch.float64), t, a, form="printed")
    (wrong,) = torch.autograd.grad(printed, t)
    assert wrong.item() == pytest.approx(-a * 0.4 * printed.item(), rel=1e-9)


@given(pixels, st.floats(1e-3, 1), st.floats(1, 60), st.floats(0.5, 30))
def test_proposition_2_is_a_comparison_of_derivatives(x, t, gamma, a):
    """PX-3: Eq. 13 by autograd of the two trajectories."""
    x0 = torch.tensor(x, dtype=torch.float64)
    at = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    (pixel,) = torch.autograd.grad(sch.expected_pixel(x0, at, gamma), at)
    (ddpm,) = torch.autograd.grad(sch.expected_ddpm(x0, at, a), at)
    if abs((pixel / ddpm).log()) > 1e-9:  # no verdict on a tie
        assert bool(sch.proposition_2_holds(x0, at.detach(), gamma, a)) == bool(pixel.abs() > ddpm.abs())


def test_proposition_2_holds_fails_and_may_hold_again():
    """PX-3: as printed, gamma x0 > a t would make it hold for all t; it does not, even well inside that premise."""
    t = torch.linspace(0.001, 1, 1000, dtype=torch.float64)
    inside = sch.proposition_2_holds(torch.tensor(1.0, dtype=torch.float64), t, 50.0, 10.0)
    assert bool(inside[0]) and not bool(inside.all())
    dark = sch.proposition_2_holds(torch.tensor(0.055, dtype=torch.float64), t, 20.0, 20.0)
    assert bool(dark[0]) and not bool(dark[400]) and bool(dark[-1])


def test_generalised_drift_by_simulation():
    """PX-11: Euler's method on dE = -gamma beta(t) / 2 x0 E dt, beta = a t, lands on the corrected Eq. 26."""
    x0 = torch.tensor([0.1, 0.9], dtype=torch.float64)
    gamma, a, steps = 3.0, 5.0, 200_000
    t = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps * 0.7
    mean = x0 * torch.exp(torch.log1p(-gamma * a * t[:, None] / 2 * x0 * 0.7 / steps).sum(0))
    schedule = sch.PixelAware(x0, gamma, rate_integral=lambda t: a * t.square() / 2)
    assert torch.allclose(schedule.alpha(0.7) * x0, mean, rtol=1e-5)
    closed = [[sch.expected_ddpm(x, 0.7, gamma * a * float(x), form=f) for x in x0] for f in ("correct", "printed")]
    assert torch.allclose(torch.stack(closed[0]), mean, rtol=1e-5)
    assert torch.allclose(torch.stack(closed[1]) / x0, (mean / x0) ** 2, rtol=1e-4)


def test_terminal_law():
    """PX-4: a dark pixel ends with standard deviation sqrt(1 - exp(-gamma x0)), far from 1."""
    x0 = torch.tensor([0.004, 1.0], dtype=torch.float64)
    schedule = sch.PixelAware(x0, 20.0)
    assert float(schedule.sigma(1.0)[0]) == pytest.approx(0.28, abs=0.005)
    kl = sch.kl_to_standard_normal(schedule, x0, 1.0)
    normal = torch.distributions.Normal(schedule.alpha(1.0) * x0, schedule.sigma(1.0))
    standard = torch.distributions.Normal(torch.zeros(2).double(), torch.ones(2).double())
    assert torch.allclose(kl, torch.distributions.kl_divergence(normal, standard), rtol=1e-9)
    assert kl[0] > 0.5 > 1e-3 > kl[1]


def test_diffuse_has_the_right_moments():
    x0 = torch.full((20000,), 0.7, dtype=torch.float64)
    noise = torch.randn(20000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    schedule = sch.VPLinear()
    x_t = sch.diffuse(schedule, x0, 0.4, noise)
    assert torch.allclose(x_t, schedule.alpha(0.4) * x0 + schedule.sigma(0.4) * noise)
    assert sch.diffuse(schedule, x0.float(), 0.4, noise.float()).dtype == torch.float32


def test_geometric_grid_is_the_papers_sigmas():
    """BASE-VE-PC: NCSN++'s sigmas, and 0 at the end so that sigma_{-1} = 0."""
    times = sch.geometric(sch.VE(0.01, 50), 1000)
    i = torch.arange(1000, dtype=torch.float64)
    assert torch.allclose(times[:-1].flip(0), 0.01 * (50 / 0.01) ** (i / 999), rtol=1e-12)
    assert times[-1] == 0 and len(times) == 1001


def test_karras_grid_is_edms():
    """BASE-HEUN: EDM's formula with its own sigmas and rho = 7; a large rho is geometric."""
    times = sch.karras(sch.VE(0.002, 80), 18)
    i = torch.arange(18, dtype=torch.float64)
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert torch.allclose(times[:-1], expected, rtol=1e-12)
    assert torch.allclose(sch.karras(sch.VE(), 20, rho=1e6), sch.geometric(sch.VE(), 20), rtol=1e-4)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("grid", [sch.geometric, sch.karras, sch.uniform, sch.quadratic])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_grids_fall_from_the_top_to_zero(schedule, grid, steps):
    times = grid(schedule, steps)
    assert len(times) == steps + 1 and times[-1] == 0
    assert float(times[0]) == pytest.approx(schedule.t_max)
    assert bool((times.diff() < 0).all())


def test_grid_levels_are_what_they_say():
    """Geometric on VP: the noise-to-signal ratios, not the times, form the progression."""
    schedule = sch.VPLinear()
    times = sch.geometric(schedule, 12)[:-1]
    steps = (schedule.sigma(times) / schedule.alpha(times)).log().diff()
    assert (steps - steps.mean()).abs().max() < 1e-9


@given(st.integers(1, 200), st.sampled_from([sch.geometric, sch.karras, sch.quadratic, sch.uniform]))
def test_discrete_grids_never_repeat_a_step(steps, grid):
    """Up to all of its steps; then the grid is every step."""
    times = grid(sch.Discrete.cosine(200), steps)
    assert len(times) == steps + 1 and times[0] == 200 and times[-1] == 0
    assert bool((times.diff() <= -1).all()) and torch.equal(times, times.round())


def test_times_per_sample_do_not_run_along_the_width():
    """One time per sample, also where the batch is as wide as the image; dtype and sample by sample."""
    x0, noise = torch.rand(8, 3, 8, 8), torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    together = sch.diffuse(sch.VPLinear(), x0, t, noise)
    assert together.dtype == torch.float32
    for k in range(8):
        alone = sch.diffuse(sch.VPLinear(), x0[k], float(t[k]), noise[k])
        assert torch.allclose(together[k], alone, atol=1e-6)
    steps = torch.arange(1, 9)
    assert sch.diffuse(sch.Discrete.linear(10), x0, steps, noise).shape == x0.shape

"""The Wiener filter against the definition of what it minimises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewsteps import wiener
from fewsteps.spectra import radius
from fewsteps.transforms import fft2, ifft2

alpha_bars = st.floats(1e-4, 1 - 1e-4)
powers = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8).map(lambda v: torch.tensor(v, dtype=torch.float64))


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def power_law(size):
    return radius((size, size)).clamp_min(1 / size) ** -2 * 0.01


@given(powers, alpha_bars)
def test_reconstruction_is_what_the_noise_filter_leaves(power, alpha_bar):
    """SD-1: G = 1 - sqrt(1 - ab) H, and it is a share of x_t: between 0 and 1."""
    response = wiener.reconstruction_response(power, alpha_bar)
    left = 1 - (1 - alpha_bar) ** 0.5 * wiener.noise_response(power, alpha_bar)
    assert torch.allclose(response, left, atol=1e-12)
    assert bool(((response >= 0) & (response <= 1)).all())


@pytest.mark.parametrize("gone", [1e-4, 1e-6, 1e-9])
def test_where_hardly_any_noise_is_it_is_not_lost_in_single_precision(gone):
    """SD-1: 1 - ab of a number is taken before rounding, which near 1 would leave nothing of it."""
    power = torch.tensor([1e-6, 1.0, 100.0], dtype=torch.float64)
    for of in (wiener.noise_response, wiener.reconstruction_response):
        assert torch.allclose(of(power.float(), 1 - gone).double(), of(power, 1 - gone), rtol=1e-6)
    double, single = (
        wiener.expected_error(p, 1 - gone, wiener.reconstruction_response(p, 1 - gone)) for p in (power, power.float())
    )
    assert torch.allclose(single.double(), double, rtol=1e-6)


@given(powers, alpha_bars, st.floats(-0.5, 0.5))
def test_no_other_response_does_better(power, alpha_bar, change):
    """SD-1: the minimum of a quadratic; its value is the posterior variance S (1 - ab) / (ab S + 1 - ab)."""
    best = wiener.reconstruction_response(power, alpha_bar)
    least = wiener.expected_error(power, alpha_bar, best)
    assert torch.allclose(least, power * (1 - alpha_bar) / (alpha_bar * power + 1 - alpha_bar), rtol=1e-9)
    assert bool((wiener.expected_error(power, alpha_bar, best + change) >= least * (1 - 1e-12)).all())


def test_least_squares_finds_the_corrected_filter_and_not_the_printed_one():
    """SD-1: regress the noise on x_t over many draws, with no formula: it lands on the corrected Eq. 6."""
    size, count, alpha_bar = 16, 6000, 0.6
    power = power_law(size)
    x0 = ifft2(fft2(draw((count, size, size), 1)) * power.sqrt()).real
    noise = draw((count, size, size), 2)
    x_t = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise
    found = wiener.least_squares_response(x_t, noise)
    correct = wiener.noise_response(power, alpha_bar)
    printed = wiener.noise_response(power, alpha_bar, form="printed")
    # The coefficient's standard error per frequency is at most 1 / sqrt(count Var(X_t)).
    error = ((found - correct) * (count * (alpha_bar * power + 1 - alpha_bar)).sqrt()).abs().max()
    assert error < 5
    assert ((found - printed).abs() / correct).min() > 0.4


@pytest.mark.parametrize("form", ["printed", "caption"])
def test_printed_forms_turn_negative_without_signal(form):
    """SD-1: where there is no signal G must vanish; as printed it goes below zero and costs error."""
    nothing = torch.tensor([1e-12], dtype=torch.float64)
    response = wiener.reconstruction_response(nothing, 0.9, form=form)
    assert response < -1
    least = wiener.expected_error(nothing, 0.9, wiener.reconstruction_response(nothing, 0.9))
    assert wiener.expected_error(nothing, 0.9, response) > 1e6 * least


def test_denoising_reaches_the_predicted_error():
    """SD-1: measured squared error on fields of known spectrum against `expected_error`."""
    size, count, alpha_bar = 32, 400, 0.3
    power = power_law(size)
    x0 = ifft2(fft2(draw((count, size, size), 3)) * power.sqrt()).real
    x_t = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * draw((count, size, size), 4)
    response = wiener.reconstruction_response(power, alpha_bar)
    squared = (wiener.denoise(x_t, response, alpha_bar) - x0).square().mean((-2, -1))
    predicted = wiener.expected_error(power, alpha_bar, response).mean()
    assert abs(squared.mean() - predicted) < 5 * squared.std() / count**0.5


def test_linear_error_is_dense_linear_algebra():
    """SD-1: "full" is the textbook C - C A^T (A C A^T + s)^-1 A C; a diagonal filter is never better."""
    alpha_bar = 0.4
    mixing = draw((16, 16), 5)
    known = mixing @ mixing.mT / 16
    gain = (
        alpha_bar**0.5
        * known
        @ torch.linalg.inv(alpha_bar * known + (1 - alpha_bar) * torch.eye(16, dtype=torch.float64))
    )
    posterior = known - gain @ known * alpha_bar**0.5
    full = wiener.linear_error(known, torch.tensor([alpha_bar, 0.9], dtype=torch.float64), "full")
    assert abs(full[0] - posterior.diagonal().mean()) < 1e-12
    for structure in ("dft", "dct"):
        assert wiener.linear_error(known, alpha_bar, structure) > full[0]
    assert wiener.linear_error(known, 0.9, "full") == full[1]


def test_stationary_periodic_covariance_costs_nothing():
    """SD-1: on a circulant covariance the Wiener filter is the best linear map."""
    side = 6
    power = power_law(side).flatten()
    unit = torch.eye(side * side, dtype=torch.float64).unflatten(-1, (side, side))
    basis = fft2(unit).flatten(1).mT
    known = (basis.conj().mT @ (power[:, None] * basis)).real
    assert abs(wiener.linear_error(known, 0.5, "dft") - wiener.linear_error(known, 0.5, "full")) < 1e-12


def test_linear_error_judges_on_other_data():
    """SD-1: a filter made for one spectrum and judged on another pays what `expected_error` says."""
    alpha_bar = 0.7
    known = torch.eye(16, dtype=torch.float64) * 2
    test = torch.eye(16, dtype=torch.float64) * 5
    gain = wiener.reconstruction_response(torch.tensor(2.0, dtype=torch.float64), alpha_bar)
    expected = wiener.expected_error(torch.tensor(5.0, dtype=torch.float64), alpha_bar, gain)
    for structure in ("dft", "dct", "full"):
        assert abs(wiener.linear_error(known, alpha_bar, structure, test=test) - expected) < 1e-12


def test_covariance_removes_one_mean():
    patches = draw((5000, 2, 2), 6) + 10
    assert (wiener.covariance(patches) - torch.eye(4, dtype=torch.float64)).abs().max() < 0.1


@given(powers, alpha_bars)
def test_captions_curve_with_the_corrected_filter(power, alpha_bar):
    """SD-1: 1 - (1 - ab) |H|^2 with the right H is 1 - (1 - G)^2: between 0 and 1, and never below G."""
    squared = wiener.reconstruction_response(power, alpha_bar, form="squared")
    gain = wiener.reconstruction_response(power, alpha_bar)
    response = wiener.noise_response(power, alpha_bar, form="squared")
    assert torch.allclose(squared, 1 - (1 - alpha_bar) * response.square(), atol=1e-12)
    assert torch.allclose(squared, 1 - (1 - gain).square(), atol=1e-12)
    assert bool((squared >= gain - 1e-12).all())


def test_one_response_per_sample():
    """A batch at different noise levels is each of its samples alone."""
    x_t, shares = draw((3, 2, 8, 8), 8), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    responses = torch.stack([wiener.reconstruction_response(power_law(8), float(s)) for s in shares])
    together = wiener.denoise(x_t, responses[:, None], shares[:, None, None, None])
    for k in range(3):
        assert torch.allclose(together[k], wiener.denoise(x_t[k], responses[k], float(shares[k])))

"""PixelAware's reverse path with noises given in advance: which reading of them comes back to the image."""

import math

import pytest
import torch

from fewsteps import samplers
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.samplers.parallel import FACTORS, READINGS, amplification, forward_path, noises_of, reverse_path
from fewsteps.schedules import PixelAware, image_scale, noise_share

GAMMA, T = 8.0, 40
PAIRS = [("increment", "printed"), ("last", "ddim")]


def image(*shape, seed=0):
    return 0.004 + 0.996 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def white(seed):
    return samplers.white_noise(seed, dtype=torch.float64)


@pytest.fixture
def path():
    return forward_path(image(3, 1, 4, 5), GAMMA, T, white(1))


def test_the_forward_path_is_the_schedule_of_the_book():
    """PX-1: at every step the mean and the variance of PixelAware, from many trajectories."""
    x0 = image(1, 1, 2, 2)
    path = forward_path(x0.expand(20_000, 1, 2, 2), GAMMA, 10, white(0))
    schedule = PixelAware(x0, GAMMA)
    for j in (1, 4, 10):
        alpha, sigma = schedule.alpha(j / 10), schedule.sigma(j / 10)
        states = path.states[j]
        torch.testing.assert_close(states.mean(0, keepdim=True), alpha * x0, atol=0.03, rtol=0)
        torch.testing.assert_close(states.std(0, keepdim=True), sigma, atol=0.02, rtol=0)
        torch.testing.assert_close(states, alpha * x0 + sigma * path.marginals[j - 1])
    assert abs(float(path.marginals[-1].std()) - 1) < 0.01


class TestReadings:
    """PX-7: three readings, each with the factor that belongs to it; oracle noises reconstruct the image."""

    def test_increments_with_the_printed_factor_walk_the_trajectory_back(self, path):
        """PX-7, PX-10: sqrt(1 - alpha) undoes Eq. 2 exactly, and no fresh noise has a place in it."""
        x0 = path.states[0]
        back = reverse_path(path.states[-1], image_scale(x0, GAMMA), path.targets("increment"), factor="printed")
        torch.testing.assert_close(back, path.states, rtol=1e-9, atol=1e-9)

    def test_the_last_noise_with_ddims_factor_arrives(self, path):
        """PX-7: the path between is another than the trajectory's, both ends are its own."""
        x0 = path.states[0]
        back = reverse_path(path.states[-1], image_scale(x0, GAMMA), path.targets("last"), factor="ddim")
        torch.testing.assert_close(back[0], x0, rtol=1e-9, atol=1e-9)
        assert float((back[T // 2] - path.states[T // 2]).abs().max()) > 0.1

    def test_marginals_arrive_only_if_they_are_asked_for_at_every_state(self, path):
        """PX-7, Eq. 4: with fresh noise, of another state than the trajectory's, and the noise of that state."""
        x0 = path.states[0]
        scale = image_scale(x0, GAMMA)
        given = reverse_path(path.states[-1], scale, path.targets("marginal"), factor="posterior")
        assert float((given[0] - x0).abs().max()) > 0.3
        x, noise = path.states[-1], white(7)
        for j in range(T, 0, -1):
            bar = scale ** (j / T)  # alpha bar of step j, and the scale of a process that ends there
            z = torch.zeros((j, *x.shape), dtype=x.dtype)
            z[-1] = (x - bar.sqrt() * x0) / (1 - bar).sqrt()
            x = reverse_path(x, bar, z, factor="posterior", noise=noise)[j - 1]
        torch.testing.assert_close(x, x0, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(
        ("reading", "factor"),
        [(reading, factor) for reading in READINGS for factor in FACTORS if (reading, factor) not in PAIRS],
    )
    def test_no_other_pair_arrives(self, path, reading, factor):
        x0 = path.states[0]
        back = reverse_path(path.states[-1], image_scale(x0, GAMMA), path.targets(reading), factor=factor)
        assert float((back[0] - x0).abs().max()) > 0.1

    def test_what_can_be_known_of_all_noises_from_the_last_state_is_one_noise(self):
        """PX-7: given x_T and x0 the mean of every increment is a multiple of the last marginal; they add up to x0.

        By linear regression over many trajectories of one image, against the multiple.
        """
        x0 = torch.full((40_000, 1), 0.4, dtype=torch.float64)
        path = forward_path(x0, GAMMA, 12, white(3))
        last = path.marginals[-1]
        slope = (path.increments * last).mean((1, 2)) / last.square().mean()
        rate = math.log(math.exp(-GAMMA * 0.4)) / 12
        j = torch.arange(1, 13, dtype=torch.float64)
        multiple = (-math.expm1(rate)) ** 0.5 * ((12 - j) * rate / 2).exp() / (-math.expm1(12 * rate)) ** 0.5
        torch.testing.assert_close(slope, multiple, atol=0.02, rtol=0)
        means = multiple[:, None, None] * last
        back = reverse_path(path.states[-1], image_scale(x0, GAMMA), means, factor="printed")
        torch.testing.assert_close(back[0], x0, rtol=1e-9, atol=1e-9)


class TestAmplification:
    @pytest.mark.parametrize("factor", ["printed", "posterior", "ddim"])
    def test_it_is_what_an_error_becomes(self, path, factor):
        """PX-8: put into one noise and followed to the end, for every step."""
        x0 = path.states[0]
        scale, noises = image_scale(x0, GAMMA), path.targets("increment")
        grown = amplification(scale, T, factor)
        plain = reverse_path(path.states[-1], scale, noises, factor=factor)[0]
        for j in (1, 17, T):
            moved = noises.clone()
            moved[j - 1] += 0.01
            got = (plain - reverse_path(path.states[-1], scale, moved, factor=factor)[0]) / 0.01
            torch.testing.assert_close(got, grown[j - 1], rtol=1e-6, atol=1e-8)

    def test_a_white_pixel_at_the_papers_gamma(self):
        """PX-8: exp(gamma x0 / 2) = 22026 for the state itself; of an error in Z^T, that times the factor before it."""
        scale = image_scale(torch.ones(1, dtype=torch.float64), 20.0)
        last = float(amplification(scale, 200, "printed")[-1])
        assert last == pytest.approx(math.exp(10) * math.sqrt(1 - math.exp(-0.1)))
        noises = torch.zeros(200, 1, dtype=torch.float64)
        assert float(reverse_path(torch.ones(1, dtype=torch.float64), scale, noises)[0]) == pytest.approx(math.exp(10))


class TestFreshNoise:
    def test_it_has_the_spread_of_the_posterior(self):
        """PX-8, Eq. 4: beta tilde, and none at the last step."""
        x0 = torch.full((50_000, 1), 0.5, dtype=torch.float64)
        scale, zeros = image_scale(x0, GAMMA), torch.zeros(2, 50_000, 1, dtype=torch.float64)
        back = reverse_path(torch.zeros_like(x0), scale, zeros, noise=white(2))
        alpha = math.exp(-GAMMA * 0.5 / 2)
        tilde = (1 - alpha) / (1 - alpha**2) * (1 - alpha)
        assert float(back[1].std()) == pytest.approx(tilde**0.5, rel=0.02)
        torch.testing.assert_close(back[0], back[1] / alpha**0.5)


@pytest.mark.parametrize("reading", ["last", "mean"])
def test_an_error_that_all_noises_share(reading):
    """PX-8: of x_T's one noise, it comes out sqrt(exp(gamma x0) - 1) times as large, twelve times in a white pixel."""
    x0, steps, gamma, error = torch.tensor([[[[0.3, 1.0]]]], dtype=torch.float64), 50, 5.0, 1e-3
    path, scale = forward_path(x0, gamma, steps, white(0)), image_scale(x0, gamma)
    if reading == "last":
        back = reverse_path(path.states[-1], scale, path.targets("last") + error, factor="ddim")
    else:  # shares of the one noise, as the network learns them
        means, rate = noises_of(path.states[-1], x0, gamma, steps, steps), scale.log() / steps
        shares = torch.stack([noise_share(rate, steps, j, "marginal") for j in range(1, steps + 1)])
        back = reverse_path(path.states[-1], scale, means + error * shares, factor="posterior")
    grown = (back[0] - x0).abs() / error
    torch.testing.assert_close(grown, torch.expm1(gamma * x0).sqrt(), rtol=1e-6, atol=1e-6)
    assert float(grown[0, 0, 0, 1]) == pytest.approx(12.14, abs=0.01)


def test_bad_input_is_one_sentence():
    x0 = image(2, 1, 3, 3)
    path = forward_path(x0, 2.0, 3, white(0))
    scale = image_scale(x0, 2.0)
    with pytest.raises(ShapeError, match=r"noises must have the shape \(T, 2, 1, 3, 3\), not \(3, 1, 3, 3\)"):
        reverse_path(path.states[-1], scale, path.increments[:, 0])
    with pytest.raises(ShapeError, match=r"scale must have all entries in \(0, 1\)"):
        reverse_path(path.states[-1], scale + 1, path.increments)
    with pytest.raises(ParameterError, match="factor must be one of printed, posterior, ddim"):
        reverse_path(path.states[-1], scale, path.increments, factor="other")
    with pytest.raises(ParameterError, match="reading must be one of increment, marginal, last"):
        path.targets("other")
    for outside in (0.0, -0.1, 1.1, math.nan):
        wrong = torch.full((1, 1, 2, 2), outside)
        with pytest.raises(ShapeError, match=r"x0 must have all pixels in \(0, 1\]"):
            forward_path(wrong, 2.0, 3, white(0))
        with pytest.raises(ShapeError, match=r"x0 must have all pixels in \(0, 1\]"):
            noises_of(wrong, wrong, 2.0, 1, 3)
    with pytest.raises(ParameterError, match="steps must be"):
        forward_path(x0, 2.0, 0, white(0))
    for gamma in (3.0, 5.0):
        with pytest.raises(ParameterError, match=r"above 0 and below 3 \(Eq. 7 asks for x0 << gamma < T\), not"):
            forward_path(x0, gamma, 3, white(0))
        with pytest.raises(ParameterError, match="gamma must be a number above 0 and below 3"):
            noises_of(x0, x0, gamma, 1, 3)
    assert set(READINGS) == {"increment", "marginal", "last"}

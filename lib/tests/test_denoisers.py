"""Exact denoisers against linear algebra, quadrature and each other; adapters against the algebra they undo."""

import pytest
import torch

from fewsteps import denoisers, samplers, transforms
from fewsteps import schedules as sch
from fewsteps.denoisers import (
    Clipped,
    Empirical,
    FromEps,
    FromScore,
    FromV,
    FromX0,
    Gaussian,
    GaussianMixture,
    Guided,
)
from fewsteps.errors import ParameterError, ShapeError

SCHEDULES = [sch.VE(0.01, 50), sch.VPLinear(), sch.Discrete.linear(100)]


def white(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(shape, basis):
    v = white(*shape, seed=5).square() + 0.1
    return (v + v.flip(-2, -1).roll((1, 1), (-2, -1))) / 2 if basis == "dft" else v


def times_of(schedule):
    return [float(t) for t in sch.uniform(schedule, 4)[:-1]]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("basis", ["dct", "dft"])
def test_gaussian_is_the_dense_conditional_mean(schedule, basis):
    """SD-1: against the conditional mean and covariance of a dense joint Gaussian."""
    shape, v, centre = (4, 6), spectrum((4, 6), basis), white(4, 6, seed=6)
    model = Gaussian(schedule, v, centre, basis=basis)
    eye = torch.eye(24, dtype=torch.float64).reshape(24, *shape)
    d = transforms.to_basis(eye, basis).reshape(24, 24)  # rows: transforms of pixels
    covariance = d @ (v.flatten()[:, None] * d.mT)
    x = white(3, *shape, seed=7)
    for t in times_of(schedule):
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        gain = (
            alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * torch.eye(24, dtype=torch.float64))
        )
        expected = centre + ((x - alpha * centre).reshape(3, 24) @ gain.mT).reshape(x.shape)
        assert (model.mean(x, t) - expected).abs().max() < 1e-11
        total = alpha**2 * covariance + sigma**2 * torch.eye(24, dtype=torch.float64)
        log_density = torch.distributions.MultivariateNormal(alpha * centre.flatten(), total).log_prob
        point = x.reshape(3, 24).clone().requires_grad_()
        (gradient,) = torch.autograd.grad(log_density(point).sum(), point)
        assert (denoisers.score(model, x, t).reshape(3, 24) - gradient).abs().max() < 1e-9
        left = covariance - alpha * gain @ covariance
        drawn = (model.draw(x[:1].expand(24, -1, -1), t, noise=eye) - model.mean(x[:1], t)).reshape(24, 24)
        assert (drawn.mT @ drawn - left).abs().max() < 1e-11


def test_times_per_sample_are_times_one_by_one():
    """A batch at several noise levels is what its samples are alone."""
    schedule = sch.VPLinear()
    mixture = GaussianMixture(
        schedule, torch.tensor([0.3, 0.7]), white(2, 1, 4, 4), spectrum((2, 1, 4, 4), None), basis="dct"
    )
    models = [
        Gaussian(schedule, spectrum((4, 4), "dct"), basis="dct"),
        mixture,
        Empirical(schedule, white(5, 1, 4, 4)),
        FromEps(lambda x, t: x * t[:, None, None, None], schedule),
    ]
    x, t = white(3, 1, 4, 4, seed=1), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    for model in models:
        together = model.mean(x, t)
        alone = torch.cat([model.mean(x[k : k + 1], float(t[k])) for k in range(3)])
        assert (together - alone).abs().max() < 1e-12, type(model).__name__
        assert isinstance(model, denoisers.Denoiser)
        assert torch.equal(model.draw(x, t), together)


def test_a_mixture_of_points_has_no_density():
    """A variance of zero is refused, of which `evidence` would make nothing."""
    with pytest.raises(ShapeError, match="variances must all be positive"):
        GaussianMixture(SCHEDULES[0], torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 2))


def test_mixture_is_bayes():
    """TDAS-9: against the posterior mean written out in one dimension, and one component is the Gaussian."""
    schedule = sch.VE(0.01, 10)
    weights, means = torch.tensor([0.2, 0.8]), torch.tensor([[-2.0], [1.0]], dtype=torch.float64)
    variances = torch.tensor([[0.5], [0.04]], dtype=torch.float64)
    model = GaussianMixture(schedule, weights, means, variances)
    grid = torch.linspace(-8, 8, 400001, dtype=torch.float64)
    density = sum(
        w * torch.exp(-((grid - m) ** 2) / (2 * v)) / v.sqrt()
        for w, m, v in zip(weights, means, variances, strict=True)
    )
    for x, t in ((0.3, 0.5), (-1.5, 0.1), (2.0, 4.0)):
        posterior = density * torch.exp(-((x - grid) ** 2) / (2 * t**2))
        expected = (grid * posterior).sum() / posterior.sum()
        assert float(model.mean(torch.tensor([[x]], dtype=torch.float64), t)) == pytest.approx(float(expected), 1e-7)
    single = GaussianMixture(schedule, torch.ones(1), white(1, 4, 4), spectrum((1, 4, 4), "dct"), basis="dct")
    gaussian = Gaussian(schedule, spectrum((1, 4, 4), "dct")[0], white(1, 4, 4)[0], basis="dct")
    assert (single.mean(white(2, 4, 4), 0.7) - gaussian.mean(white(2, 4, 4), 0.7)).abs().max() < 1e-12


def test_draws_have_the_posterior():
    """A draw of x0 given x_t has the mean that `mean` says, component and spread as Bayes has them; z within 5."""
    schedule = sch.VE(0.01, 10)
    means = torch.tensor([[-2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    model = GaussianMixture(schedule, torch.tensor([0.4, 0.6]), means, torch.full((2, 2), 0.09, dtype=torch.float64))
    n = 40000
    x = torch.tensor([[-0.2, 0.1]], dtype=torch.float64).expand(n, 2)
    drawn = model.draw(x, 1.5, noise=white(n, 2, seed=3))
    error = drawn.std(0) / n**0.5
    assert ((drawn.mean(0) - model.mean(x[:1], 1.5)[0]).abs() / error).max() < 5
    share = float(
        torch.sigmoid(
            ((x[0] - means[0]).square() - (x[0] - means[1]).square()).sum() / (2 * (0.09 + 2.25))
            + torch.log(torch.tensor(1.5))
        )
    )
    seen = (drawn[:, 0] > -0.5).double().mean()
    assert abs(float(seen) - share) < 5 * (share * (1 - share) / n) ** 0.5
    clean = model.sample(white(n, 2, seed=4))
    centre = torch.tensor([0.4 * -2 + 0.6, 0.3], dtype=torch.float64)
    assert ((clean.mean(0) - centre).abs() / (clean.std(0) / n**0.5)).max() < 5
    points = Empirical(schedule, means)
    picked = points.draw(x, 1.5, noise=white(n, 2, seed=5))
    assert {tuple(row) for row in picked[:200].tolist()} <= {tuple(row) for row in means.tolist()}
    assert ((picked.mean(0) - points.mean(x[:1], 1.5)[0]).abs() / (picked.std(0) / n**0.5)).max() < 5


def test_empirical_is_a_mixture_of_points():
    """TDAS-1: the limit of a mixture whose components have no spread."""
    schedule = sch.VPLinear()
    samples = white(6, 1, 3, 3)
    model = Empirical(schedule, samples)
    mixture = GaussianMixture(schedule, torch.ones(6), samples, torch.full_like(samples, 1e-14))
    for t in (0.1, 0.6, 1.0):
        assert (
            model.mean(white(2, 1, 3, 3, seed=9), t) - mixture.mean(white(2, 1, 3, 3, seed=9), t)
        ).abs().max() < 1e-8
    assert (model.mean(samples, 1e-4) - samples).abs().max() < 1e-8


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_adapters_agree(schedule):
    """One posterior, told as noise, score, x0 and v, comes back as the same mean (v: the general formula, VE too)."""
    exact = Gaussian(schedule, spectrum((4, 4), "dct"), basis="dct")

    def parts(x, t):
        x0 = exact.mean(x, t)
        alpha, sigma = (f(t.to(torch.float64)).reshape(-1, 1, 1, 1) for f in (schedule.alpha, schedule.sigma))
        eps = (x - alpha * x0) / sigma
        return {FromX0: x0, FromEps: eps, FromScore: -eps / sigma, FromV: alpha * eps - sigma * x0}

    x = white(3, 1, 4, 4, seed=2)
    for t in times_of(schedule):
        for adapter in (FromX0, FromEps, FromScore, FromV):
            told = adapter(lambda x, t, which=adapter: parts(x, t)[which], schedule)
            assert (told.mean(x, t) - exact.mean(x, t)).abs().max() < 1e-10 * (1 + float(exact.mean(x, t).abs().max()))


def test_adapter_hands_over_times_and_conditions():
    """Networks see one time per sample in the dtype of x, mapped where they count otherwise, and the condition."""
    seen = []

    def network(x, t, cond=None):
        seen.append((t.dtype, t.tolist(), cond))
        return torch.zeros_like(x)

    model = FromX0(network, sch.Discrete.linear(10), time=lambda t: t - 1)
    model.mean(torch.zeros(2, 1, 2, 2), 10.0)
    model.mean(torch.zeros(2, 1, 2, 2), torch.tensor([1, 5]), cond="cat")
    assert seen == [(torch.float32, [9.0, 9.0], None), (torch.float32, [0.0, 4.0], "cat")]


def test_clipping_is_decided_in_one_place():
    model = Clipped(FromX0(lambda x, t: 3 * x, sch.VPLinear()), -0.5, 0.5)
    x = white(2, 1, 4, 4)
    assert torch.equal(model.mean(x, 0.5), (3 * x).clamp(-0.5, 0.5))
    assert model.schedule is model.model.schedule


class ByClass(denoisers.MeanOnly):
    """Gaussians of one spread around a centre per class, and around the last for "any"."""

    def __init__(self, schedule):
        self.schedule, self.seen = schedule, []
        self.centres = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64)

    def mean(self, x, t, cond=None):
        self.seen.append(len(x))
        centre = self.centres[cond].reshape(-1, 1, 1, 1)
        power = torch.full(x.shape[-2:], 0.04, dtype=torch.float64)
        return Gaussian(self.schedule, power).mean(x - centre * sch.over(self.schedule.alpha(t), x), t) + centre


class TestGuided:
    """SD-10: classifier-free guidance."""

    # Of the three, the two that end in noise alone.
    @pytest.mark.parametrize("schedule", SCHEDULES[:2], ids=lambda s: type(s).__name__)
    def test_guided_samples_have_the_law_that_the_product_of_densities_has(self, schedule):
        """SD-10: p(x given c)^w p(x)^(1 - w) of two Gaussians of one spread is a Gaussian around w of the way on."""
        model, weight = ByClass(schedule), 3.0
        times = sch.karras(schedule, 99)
        cond = torch.tensor([0, 1]).repeat(500)
        noise = samplers.white_noise(0, dtype=torch.float64)
        x = samplers.last(samplers.ddim(Guided(model, weight), (1000, 1, 2, 2), times, noise=noise, cond=cond))
        for c in (0, 1):
            wanted = weight * model.centres[c] + (1 - weight) * model.centres[2]
            assert float(x[cond == c].mean()) == pytest.approx(float(wanted), abs=0.03)
        assert float((x - x[cond == 0].mean())[cond == 0].std()) == pytest.approx(0.2, rel=0.08)

    def test_what_does_not_count_is_not_computed(self):
        """SD-10: a call with every image twice, or once where only one prediction counts."""
        model, x, cond = ByClass(SCHEDULES[0]), white(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
        for weight, images in ((0.0, 4), (1.0, 4), (2.0, 8)):
            guided = Guided(model, weight)
            got = guided.mean(x, 0.5, cond)
            assert model.seen.pop() == images == 4 * guided.calls
            told, plain = model.mean(x, 0.5, cond), model.mean(x, 0.5, torch.full_like(cond, -1))
            torch.testing.assert_close(got, plain + weight * (told - plain))
            model.seen.clear()
        per_image = torch.full((4,), 0.5, dtype=torch.float64)
        torch.testing.assert_close(Guided(model, 2.0).mean(x, per_image, cond), got)

    def test_bad_input(self):
        model, x = ByClass(SCHEDULES[0]), white(4, 1, 2, 2)
        with pytest.raises(ParameterError, match="weight must be"):
            Guided(model, -1.0)
        with pytest.raises(ParameterError, match="guidance needs a class for every image"):
            Guided(model, 2.0).mean(x, 0.5)
        with pytest.raises(ShapeError, match="one whole-number class per image, 4"):
            Guided(model, 2.0).mean(x, 0.5, torch.tensor([1]))

"""Denoising diffusion GANs: networks, losses and sampler against plain references; a training that can be resumed."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from fewsteps import checkpoints, data, denoisers, samplers, schedules, theory, trained
from fewsteps.cli import main
from fewsteps.errors import CheckpointError, ParameterError, ShapeError, TrainingError
from fewsteps.experiments import adversarial, gates
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.losses import (
    Adversarial,
    discriminator_loss,
    feature_difference,
    generator_loss,
    gradient_penalty,
    semantic_share,
)
from fewsteps.networks import DDGAN, Discriminator, LatentPrior, SemanticEncoder, build
from fewsteps.networks.gan import group_spread, unit
from fewsteps.training import RECIPES, loop, recipe, train
from fewsteps.training.loop import AdversarialRun
from fewsteps.training.recipes import LONG, PLANNED, TABLE_1
from fewsteps.training.team import Team

FULL = replace(recipe("digits-progddgan"), batch=16)
SMALL = {"channels": 1, "size": 8, "latent": 6, "semantic": True, "width": 8, "critic": 8, "levels": 2, "patch": 1}
SMALL |= {"multipliers": [1, 2], "attention": []}


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small(seed=0, **other):
    """A network with no weight at zero, so that nothing is silent because it has not been trained."""
    torch.manual_seed(seed)
    network = DDGAN(**(SMALL | other)).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * drawn(*weight.shape, seed=seed + 1))
    return network


class TestNetworks:
    """PD-3: generator, time-conditioned discriminator and semantic encoder; BASE-DDGAN."""

    def test_the_gradient_reaches_every_parameter(self):
        """PD-3."""
        network, x = small(), drawn(4, 1, 8, 8)
        times = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
        said = network.generator(x, times, network.encoder(x))
        assert said.shape == x.shape and bool((said.abs() < 1).all())
        network.discriminator(said, x, times).square().sum().backward()
        assert all(weight.grad is not None and bool(weight.grad.any()) for weight in network.parameters())

    def test_a_description_is_enough_to_build_it_again(self):
        network, x, times = small().float(), drawn(2, 1, 8, 8).float(), torch.zeros(2)
        again = build(json.loads(json.dumps({"kind": "ddgan", **SMALL})))
        again.load_state_dict(network.state_dict())
        assert torch.equal(network(x, times), again(x, times))

    def test_only_the_direction_of_a_latent_vector_counts(self):
        """BASE-DDGAN: pixel norm before the mapping network."""
        network, x, z = small(), drawn(3, 1, 8, 8), drawn(3, 6, seed=4)
        times = torch.zeros(3, dtype=torch.float64)
        torch.testing.assert_close(network(x, times, z), network(x, times, 7 * z), rtol=1e-6, atol=1e-7)
        assert not torch.allclose(network(x, times, z), network(x, times, -z))
        torch.testing.assert_close(unit(z).square().mean(1), torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=0)

    def test_an_image_of_the_generator_does_not_depend_on_its_batch(self):
        network, x, z = small(), drawn(4, 1, 8, 8), drawn(4, 6, seed=4)
        times = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
        alone = torch.cat([network(x[i : i + 1], times[i : i + 1], z[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(network(x, times, z), alone)

    def test_the_spread_of_a_group_by_loops(self):
        """BASE-DDGAN: minibatch standard deviation in groups of four."""
        h = drawn(8, 3, 2, 2)
        found = group_spread(h)
        assert found.shape == (8, 1, 2, 2)
        for group in range(2):
            members = [h[group + 2 * k] for k in range(4)]
            total = 0.0
            for c in range(3):
                for i in range(2):
                    for j in range(2):
                        values = [float(m[c, i, j]) for m in members]
                        mean = sum(values) / 4
                        total += math.sqrt(sum((v - mean) ** 2 for v in values) / 4 + 1e-8)
            for k in range(4):
                torch.testing.assert_close(found[group + 2 * k], torch.full((1, 2, 2), total / 12).double(), rtol=1e-5,
                                           atol=1e-6)  # fmt: skip

    def test_the_discriminator_is_told_the_time_and_both_images(self):
        """PD-3: time-conditioned, although the text says time-independent."""
        network, x, y = small().discriminator, drawn(4, 1, 8, 8), drawn(4, 1, 8, 8, seed=5)
        times = torch.zeros(4, dtype=torch.float64)
        said = network(x, y, times)
        assert said.shape == (4,)
        assert not torch.allclose(said, network(x, y, times + 1))
        assert not torch.allclose(said, network(x, x, times)) and not torch.allclose(said, network(y, y, times))

    def test_the_encoder_keeps_the_moments_of_what_it_says(self):
        """BASE-DIFFAE: its vectors can be normalised, without another look at the data set."""
        network = small().encoder
        assert network is not None
        x = drawn(300, 1, 8, 8)
        z = network(x).detach()
        network.measure(x)
        torch.testing.assert_close(network.centre, z.mean(0))
        about = z - z.mean(0)
        torch.testing.assert_close(network.covariance, about.mT @ about / 300)
        network.eval()
        normal = network.normalise(network(x))
        torch.testing.assert_close(normal.mean(0), torch.zeros(6).double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(normal.std(0, correction=0), torch.ones(6).double(), atol=1e-9, rtol=0)
        torch.testing.assert_close(network.denormalise(normal), network(x))
        before = network.centre.clone()
        network.train()(x + 1)
        assert torch.equal(before, network.centre)  # not by being asked

    def test_gaussian_vectors_have_these_moments(self):
        """PD-6: the baseline of the prior; as a linear map of its noise, so without sampling error."""
        network = small().encoder
        assert network is not None
        network.measure(drawn(240, 1, 8, 8))
        root = network.gaussian(torch.eye(6).double()) - network.centre
        torch.testing.assert_close(root.mT @ root, network.covariance, rtol=1e-6, atol=1e-8)

    def test_the_prior_is_a_network_of_vectors(self):
        prior = LatentPrior(6, width=16, depth=3)
        x, times = drawn(4, 6, 1, 1).float(), torch.zeros(4)
        assert not prior(x, times).any()  # says nothing at first
        with torch.no_grad():
            for weight in prior.parameters():
                weight.add_(0.1)
        said = prior(x, times)
        assert said.shape == x.shape
        said.square().sum().backward()
        assert all(weight.grad is not None and bool(weight.grad.any()) for weight in prior.parameters())

    @pytest.mark.parametrize(
        ("call", "sentence"),
        [
            (lambda n, x, t: n(x, t, torch.zeros(4, 5).double()), r"z must hold one vector of width 6 .*not \(4, 5\)"),
            (lambda n, x, t: n(torch.zeros(4, 1, 16, 16).double(), t), "x must be 8 x 8 pixels, not 16 x 16"),
            (lambda n, x, t: n.encoder(torch.zeros(4, 1, 4, 4)), r"images must have the shape \(B, 1, 8, 8\)"),
            (lambda n, x, t: n.discriminator(x[:3], x[:3], t[:3]), "a batch must be a multiple, not 3"),
            (lambda n, x, t: n.discriminator(x, x[:2], t), "x_s and x_t must both have the shape"),
        ],
    )
    def test_what_does_not_fit_is_one_sentence(self, call, sentence):
        with pytest.raises(ShapeError, match=sentence):
            call(small(), drawn(4, 1, 8, 8), torch.zeros(4, dtype=torch.float64))

    @pytest.mark.parametrize(
        ("made", "sentence"),
        [
            (lambda: SemanticEncoder(1, size=10), "size must be a multiple of 8, not 10"),
            (lambda: Discriminator(1, width=12), "width must be a multiple of 8, not 12"),
            (lambda: DDGAN(1, size=8, latent=0), "latent must be an integer of at least 1"),
            (lambda: LatentPrior(4, size=2), "size must be an integer from 1 to 1"),
        ],
    )
    def test_bad_numbers_are_named(self, made, sentence):
        with pytest.raises(ParameterError, match=sentence):
            made()


class TestLosses:
    """PD-4, PD-5: every term by itself, in double precision."""

    def test_the_two_sides_are_the_logarithms_of_eq_6(self):
        """PD-4, Eq. 6."""
        real, fake = drawn(50), drawn(50, seed=1)
        chance_real, chance_fake = torch.sigmoid(real), torch.sigmoid(fake)
        torch.testing.assert_close(discriminator_loss(real, fake), -chance_real.log() - (1 - chance_fake).log())
        torch.testing.assert_close(generator_loss(fake), -chance_fake.log())

    def test_the_penalty_against_finite_differences(self):
        """PD-4, BASE-DDGAN: R1 is taken on the less noisy image alone."""
        critic, x_s, x_t = small().discriminator, drawn(4, 1, 8, 8), drawn(4, 1, 8, 8, seed=3)
        times, step = torch.full((4,), 0.3, dtype=torch.float64), 1e-5
        found = gradient_penalty(critic, x_s, x_t, times)
        # Images of a group see each other: the gradient of the sum, pixel by pixel.
        slopes = torch.zeros_like(x_s)
        for place in range(x_s.numel()):
            moved = torch.zeros(x_s.numel(), dtype=torch.float64)
            moved[place] = step
            sides = (critic(x_s + sign * moved.reshape(x_s.shape), x_t, times).sum() for sign in (1, -1))
            apart = [float(side.detach()) for side in sides]
            slopes.view(-1)[place] = (apart[0] - apart[1]) / (2 * step)
        torch.testing.assert_close(found, slopes.square().flatten(1).sum(1), rtol=1e-5, atol=1e-9)
        found.sum().backward()
        assert all(bool(w.grad.any()) for n, w in critic.named_parameters() if n.startswith("trunk") and w.ndim > 1)

    def test_p_falls_in_a_line(self):
        """PD-5, Eq. 11."""
        wanted = {0: 0.8, 100: 0.7, 200: 0.6, 400: 0.4, 500: 0.4}
        for n, chance in wanted.items():
            assert semantic_share(n, 400) == pytest.approx(chance, abs=1e-12)

    def test_steps_are_drawn_as_often_as_p_says(self):
        """PD-5, Eq. 11: T with P(n), uniform below; without it uniform over all."""
        generator, count = torch.Generator().manual_seed(0), 100_000
        made = Adversarial(steps=4, share=(0.8, 0.4), span=1000)
        for done, chance in ((0, 0.8), (500, 0.6), (9999, 0.4)):
            t = made.steps_of(count, done, generator, torch.device("cpu"))
            shares = torch.bincount(t, minlength=5)[1:] / count
            wanted = torch.tensor([(1 - chance) / 3] * 3 + [chance])
            assert float((shares - wanted).abs().max()) < 5 * 0.5 / math.sqrt(count)
        t = Adversarial(steps=4).steps_of(count, 0, generator, torch.device("cpu"))
        assert float((torch.bincount(t, minlength=5)[1:] / count - 0.25).abs().max()) < 5 * 0.5 / math.sqrt(count)

    @pytest.mark.parametrize("kind", ["common", "special"])
    @pytest.mark.parametrize("steps", [2, 4])
    def test_the_posterior_is_ddgans_and_the_samplers(self, kind, steps):
        """BASE-DDGAN: c1 = beta sqrt(ab_s) / (1 - ab_t), c2 = (1 - ab_s) sqrt(a_t) / (1 - ab_t)."""
        made = Adversarial(steps=steps, schedule=kind)
        process = schedules.stepped(steps, kind)
        x0, x_t, noise = (drawn(1, 1, 2, 2, seed=k) for k in range(3))
        for t in range(1, steps + 1):
            beta = float(process.betas[t - 1])
            bar = math.prod(1 - float(b) for b in process.betas[:t])
            bar_s = bar / (1 - beta)
            c1, c2 = beta * math.sqrt(bar_s) / (1 - bar), (1 - bar_s) * math.sqrt(1 - beta) / (1 - bar)
            spread = math.sqrt(max(beta * (1 - bar_s) / (1 - bar), 0)) if t > 1 else 0.0
            found = made.posterior(x0, x_t, torch.tensor([t]), noise)
            torch.testing.assert_close(found, c1 * x0 + c2 * x_t + spread * noise, rtol=1e-9, atol=1e-9)

            class Said:
                schedule = process

                def mean(self, x, t, cond=None):
                    return x0

                def draw(self, x, t, cond=None, noise=None):
                    return x0

            times = torch.tensor([t, t - 1.0])
            walked = samplers.last(samplers.ddgan(Said(), x_t, times, noise=lambda shape: noise.clone()))
            torch.testing.assert_close(walked, found, rtol=1e-9, atol=1e-9)

    def test_pairs_have_the_law_of_the_forward_process(self):
        """PD-4, Eq. 1: x_s at t - 1, and x_t one step on, which together fix the noises' variances."""
        made = Adversarial(steps=4, schedule="common")
        images = torch.full((40_000, 1, 1, 1), 0.9, dtype=torch.float64)
        pair = made.pose(images, 0, torch.Generator().manual_seed(0))
        process = made.process
        for t in range(1, 5):
            rows = pair.t == t
            count = int(rows.sum())
            for x, step in ((pair.x_s, t - 1), (pair.x_t, t)):
                alpha, sigma = float(process.alpha(step)), float(process.sigma(step))
                assert float(x[rows].mean()) == pytest.approx(0.8 * alpha, abs=5 * sigma / math.sqrt(count) + 1e-12)
                assert float(x[rows].std()) == pytest.approx(sigma, rel=5 / math.sqrt(2 * count), abs=1e-12)
            added = pair.x_t[rows] - math.sqrt(1 - float(process.betas[t - 1])) * pair.x_s[rows]
            wanted = math.sqrt(float(process.betas[t - 1]))
            assert float(added.std()) == pytest.approx(wanted, rel=5 / math.sqrt(2 * count))
            assert float((added * (pair.x_s[rows] - pair.x_s[rows].mean())).mean()) == pytest.approx(
                0, abs=5 * wanted / math.sqrt(count)
            )

    def test_the_difference_of_features_by_hand(self):
        """PD-4, Eq. 9: taken of images in [0, 1]; the goal is fixed."""
        first, second = drawn(2, 1, 2, 2), drawn(2, 1, 2, 2, seed=1).requires_grad_(True)
        goal = first.clone().requires_grad_(True)

        def eye(x):
            return [3 * x, x.mean((2, 3), keepdim=True).square()]

        found = feature_difference(eye, goal, second)
        means = [((x + 1) / 2).mean((2, 3)).square().flatten() for x in (first, second)]
        wanted = (1.5 * (first - second).abs().flatten(1).mean(1) + (means[0] - means[1]).abs()) / 2
        torch.testing.assert_close(found, wanted.detach(), check_dtype=False, rtol=1e-6, atol=1e-6)
        found.sum().backward()
        assert goal.grad is None and second.grad is not None

    @pytest.mark.parametrize("everywhere", [False, True])
    def test_every_term_by_hand(self, everywhere):
        """PD-4, Eq. 6, 9 and 10: at which steps they count, and with what; Eq. 9 everywhere is a row of Table 1."""

        def eye(x):
            return [x]

        made = Adversarial(
            steps=3, pixels=2.0, features=3.0, preserve=5.0, everywhere=everywhere, eye=eye, share=(0.5, 0.5)
        )
        network, images = small().eval(), torch.rand(8, 1, 8, 8, dtype=torch.float64)
        given = made.draw(network, images, 0, torch.Generator().manual_seed(3))
        pair, x0 = given.pair, 2 * images - 1
        assert {1, 2, 3} == set(pair.t.tolist()) and torch.equal(pair.x0, x0)
        terms = made.deceive(network, given, torch.Generator().manual_seed(4))
        apart = (given.said - x0).abs().flatten(1).mean(1)
        first = pair.t == 3
        zero = torch.zeros(8, dtype=torch.float64)
        seen = apart if everywhere else torch.where(first, apart, zero)
        torch.testing.assert_close(terms["pixels"], 2 * seen)
        torch.testing.assert_close(terms["features"], 3 * seen / 2, rtol=1e-6, atol=1e-6)
        logits = network.discriminator(given.fake, pair.x_t, pair.times)
        torch.testing.assert_close(terms["adversarial"], -torch.sigmoid(logits.float()).log())
        # Eq. 10 with the model's own chain, walked by the library's sampler on the same noises.
        later = ~first
        again = torch.Generator().manual_seed(4)
        noises = [torch.randn(s, generator=again, dtype=torch.float64) for s in _asked(int(later.sum()))]
        process, start = made.process, noises.pop(0)
        start = float(process.alpha(3)) * x0[later] + float(process.sigma(3)) * start
        model = denoisers.FromGenerator(network, process, 6, "first")
        tape = iter([*noises, torch.zeros_like(start)])  # what the sampler draws last, the chain has no use for
        z_sem = network.encoder(x0[later])
        walk = samplers.ddgan(model, start, torch.tensor([3.0, 2, 1]), noise=lambda shape: next(tape), cond=z_sem)
        said = {step.t + 1: step.x0_hat for step, _ in zip(walk, range(2), strict=False)}
        goals = torch.stack([said[float(t) + 1][k] for k, t in enumerate(pair.t[later])])
        wanted = zero.clone()
        wanted[later] = 5 * (given.said[later] - goals).abs().flatten(1).mean(1)
        torch.testing.assert_close(terms["preserve"], wanted, rtol=1e-6, atol=1e-8)

    def test_what_reaches_whom(self):
        """PD-4: the stop-gradients."""
        made = Adversarial(semantic="first", pixels=1.0, preserve=1.0)
        network, images = small(), torch.rand(16, 1, 8, 8, dtype=torch.float64)
        given = made.draw(network, images, 0, torch.Generator().manual_seed(0))

        def touched(loss):
            network.zero_grad(set_to_none=True)
            loss.backward(retain_graph=True)
            return {n.partition(".")[0] for n, w in network.named_parameters() if w.grad is not None and w.grad.any()}

        assert touched(made.judge(network, given)["discriminator"].sum()) == {"discriminator"}
        first = given.pair.t == 2
        network.discriminator.requires_grad_(False)
        terms = made.deceive(network, given, torch.Generator().manual_seed(1))
        assert touched(terms["adversarial"][first].sum()) == {"generator", "encoder"}
        assert touched(given.said[~first].sum()) == {"generator"}
        assert touched(terms["pixels"].sum()) == {"generator", "encoder"}
        assert touched(terms["preserve"].sum()) == {"generator"}  # through G(x_t, z, t), not through its goal

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"steps": 1}, "steps must be an integer of at least 2, not 1"),
            ({"schedule": "usual"}, "kind must be 'common' or 'special'"),
            ({"semantic": "last"}, "semantic must be one of never, first, every, not 'last'"),
            ({"pixels": -1.0}, "pixels must be a number of at least 0"),
            ({"features": 1.0}, "features, a weight above 0, needs eye"),
            ({"semantic": "never", "pixels": 1.0}, "pixels, features and preserve must be 0 without an encoder"),
            ({"semantic": "never", "preserve": 10.0}, "pixels, features and preserve must be 0 without an encoder"),
            ({"share": (1.2, 0.4)}, "most must be a number of at least 0 and at most 1, not 1.2"),
            ({"r1": -0.1}, "r1 must be a number of at least 0"),
        ],
    )
    def test_bad_numbers_are_named(self, given, sentence):
        with pytest.raises(ParameterError, match=sentence):
            Adversarial(**given)


def _asked(count):
    """Shapes of the noises of Eq. 10's chain for T = 3: the start, then a latent and a posterior's at each step."""
    return [(count, 1, 8, 8), (count, 6), (count, 1, 8, 8), (count, 6)]


class TestSampler:
    """PD-2, BASE-DDGAN: the ancestral walk of a denoiser that draws."""

    @pytest.mark.parametrize("kind", ["common", "special"])
    @pytest.mark.parametrize("steps", [2, 4])
    def test_exact_draws_give_the_law_of_the_data(self, kind, steps):
        """BASE-DDGAN: whatever the schedule and however few the steps; without sampling error, by impulse response."""
        process = schedules.stepped(steps, kind)
        v = torch.tensor([[0.01, 0.3], [1.0, 4.0]], dtype=torch.float64)
        model = denoisers.Gaussian(process, v, 0.2)
        times = torch.arange(steps, -1, -1, dtype=torch.float64)
        law = theory.propagate(samplers.ddgan, model, times)
        # What is left of the data at T is e^-10; it starts from white noise in its place.
        assert float((law.variance / v - 1).abs().max()) < 2e-4
        mean = theory.propagate(samplers.ddim, model, times)
        assert float((mean.variance / v - 1).abs().max()) > 0.05  # means in place of draws do not

    @pytest.mark.parametrize("steps", [2, 4])
    def test_exact_draws_of_a_mixture_keep_its_modes(self, steps):
        process = schedules.stepped(steps, "special")
        weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
        means = torch.tensor([-1.0, 0.8], dtype=torch.float64)[:, None].expand(2, 2)
        model = denoisers.GaussianMixture(process, weights, means, torch.full((2, 2), 0.01, dtype=torch.float64))
        times, count = torch.arange(steps, -1, -1, dtype=torch.float64), 20_000
        x = samplers.last(samplers.ddgan(model, (count, 2), times, noise=samplers.white_noise(0, dtype=torch.float64)))
        low = (x < 0).all(1)
        assert float(low.double().mean()) == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / count))
        for rows, centre in ((low, -1.0), ((x > 0).all(1), 0.8)):
            assert float((x[rows] - centre).square().mean()) == pytest.approx(0.01, rel=0.05)
        assert float(((x < 0).any(1) & (x > 0).any(1)).double().mean()) == 0

    def test_steps_are_calls_and_noises_have_the_shapes_that_are_asked_for(self):
        network, asked = small().eval(), []

        def noise(shape):
            asked.append(shape)
            return drawn(*shape, seed=len(asked))

        model = denoisers.FromGenerator(network, schedules.stepped(2, "special"), 6, "first")
        steps = list(
            samplers.ddgan(model, (3, 1, 8, 8), torch.tensor([2.0, 1, 0]), noise=noise, cond=drawn(3, 6, seed=9))
        )
        assert [step.nfe for step in steps] == [1, 2] and [step.t for step in steps] == [1.0, 0.0]
        assert asked == [(3, 1, 8, 8), (3, 6), (3, 1, 8, 8), (3, 6)]
        assert torch.equal(steps[-1].x, steps[-1].x0_hat)

    def test_the_semantic_vector_counts_where_it_should(self):
        """PD-2, Eq. 8."""
        network, x = small().eval(), drawn(2, 1, 8, 8)
        z_sem, z = drawn(2, 6, seed=1), drawn(2, 6, seed=2)
        for semantic, told in (("never", ()), ("first", (2,)), ("every", (1, 2))):
            model = denoisers.FromGenerator(network, schedules.stepped(2, "special"), 6, semantic)
            for t in (1, 2):
                same = torch.equal(model.draw(x, t, z_sem, z), model.draw(x, t, -z_sem, z))
                assert same == (t not in told)
                assert torch.equal(model.draw(x, t, z_sem, z), model.draw(x, t, z_sem, -z)) == (t in told)

    @pytest.mark.parametrize(
        ("t", "cond", "noise", "error", "sentence"),
        [
            (2, None, torch.zeros(2, 6), ShapeError, "z_T must hold one vector of width 6 for every image"),
            (2, torch.zeros(2, 7), torch.zeros(2, 6), ShapeError, r"z_T must .*\(2, 6\), not \(2, 7\)"),
            (1, torch.zeros(2, 6), torch.zeros(2, 5), ShapeError, r"z must .*\(2, 6\), not \(2, 5\)"),
            (3, torch.zeros(2, 6), torch.zeros(2, 6), ParameterError, "t must be an integer from 1 to 2, not 3"),
        ],
    )
    def test_what_does_not_fit_is_one_sentence(self, t, cond, noise, error, sentence):
        model = denoisers.FromGenerator(small(), schedules.stepped(2, "special"), 6, "first")
        with pytest.raises(error, match=sentence):
            model.draw(drawn(2, 1, 8, 8), t, cond, noise)
        with pytest.raises(ParameterError, match="draws x0 and does not know its mean"):
            model.mean(drawn(2, 1, 8, 8), 1)


def carry(source, target, name):
    for end in ("json", "safetensors"):
        (target / f"{name}.{end}").write_bytes((source / f"{name}.{end}").read_bytes())


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train", 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    """A full model and its prior, hardly trained."""
    folder = tmp_path_factory.mktemp("gan")
    train(FULL, folder, steps=4, device="cpu", images=images)
    beside = folder / "prior"
    beside.mkdir()
    carry(folder, beside, "digits-progddgan")
    train(replace(recipe("digits-progddgan-prior"), batch=16), beside, steps=4, device="cpu", images=images)
    carry(beside, folder, "digits-progddgan-prior")
    train(replace(recipe("digits-ddgan2"), batch=16), folder / "plain", steps=2, device="cpu", images=images)
    return folder


def weights(folder, name="digits-progddgan"):
    return checkpoints.load(name, folder)[1]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestTraining:
    """PD-4, BASE-DDGAN: the one loop, with two sides."""

    def test_a_run_that_stopped_equals_one_that_did_not(self, run, tmp_path, images):
        train(FULL, tmp_path, steps=2, device="cpu", images=images)
        train(FULL, tmp_path, steps=4, device="cpu", images=images)
        assert same(weights(run), weights(tmp_path))

    def test_the_seed_decides(self, run, tmp_path, images):
        train(replace(FULL, seed=1), tmp_path, steps=4, device="cpu", images=images)
        assert not same(weights(run), weights(tmp_path))

    def test_the_card_and_the_log_say_everything(self, run):
        """PD-4: the weights that the paper does not give are on the card."""
        card = checkpoints.card("digits-progddgan", run)
        said = card["predicts"]
        assert (said["kind"], said["steps"], said["schedule"], said["semantic"]) == ("ddgan", 2, "special", "first")
        assert said["weights"] == {"adversarial": 1, "pixels": 10, "features": 1, "preserve": 10, "r1": 0.05}
        assert "digits-classifier" in said["eye"] and said["share"] == [0.8, 0.4, 200_000]
        line = json.loads((run / "log.jsonl").read_text().splitlines()[0])
        wanted = {"discriminator", "adversarial", "pixels", "features", "preserve", "r1", "P"}
        assert wanted | {"gradient of generator", "gradient of discriminator"} <= line.keys()
        assert all(math.isfinite(value) for value in line.values())
        generator = sum(line[name] for name in ("adversarial", "pixels", "features", "preserve"))
        assert line["step"] == 4 and generator > 0

    def test_grids_of_samples_lie_beside_the_checkpoint(self, tmp_path):
        """A GAN's losses do not say whether it works."""
        command = ["train", "digits-ddgan2", "--steps", "2", "--batch", "8", "--device", "cpu", "--out", str(tmp_path)]
        assert main(command) == 0
        assert [path.name for path in (tmp_path / "grids").iterdir()] == ["0000002.png"]

    def test_the_penalty_acts_every_interval_and_is_not_rescaled(self, tmp_path, images):
        """BASE-DDGAN."""
        eager = replace(FULL, objective=lambda _: Adversarial(r1=0.5, interval=3))
        with Team("cpu") as team:
            run = AdversarialRun(eager, tmp_path, images, team, compiled=None, half=False)
            for _ in range(7):
                run.step()
            assert run.counts["r1"] == 3 and run.counts["discriminator"] == 7
            objective, network = run.sides
            pair = objective.pose(images.images[:4], 0, torch.Generator().manual_seed(0))
            found = objective.penalty(network, pair)
            wanted = gradient_penalty(network.discriminator, pair.x_s, pair.x_t, pair.times)
            torch.testing.assert_close(found, 0.25 * wanted)

    def test_the_sides_move_their_own_weights_alone(self, tmp_path, images):
        """One optimiser for both: what has no gradient stays, and its moments too."""
        with Team("cpu") as team:
            slower = replace(FULL, objective=lambda _: Adversarial(critic=0.8))
            run = AdversarialRun(slower, tmp_path, images, team, compiled=None, half=True)
            run.step()
            moments = {name: run.optimiser.state[w]["step"] for name, w in run.network.named_parameters()}
            assert {float(step) for step in moments.values()} == {1.0} and len(moments) == len(run.optimiser.state)
            rates = [group["lr"] / FULL.rate for group in run.optimiser.param_groups]
            assert rates == pytest.approx([1.0, 0.8])
            raw = dict(run.network.named_parameters())
            kept = [n for n, w in run.average.weights.items() if n in raw and torch.equal(w, raw[n])]
            assert {n for n in kept if n.startswith("discriminator.")} == {
                n for n in raw if n.startswith("discriminator.")
            }

    def test_a_shipped_checkpoint_goes_on_with_its_discriminator(self, run, tmp_path, images):
        """``--start``: everything is in the checkpoint but Adam's moments."""
        train(FULL, tmp_path, steps=5, device="cpu", images=images, start=run)
        said = checkpoints.card("digits-progddgan", tmp_path)["training"]
        assert said["steps"] == 5 and said["history"][0]["until"] == 4
        before, after = weights(run), weights(tmp_path)
        assert any(name.startswith("discriminator.") for name in before)
        moments = {"encoder.centre", "encoder.covariance"}  # which follow the vectors, not the rate
        assert all(torch.allclose(before[name], after[name], atol=3e-3) for name in before.keys() - moments)

    def test_a_discriminator_that_won_is_said(self, tmp_path, images, monkeypatch):
        monkeypatch.setattr(loop, "PATIENCE", 5)
        monkeypatch.setattr(loop, "WON", 1.2)
        one_sided = replace(FULL, rate=1e-7, objective=lambda _: Adversarial(r1=0.0, critic=5e4))
        with pytest.raises(
            TrainingError, match=r"The discriminator won near step \d+: .*larger r1 or a smaller critic"
        ):
            train(one_sided, tmp_path, steps=400, device="cpu", images=images)

    def test_what_is_not_finite_is_said(self, tmp_path, images):
        broken = replace(images, images=images.images * float("nan"))
        with pytest.raises(TrainingError, match="diverged near step"):
            train(FULL, tmp_path, steps=40, device="cpu", images=broken)

    def test_the_batch_that_fits_has_room_for_the_penalty(self, tmp_path, images, monkeypatch):
        """What is said when memory ran out: of the dearest step, in whole groups of the discriminator."""
        plain = Adversarial.penalty

        def penalty(self, network, pair):
            if len(pair.t) > 8:
                raise torch.OutOfMemoryError
            return plain(self, network, pair)

        monkeypatch.setattr(Adversarial, "penalty", penalty)
        with pytest.raises(TrainingError, match=r"Memory ran out with 40 images per step: --batch 8 fits\."):
            train(replace(FULL, batch=40), tmp_path, steps=1, device="cpu", images=images)

        def never(self, network, pair):
            raise torch.OutOfMemoryError

        monkeypatch.setattr(Adversarial, "penalty", never)
        with pytest.raises(TrainingError, match=r"not even 4 images fit\."):
            train(replace(FULL, batch=40), tmp_path, steps=1, device="cpu", images=images)

    def test_several_processes_are_refused(self, tmp_path, images):
        with Team("cpu") as team:
            team.size = 2
            with pytest.raises(TrainingError, match="in one process: start one"):
                AdversarialRun(FULL, tmp_path, images, team, compiled=None, half=False)

    def test_the_prior_learns_normalised_vectors_of_that_encoder(self, run, images):
        """PD-6, BASE-DIFFAE."""
        card = checkpoints.card("digits-progddgan-prior", run)
        whole = checkpoints.card("digits-progddgan", run)
        assert card["data"]["latent"] == {"name": "digits-progddgan", "sha256": whole["weights"]["sha256"]}
        encoder = trained.load("digits-progddgan", run).encoder
        vectors = encoder.normalise(encoder(2 * images.images - 1))
        assert card["predicts"]["std"] == pytest.approx(float(vectors.double().std()), abs=1e-3)
        # The moments are of the averaged encoder, which is the one that is kept, and of all images here.
        assert float(vectors.mean(0).abs().max()) < 0.03
        assert float((vectors.std(0) - 1).abs().max()) < 0.01
        with pytest.raises(CheckpointError, match="need an autoencoder or a semantic encoder, and digits-ddgan2 has"):
            train(replace(recipe("digits-progddgan-prior"), latent="digits-ddgan2"), run / "plain", steps=1,
                  device="cpu", images=images)  # fmt: skip

    def test_moments_are_of_mirrored_images_too_where_training_mirrors(self, tmp_path, images, monkeypatch):
        """PD-6: the prior learns the vectors of both; and of the first images alone, of many."""
        monkeypatch.setattr(loop, "MEASURED", 300)
        train(replace(FULL, flip=True), tmp_path, steps=2, device="cpu", images=images)
        encoder = trained.load("digits-progddgan", tmp_path).encoder
        some = 2 * images.images[:300] - 1
        vectors = encoder.normalise(encoder(torch.cat((some, some.flip(-1)))))
        assert float(vectors.mean(0).abs().max()) < 0.03
        assert float((vectors.std(0) - 1).abs().max()) < 0.01

    def test_the_rows_of_table_1_are_recipes(self, images):
        """PD-8, Table 1, the sixth row that the text names, and the controls of PD-5."""
        made = {}
        for end in TABLE_1:
            row = RECIPES[f"fashion-{end}"]
            said = row.objective(images).predicts
            parts = "".join(c for c, name in zip("pfr", ("pixels", "features", "preserve"), strict=True)
                            if said["weights"][name])  # fmt: skip
            made[end] = (said["schedule"], said["semantic"], parts, said["share"] and said["share"][:2])
            assert row.name in gates.GATES and row.network["semantic"] == (said["semantic"] != "never")
        assert made == {
            "ddgan2": ("common", "never", "", None),
            "ddgan2-special": ("special", "never", "", None),
            "ddgan2-se": ("special", "every", "", None),
            "ddgan2-pixels": ("special", "every", "p", None),
            "ddgan2-features": ("special", "first", "pf", None),
            "progddgan": ("special", "first", "pfr", [0.8, 0.4]),
            "progddgan-free": ("special", "first", "pf", [0.8, 0.4]),
            "progddgan-every": ("special", "every", "pfr", [0.8, 0.4]),
            "progddgan-constant": ("special", "first", "pfr", [0.6, 0.6]),
            "progddgan-uniform": ("special", "first", "pfr", None),
        }
        for end in LONG:
            short, long = (RECIPES[f"fashion-{end}{suffix}"] for suffix in ("", "-long"))
            own, other = (made.objective(images).predicts for made in (long, short))
            assert (own["share"] or [0] * 3)[2] == (PLANNED["fashion-long"] if own["share"] else 0)
            assert {**own, "share": 0} == {**other, "share": 0}
            assert long.name in gates.GATES and long.network == short.network and "beside" not in long.extra
        four = RECIPES["fashion-ddgan4"].objective(images).predicts
        assert (four["steps"], four["schedule"], four["semantic"]) == (4, "common", "never")

    def test_p_ends_where_training_does(self, images):
        """PD-5, Eq. 11: N is the whole training, in the recipes and in the commands that wait for a GPU."""
        queue = (checkpoints.FOLDER.parent / "gpu-queue.md").read_text()
        for short, first, steps in (("fashion", "END", 2600), ("cifar10", "ddgan2", 30_000)):
            assert re.findall(rf"{short}-{first} --minutes \d+ --until (\d+)", queue) == [str(steps)]
            for end in TABLE_1 if short == "fashion" else ("ddgan2", "progddgan"):
                made = RECIPES[f"{short}-{end}"]
                assert made.objective(images).span == PLANNED[short] == steps * made.batch
                assert made.end == (steps if short == "fashion" else 0)  # where its rate has fallen
        until = re.search(r"`fashion-ddgan2-long` and `fashion-ddgan4-long` with `--until (\d+)`", queue)
        assert until and {RECIPES[f"fashion-ddgan{t}-long"].end for t in (2, 4)} == {int(until[1])}
        constant = RECIPES["fashion-progddgan-constant"].objective(images)
        falling = RECIPES["fashion-progddgan"].objective(images)
        seen = range(0, PLANNED["fashion"], RECIPES["fashion-progddgan"].batch)
        mean = sum(semantic_share(n, falling.span, *falling.share) for n in seen) / len(seen)
        assert constant.share == pytest.approx((mean, mean), abs=1e-3)


class TestSampling:
    """PD-2, PD-6: images from a checkpoint, with all calls counted."""

    plan = Plan("digits-progddgan", "ddgan", nfe=2, count=6)

    def test_calls_of_the_prior_are_counted(self, run):
        """PD-6."""
        few, more = sample(self.plan, run), sample(replace(self.plan, nfe=7), run)
        assert (few.nfe, more.nfe) == (2, 7)
        assert few.images.shape == (6, 1, 8, 8) and 0 <= float(few.images.min()) <= float(few.images.max()) <= 1
        assert not torch.equal(few.images, more.images)
        model, called = trained.load("digits-progddgan", run), []
        assert model.prior is not None
        for network in (model.network.generator, model.prior.network):
            assert isinstance(network, nn.Module)
            network.register_forward_hook(lambda *_, network=network: called.append(type(network).__name__))
        with torch.no_grad():
            inputs = adversarial.drawn(model, 3, samplers.white_noise(0), calls=adversarial.prior_calls(model, 7))
            adversarial.generate(model, inputs)
        assert called == ["LatentPrior"] * 5 + ["Generator"] * 2

    def test_batches_and_seeds(self, run):
        whole = sample(self.plan, run).images
        torch.testing.assert_close(sample(self.plan, run, batch=4).images, whole, rtol=0, atol=1e-5)
        assert torch.equal(sample(self.plan, run).images, whole)
        assert not torch.equal(sample(replace(self.plan, seed=1), run).images, whole)
        half = sample(replace(self.plan, half=True), run).images
        assert 0 < float((half - whole).abs().max()) < 0.1

    def test_a_filter_reaches_what_is_drawn(self, run):
        """TDAS-3: a gain of 1 changes nothing, and one of 1/2 the start and the noise of the posterior."""
        plain, same_noise, half = (
            sample(replace(self.plan, filt=filt), run).images
            for filt in (None, {"kind": "scalar", "lam": 1.0}, {"kind": "scalar", "lam": 0.5})
        )
        torch.testing.assert_close(same_noise, plain, rtol=0, atol=1e-6)
        assert float((half - plain).abs().mean()) > 1e-3

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"nfe": 1}, "nfe must be at least 2 for digits-progddgan, which was trained with T = 2, not 1"),
            ({"sampler": "ddim", "nfe": 4}, "does not know its mean: the sampler must be ddgan"),
            ({"labels": "each"}, "knows no classes"),
            ({"start": "uniform"}, "ddgan takes no further parameters"),
            ({"named": {"eta": 1}}, "ddgan takes no further parameters"),
            ({"checkpoint": "digits-progddgan-prior"}, "makes semantic vectors and no images: sample digits-progddgan"),
        ],
    )
    def test_what_does_not_fit_is_one_sentence(self, run, changed, sentence):
        with pytest.raises(ParameterError, match=sentence):
            sample(replace(self.plan, **changed), run)

    def test_others_do_not_draw(self, run):
        with pytest.raises(ParameterError, match="ddgan draws x0 and digits knows its mean"):
            sample(Plan("digits", "ddgan", nfe=2, count=2))
        with pytest.raises(ParameterError, match="nfe must be 2 for digits-ddgan2"):
            sample(Plan("digits-ddgan2", "ddgan", nfe=4, count=2), run / "plain")
        with pytest.raises(ParameterError, match="has no semantic encoder"):
            _ = trained.load("digits-ddgan2", run / "plain").encoder

    def test_another_t_than_in_training(self, run):
        model = trained.load("digits-progddgan", run)
        assert isinstance(model.denoiser(schedules.stepped(2, "special")), denoisers.FromGenerator)
        for other in (schedules.stepped(4, "special"), schedules.stepped(2, "common")):
            with pytest.raises(ParameterError, match="T must be 2, on that schedule"):
                model.denoiser(other)

    def test_encoder_and_generator_of_different_runs(self, run, tmp_path, images):
        """The prior knows by a hash which encoder's vectors it has learned."""
        other = tmp_path / "other"
        train(replace(FULL, seed=3), other, steps=1, device="cpu", images=images)
        carry(run, other, "digits-progddgan-prior")
        with pytest.raises(CheckpointError, match="encoder and generator of digits-progddgan are of another run"):
            trained.load("digits-progddgan", other)
        with pytest.raises(CheckpointError, match="another digits-progddgan than the one that is there"):
            trained.load("digits-progddgan-prior", other)

    def test_a_shipped_prior_of_other_weights_is_no_prior_of_a_new_training(self, run, tmp_path, images, monkeypatch):
        """Training anew, elsewhere than where the shipped ones lie, must not fail on what is shipped."""
        monkeypatch.setattr(checkpoints, "FOLDER", run)
        train(replace(FULL, seed=3), tmp_path, steps=1, device="cpu", images=images)
        assert trained.load("digits-progddgan", tmp_path).prior is None
        assert sample(self.plan, tmp_path).nfe == 2
        same_weights = tmp_path / "same"
        same_weights.mkdir()
        carry(run, same_weights, "digits-progddgan")
        assert trained.load("digits-progddgan", same_weights).prior is not None

    def test_without_a_prior_there_is_the_gaussian(self, run, tmp_path, images):
        train(FULL, tmp_path, steps=1, device="cpu", images=images)
        assert sample(self.plan, tmp_path).nfe == 2
        with pytest.raises(CheckpointError, match="fewsteps train digits-progddgan-prior makes one"):
            sample(replace(self.plan, nfe=7), tmp_path)

    def test_gates_ask_for_the_calls_that_count(self, run):
        """PD-8: with the prior's."""
        assert gates.asked(checkpoints.card("digits-progddgan", run)).nfe == 2 + gates.PRIOR_CALLS
        assert gates.asked(checkpoints.card("digits-ddgan2", run / "plain")).nfe == 2
        assert gates.failures(checkpoints.card("digits-progddgan-prior", run)) == []

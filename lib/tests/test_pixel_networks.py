"""PixelAware's networks, objectives, starts and ways to an image, on 8 px digits and against plain loops."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from skimage.metrics import structural_similarity
from torch.nn import functional as F

from fewsteps import checkpoints, export, samplers, schedules, trained
from fewsteps.data import load
from fewsteps.errors import CheckpointError, DataError, ParameterError, ShapeError
from fewsteps.experiments import gates, pixel_aware, pixel_measures, starts
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.losses import ParallelNoise, ScaleEstimation, SingleHead
from fewsteps.losses.pixel import noised
from fewsteps.networks import Parallel, ScaleVAE, build
from fewsteps.schedules import PIXEL_MIN, brightness, image_scale, noise_share, to_scale
from fewsteps.training import RECIPES, recipe, train
from fewsteps.training.teacher import Scales

GAMMA, T = 4.0, 6
SCALE = {"kind": "scale", "channels": 1, "size": 8, "width": 8, "multipliers": [1, 2], "patch": 1, "latent": 20}
PARALLEL = {"kind": "parallel", "channels": 1, "width": 8, "multipliers": [1, 2], "patch": 1, "hidden": 4}


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def image(*shape, seed=0):
    return PIXEL_MIN + (1 - PIXEL_MIN) * drawn(*shape, seed=seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def stirred(network, seed=1):
    """No weight at zero, so that nothing is silent because it has not been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


def made(description, **other):
    torch.manual_seed(0)
    return stirred(build(json.loads(json.dumps({**description, **other}))))


def constant(scale):
    """An estimator that says one scale, whatever it sees."""
    return lambda x, times: scale.expand_as(x)


class Says(torch.nn.Module):
    """A network that says what it is told to, and remembers what it was asked."""

    latent = 3

    def __init__(self, *said):
        super().__init__()
        self.said, self.asked = said, ()

    def forward(self, *asked):
        self.asked = asked
        return self.said if len(self.said) > 1 else self.said[0]


class TestScaleVAE:
    """PX-5: the scale estimator."""

    def test_all_passes_one_vector(self):
        """PX-5, Appendix C: 4 x 4 positions are flattened, projected to a longer vector, and made a map."""
        network, x, times = made(SCALE), normal(3, 1, 8, 8, dtype=torch.float32), torch.tensor([0.2, 0.5, 1.0])
        mean, std = network.encode(x, times)
        assert mean.shape == std.shape == (3, 20) and bool((std > 0).all())
        assert made(SCALE, kept=1).mean_and_spread.in_features == 16
        assert ScaleVAE(1).latent > ScaleVAE(1).mean_and_spread.in_features  # the paper projects to more
        said, *_ = network(x, times)
        assert torch.equal(said, network.decode(mean, times)) and said.shape == x.shape
        noise = normal(3, 20, seed=1, dtype=torch.float32)
        assert torch.equal(network(x, times, noise)[0], network.decode(mean + std * noise, times))
        assert bool(((said > 0) & (said < 1)).all())
        assert made(SCALE, output="linear")(x, times)[0].min() < 0

    def test_the_step_is_heard_both_ways(self):
        network, x = made(SCALE), normal(2, 1, 8, 8, dtype=torch.float32)
        early, late = (torch.full((2,), t) for t in (0.1, 0.9))
        assert (network.encode(x, early)[0] - network.encode(x, late)[0]).abs().max() > 1e-3
        vector = torch.ones(2, 20)
        assert (network.decode(vector, early) - network.decode(vector, late)).abs().max() > 1e-4

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"width": 12}, "width must be a multiple of 8, not 12"),
            ({"size": 16}, "size must be 8 for 2 resolutions and a patch of 1, so that the last is 4 x 4, not 16"),
            ({"output": "tanh"}, "output must be one of sigmoid, linear, not 'tanh'"),
            ({"latent": 0}, "latent must be an integer of at least 1"),
        ],
    )
    def test_bad_numbers_are_named(self, given, sentence):
        with pytest.raises(ParameterError, match=sentence):
            build({**SCALE, **given})

    def test_other_shapes_are_refused(self):
        network = made(SCALE)
        with pytest.raises(ShapeError, match=r"x must have the shape \(B, 1, 8, 8\), not \(2, 1, 16, 8\)"):
            network(torch.zeros(2, 1, 16, 8), torch.ones(2))
        with pytest.raises(ShapeError, match=r"latents must have the shape \(B, 20\), not \(2, 3\)"):
            network.decode(torch.zeros(2, 3), torch.ones(2))


class TestParallel:
    """PX-6: T sub-networks in one pass."""

    @pytest.mark.parametrize("attending", [False, True])
    def test_each_is_the_network_that_it_would_be_alone(self, attending):
        """PX-6, Eq. 14: grouped convolutions are T small networks, computed one by one here; attention too."""
        network = made(PARALLEL, heads=3, channels=2, masked=False, attending=attending)
        x, scale = normal(2, 2, 8, 8, dtype=torch.float32), drawn(2, 2, 8, 8, dtype=torch.float32)
        times = torch.tensor([0.4, 1.0])
        together = network(x, times, scale)
        assert together.shape == (2, 6, 8, 8)
        for j in (0, 2):
            alone = made(PARALLEL, heads=1, channels=2, masked=False, attending=attending)
            weights = network.state_dict()
            alone.load_state_dict({k: w[j : j + 1] if k.startswith("each.") else w for k, w in weights.items()})
            torch.testing.assert_close(alone(x, times, scale), together[:, 2 * j : 2 * j + 2], rtol=1e-4, atol=1e-5)

    def test_some_of_them_are_what_they_are_among_all(self):
        network = made(PARALLEL, heads=5)
        x, scale, times = normal(2, 1, 8, 8, dtype=torch.float32), torch.full((2, 1, 8, 8), 0.3), torch.ones(2)
        chosen = torch.tensor([0, 3])
        some = network(x, times, scale, chosen)
        torch.testing.assert_close(some, network(x, times, scale)[:, chosen], rtol=1e-4, atol=1e-5)

    def test_the_mask_closes_later_steps(self):
        """PX-6, M_j: ones up to the step of the input, zeros beyond, for every i exactly."""
        for steps in (7, 50):
            network = Parallel(1, heads=steps, width=8, multipliers=(1,), attention=(), patch=1, hidden=1)
            torch.nn.init.ones_(network.each.bias)
            i = torch.arange(1, steps + 1)
            x = torch.zeros(steps, 1, 4, 4)
            open_ = network(x, i.float() / steps, x)[:, :, 0, 0]
            assert torch.equal(open_ > 0.5, torch.arange(1, steps + 1) <= i[:, None])
            assert not open_[0, 1:].any()

    def test_attention_looks_at_every_position_of_its_own_sub_network(self):
        """PX-6, Appendix C: by a plain softmax; one pixel is felt everywhere, a neighbour's parameters nowhere; and at
        first it is silent."""
        each = stirred(build({**PARALLEL, "heads": 2, "attending": True})).each
        h, folded = normal(1, each.enter.shape[2] - 1, 4, 4, dtype=torch.float32), torch.zeros(1, 1, 4, 4)
        said = each(h, folded, None)
        residual = F.conv2d(torch.cat((h, folded), 1), each.enter.flatten(0, 1))
        with torch.no_grad():
            for k in range(2):
                inside = F.silu(F.group_norm(residual, 2, each.gain[k].flatten(), each.shift[k].flatten()))
                residual = residual + F.conv2d(inside, each.residual[k].flatten(0, 1), padding=1, groups=2)
                normed = F.group_norm(residual, 2, each.level[k].flatten())
                added = []
                for j in range(2):
                    own = normed[0, 4 * j : 4 * j + 4].flatten(1)
                    query, key, value = (each.ask[k][j, 4 * m : 4 * m + 4, :, 0, 0] @ own for m in range(3))
                    attended = value @ (query.mT @ key / 2).softmax(1).mT
                    added.append((each.tell[k][j, :, :, 0, 0] @ attended).unflatten(1, (4, 4)))
                residual = residual + torch.cat(added)
        end = F.silu(F.group_norm(residual, 2, each.gain[2].flatten(), each.shift[2].flatten()))
        wanted = F.conv2d(end, each.leave.flatten(0, 1), each.bias.flatten(), groups=2)
        torch.testing.assert_close(said, wanted, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            each.ask[0][1].mul_(3)
        other = each(h, folded, None)
        assert torch.equal(other[:, 0], said[:, 0]) and (other[:, 1] - said[:, 1]).abs().max() > 1e-4
        plain, attending = (build({**PARALLEL, "heads": 2, "attending": flag}) for flag in (False, True))
        assert not any("ask" in name for name in plain.state_dict())
        attending.load_state_dict(plain.state_dict(), strict=False)
        x, times = normal(1, 1, 8, 8, dtype=torch.float32), torch.ones(1)
        torch.testing.assert_close(plain(x, times, x), attending(x, times, x))

    @pytest.mark.parametrize("attending", [False, True])
    def test_a_sub_network_is_trained_by_its_own_loss_alone(self, attending):
        """PX-6, Eq. 15: the gradient of loss j is zero in the parameters of every G_k but G_j, and not in the
        backbone."""
        network = made(PARALLEL, heads=T, attending=attending)
        objective = ParallelNoise(GAMMA, T, constant(torch.tensor(0.4)))
        generator = torch.Generator().manual_seed(0)
        posed = noised(image(4, 1, 8, 8).float(), GAMMA, T, generator)
        posed = replace(posed, steps=torch.full((4,), T), times=torch.ones(4))
        targets = objective.targets(posed, torch.arange(T), generator)
        for j in (0, 2, T - 1):
            network.zero_grad()
            only = torch.tensor([j])
            said = network(posed.x, posed.times, torch.full_like(posed.x, 0.4))
            objective.loss(said[:, only], targets[:, only], posed.steps, only).sum().backward()
            for name, weight in network.each.named_parameters():
                moved = weight.grad.flatten(1).abs().sum(1) > 0
                assert moved.tolist() == [k == j for k in range(T)], name
            assert all(bool(w.grad.abs().sum() > 0) for n, w in network.named_parameters() if "fuse" in n)

    def test_step_and_scale_are_fused_at_every_level(self):
        """PX-6, Appendix C: before every encoder and decoder, and before the sub-networks."""
        network = made(PARALLEL, heads=2)
        assert len(network.fuse_encoders) == len(network.fuse_decoders) == network.levels == 2
        x, times = normal(2, 1, 8, 8, dtype=torch.float32), torch.ones(2)
        said = [network(x, times, torch.full_like(x, level)) for level in (0.1, 0.9)]
        assert (said[0] - said[1]).abs().max() > 1e-3
        for fuse in (*network.fuse_encoders, *network.fuse_decoders, network.fuse_heads):
            h, steer = torch.zeros(1, fuse.step.out_features, 4, 4), torch.zeros(1, 32)
            assert fuse(h, steer, torch.ones(1, 1, 4, 4)).abs().max() > 0

    def test_bad_input_is_one_sentence(self):
        network = made(PARALLEL, heads=2, size=8)
        x, times = torch.zeros(1, 1, 8, 8), torch.ones(1)
        with pytest.raises(ShapeError, match=r"scale must have the shape of x, \(1, 1, 8, 8\), not \(1, 1, 4, 4\)"):
            network(x, times, x[..., :4, :4])
        with pytest.raises(ShapeError, match="x must be 8 x 8 pixels, not 16 x 16"):
            network(torch.zeros(1, 1, 16, 16), times, torch.zeros(1, 1, 16, 16))
        for given, sentence in (
            ({"heads": 0}, "heads must be an integer of at least 1"),
            ({"width": 9}, "width must be a multiple of 8"),
            ({"attention": [2]}, "attention must name resolutions from 0 to 1"),
            ({"hidden": 0}, "hidden must be an integer of at least 1"),
        ):
            with pytest.raises(ParameterError, match=sentence):
                build({**PARALLEL, "heads": 2, **given})


class TestNoiseShare:
    @pytest.mark.parametrize("reading", schedules.pixel.READINGS)
    def test_it_is_the_regression_on_the_last_noise(self, reading):
        """PX-7: over many trajectories of one image, by least squares."""
        x0 = torch.full((60_000, 1), 0.35, dtype=torch.float64)
        path = samplers.forward_path(x0, GAMMA, T, samplers.white_noise(2, dtype=torch.float64))
        rate = torch.tensor(-GAMMA * 0.35 / T, dtype=torch.float64)
        for i in (2, T):
            end = path.marginals[i - 1]
            targets = path.marginals[i - 1 : i].expand(i, -1, -1) if reading == "last" else path.targets(reading)[:i]
            slope = (targets * end).mean((1, 2)) / end.square().mean()
            found = torch.stack([noise_share(rate, i, j, reading) for j in range(1, i + 1)])
            torch.testing.assert_close(found, slope, atol=0.015, rtol=0)

    def test_an_unknown_reading_is_named(self):
        with pytest.raises(ParameterError, match="reading must be one of increment, marginal, last"):
            noise_share(torch.tensor(-0.1), 3, 1, "first")


class TestObjectives:
    """PX-5, PX-6, PX-10: each against a plain loop in float64."""

    def test_images_are_noised_by_eq_9(self):
        x0 = image(5, 1, 2, 2)
        posed = noised(x0, GAMMA, T, torch.Generator().manual_seed(3))
        for b in range(5):
            i = int(posed.steps[b])
            assert 1 <= i <= T and float(posed.times[b]) == pytest.approx(i / T)
            for p in range(2):
                bar = math.exp(-GAMMA * i * float(x0[b, 0, p, 1]) / T)
                wanted = bar**0.5 * float(x0[b, 0, p, 1]) + (1 - bar) ** 0.5 * float(posed.noise[b, 0, p, 1])
                assert float(posed.x[b, 0, p, 1]) == pytest.approx(wanted)
        dark = noised(torch.zeros(3, 1, 2, 2), GAMMA, T, torch.Generator())
        assert bool((dark.rate < 0).all()) and bool(dark.x.isfinite().all())

    def test_heads_that_do_not_match_the_steps_are_refused(self):
        """PX-6: twice as many for a grey image would otherwise be taken for two channels, and broadcast."""
        x0, told = image(3, 1, 2, 2), constant(torch.tensor(0.5))
        for heads in (2 * T, T + 1):
            with pytest.raises(ShapeError, match=rf"must say C \* T = 1 \* {T} channels, not {heads}"):
                ParallelNoise(GAMMA, T, told)(Says(image(3, heads, 2, 2)), x0, None, torch.Generator())
        with pytest.raises(ShapeError, match=r"must say one image, \(3, 1, 2, 2\), not \(3, 2, 2, 2\): one head"):
            SingleHead(GAMMA, T, told)(Says(image(3, 2, 2, 2)), x0, None, torch.Generator())

    @pytest.mark.parametrize("estimates", ["scale", "log", "image"])
    def test_the_estimator_is_asked_for_its_scale(self, estimates):
        """PX-5; PX-10 for the image: squared error of what is estimated, and the divergence, by hand."""
        x0, said = image(3, 1, 2, 2), image(3, 1, 2, 2, seed=1)
        mean, std = normal(3, 3), drawn(3, 3, seed=4) + 0.1
        network = Says(said, mean.float(), std.float())
        got = ScaleEstimation(GAMMA, T, estimates, kl=0.01)(network, x0, None, torch.Generator().manual_seed(0))
        assert network.asked[2].shape == (3, 3)
        for b in range(3):
            error = divergence = 0.0
            for p in range(2):
                for q in range(2):
                    true, told = float(x0[b, 0, p, q]), float(said[b, 0, p, q])
                    if estimates == "scale":
                        error += (told - math.exp(-GAMMA * true)) ** 2 / 4
                    elif estimates == "log":
                        error += (-GAMMA * told - math.log(math.exp(-GAMMA * true))) ** 2 / 4
                    else:
                        error += (told - true) ** 2 / 4
            for k in range(3):
                m, s = float(mean[b, k]), float(std[b, k])
                divergence += (m * m + s * s - 1) / 2 - math.log(s)
            assert float(got[b]) == pytest.approx(error + 0.01 * divergence / 4, rel=1e-5)

    @pytest.mark.parametrize("reading", schedules.pixel.READINGS)
    def test_the_noises_of_one_trajectory_are_the_targets(self, reading):
        """PX-6, Eq. 15; PX-7: drawn targets walk from x0 to the very x_i that the network sees."""
        x0 = image(4, 1, 2, 2)
        objective = ParallelNoise(GAMMA, T, constant(torch.tensor(0.5)), reading=reading, drawn=True)
        generator = torch.Generator().manual_seed(1)
        posed = noised(x0, GAMMA, T, generator)
        targets = objective.targets(posed, torch.arange(T), generator)
        for b in range(4):
            i, state = int(posed.steps[b]), x0[b]
            alpha = image_scale(x0[b], GAMMA) ** (1 / T)
            for j in range(i):
                if reading == "increment":
                    state = alpha.sqrt() * state + (1 - alpha).sqrt() * targets[b, j]
                else:
                    bar = alpha ** (j + 1)
                    state = bar.sqrt() * x0[b] + (1 - bar).sqrt() * targets[b, j]
            if reading == "last":
                torch.testing.assert_close(targets[b], posed.noise[b].expand(T, 1, 2, 2))
            torch.testing.assert_close(state, posed.x[b])

    def test_marginals_of_a_drawn_trajectory_have_its_correlations(self):
        """PX-7: Eq. 3's noises of one trajectory are standard normal, and correlated as Eq. 2 makes them."""
        x0 = torch.full((30_000, 1, 1, 1), 0.4, dtype=torch.float64)
        objective = ParallelNoise(GAMMA, T, constant(torch.tensor(0.5)), drawn=True)
        generator = torch.Generator().manual_seed(5)
        posed = noised(x0, GAMMA, T, generator)
        posed = replace(posed, steps=torch.full_like(posed.steps, T))
        z = objective.targets(posed, torch.arange(T), generator).flatten(1)
        path = samplers.forward_path(x0, GAMMA, T, samplers.white_noise(0, dtype=torch.float64))
        wanted = torch.corrcoef(path.marginals.flatten(1))
        torch.testing.assert_close(z.mT @ z / len(z), wanted, atol=0.03, rtol=0)

    @pytest.mark.parametrize("reading", ["increment", "marginal"])
    def test_means_of_targets_train_the_same(self, reading):
        """PX-6: the gradient with mean targets is the expectation of the one with drawn targets."""
        x0 = image(1, 1, 1, 1).expand(20_000, 1, 1, 1)
        slope = torch.zeros(1, T, 1, 1, dtype=torch.float64, requires_grad=True)

        def network(x, times, scale):
            return slope * x

        found = {}
        for own in (True, False):
            objective = ParallelNoise(GAMMA, T, constant(torch.tensor(0.5)), reading=reading, drawn=own)
            loss = objective(network, x0, None, torch.Generator().manual_seed(2))
            found[own] = torch.autograd.grad(loss.mean(), slope)[0]
        torch.testing.assert_close(found[True], found[False], atol=0.01, rtol=0.05)

    def test_losses_are_eq_15(self):
        """PX-6, Eq. 15: mean over j of the squared error, zero beyond i; by a plain loop."""
        x0, said = image(3, 2, 2, 2), normal(3, 2 * T, 2, 2, seed=3)
        objective = ParallelNoise(GAMMA, T, constant(torch.tensor(0.5)))
        got = objective(Says(said.float()), x0, None, torch.Generator().manual_seed(4))
        posed = noised(x0, GAMMA, T, torch.Generator().manual_seed(4))
        for b in range(3):
            total, i = 0.0, int(posed.steps[b])
            for j in range(1, i + 1):
                share = noise_share(posed.rate[b], i, j, "marginal")
                apart = said[b, 2 * (j - 1) : 2 * j] - share * posed.noise[b]
                total += float(apart.square().mean()) / T
            assert float(got[b]) == pytest.approx(total, rel=1e-5)

    def test_sampled_sub_networks_are_told_and_estimate_the_same_loss(self):
        x0 = image(2, 1, 8, 8).float()
        network = made(PARALLEL, heads=T)
        whole = ParallelNoise(GAMMA, T, constant(torch.tensor(0.5)))
        part = replace(whole, sampled=2)
        values = [float(part(network, x0, None, torch.Generator().manual_seed(s)).mean().detach()) for s in range(30)]
        full = [float(whole(network, x0, None, torch.Generator().manual_seed(s)).mean().detach()) for s in range(30)]
        assert sum(values) / 30 == pytest.approx(sum(full) / 30, rel=0.15)

    def test_the_single_head_says_the_image(self):
        x0, said = image(3, 1, 2, 2), image(3, 1, 2, 2, seed=1)
        objective = SingleHead(GAMMA, T, constant(torch.tensor(0.5)))
        got = objective(Says(said.float()), x0, None, torch.Generator())
        assert float(got[1]) == pytest.approx(float((x0[1] - said[1]).square().mean()), rel=1e-5)

    def test_half_of_the_states_may_share_one_schedule_over_their_pixels(self):
        """PX-8: those of the image's brightness, as asking again makes them; the others keep their own."""
        x0 = image(400, 1, 3, 3).float()
        posed = noised(x0, GAMMA, T, torch.Generator().manual_seed(2), common=0.5)
        alike = (posed.rate == posed.rate[:, :, :1, :1]).flatten(1).all(1)
        assert 150 < int(alike.sum()) < 250
        torch.testing.assert_close(posed.rate[alike], (-GAMMA * brightness(x0) / T)[alike].expand(-1, 1, 3, 3))
        torch.testing.assert_close(posed.rate[~alike], (-GAMMA * x0 / T)[~alike])
        shared = schedules.PixelAware(brightness(x0), GAMMA)
        times = posed.times[:, None, None, None]
        made_ = shared.alpha(times) * x0 + shared.sigma(times) * posed.noise
        torch.testing.assert_close(posed.x[alike], made_[alike], atol=1e-5, rtol=1e-5)
        seen = []
        objective = SingleHead(GAMMA, T, lambda x, t: seen.append(x) or x, common=1.0)
        objective(Says(x0), x0, None, torch.Generator().manual_seed(2))
        torch.testing.assert_close(seen[0], noised(x0, GAMMA, T, torch.Generator().manual_seed(2), common=1.0).x)
        assert objective.predicts["common"] == 1.0 and "common" not in replace(objective, common=0.0).predicts

    @pytest.mark.parametrize(
        ("make", "sentence"),
        [
            (
                lambda: SingleHead(4.0, 6, constant(torch.tensor(0.5)), common=2),
                "common must be a number of at least 0 and at most 1, not 2",
            ),
            (lambda: ScaleEstimation(6.0, 6), r"gamma must be a number above 0 and below 6 \(Eq. 7"),
            (lambda: ScaleEstimation(0.0, 6), "gamma must be a number above 0"),
            (lambda: ScaleEstimation(4.0, 0), "steps must be an integer of at least 1"),
            (lambda: ScaleEstimation(4.0, 6, "edges"), "estimates must be one of scale, log, image, not 'edges'"),
            (lambda: ScaleEstimation(4.0, 6, kl=-1), "kl must be a number of at least 0"),
            (lambda: ParallelNoise(7.0, 6, constant(torch.tensor(0.5))), "gamma must be a number above 0 and below 6"),
            (
                lambda: ParallelNoise(4.0, 6, constant(torch.tensor(0.5)), reading="all"),
                "reading must be one of increment, marginal, last, not 'all'",
            ),
            (
                lambda: ParallelNoise(4.0, 6, constant(torch.tensor(0.5)), sampled=7),
                "sampled must be an integer from 0 to 6, not 7",
            ),
            (lambda: SingleHead(8.0, 6, constant(torch.tensor(0.5))), "gamma must be a number above 0 and below 6"),
            (lambda: to_scale(torch.ones(2), "edges", 4.0), "estimates must be one of"),
        ],
    )
    def test_bad_numbers_are_one_sentence(self, make, sentence):
        with pytest.raises(ParameterError, match=sentence):
            make()

    def test_a_scale_is_kept_where_images_have_it(self):
        said = torch.tensor([-0.3, 0.0, 0.2, 1.0, 1.7])
        ends = math.exp(-GAMMA), math.exp(-GAMMA * PIXEL_MIN)
        scale = to_scale(said, "scale", GAMMA)
        assert bool((scale >= ends[0] - 1e-7).all() and (scale <= ends[1] + 1e-7).all())
        assert float(scale[2]) == pytest.approx(0.2)
        torch.testing.assert_close(to_scale(said, "log", GAMMA), (-GAMMA * said.clamp(PIXEL_MIN, 1)).exp())
        assert torch.equal(to_scale(said, "log", GAMMA), to_scale(said, "image", GAMMA))


class TestWays:
    """PX-8: the ways from noises to an image, on oracle noises first."""

    @pytest.mark.parametrize("reading", schedules.pixel.READINGS)
    def test_every_estimate_is_the_image_where_the_noises_are_right(self, reading):
        """PX-8, PX-7: the scale's and every noise's, whatever the noises are read as."""
        x0 = image(2, 1, 3, 3)
        path = samplers.forward_path(x0, GAMMA, T, samplers.white_noise(1, dtype=torch.float64))
        for i in (3, T):
            noises = samplers.noises_of(path.states[i], x0, GAMMA, i, T, reading)
            found = samplers.estimates(path.states[i], image_scale(x0, GAMMA), noises, GAMMA, steps=T, reading=reading)
            torch.testing.assert_close(found, x0.expand(1 + i, 2, 1, 3, 3), rtol=1e-8, atol=1e-8)

    def test_eq_9_gives_the_last_noise_back(self):
        x0 = image(2, 1, 3, 3)
        path = samplers.forward_path(x0, GAMMA, T, samplers.white_noise(1, dtype=torch.float64))
        torch.testing.assert_close(samplers.noises_of(path.states[T], x0, GAMMA, T, T)[-1], path.marginals[-1])

    def test_weights_are_inverse_variances(self):
        """PX-8: against a loop; what is not finite counts for nothing."""
        images, variances = image(3, 2, 1, 2, 2), torch.tensor([0.1, 0.5, math.inf], dtype=torch.float64)
        wanted = (images[0] / 0.1 + images[1] / 0.5) / (1 / 0.1 + 1 / 0.5)
        torch.testing.assert_close(samplers.combined(images, variances), wanted)
        images[1] = math.inf
        torch.testing.assert_close(samplers.combined(images, variances), images[0])
        with pytest.raises(ShapeError, match="variances must have one entry for each of the 3 images, not 2"):
            samplers.combined(images, variances[:2])
        with pytest.raises(ShapeError, match="variances must be positive, and one of them finite"):
            samplers.combined(images, variances * 0)

    def test_the_best_of_independent_estimates_is_their_mean_by_variance(self):
        """PX-8: its error is 1 / sum(1 / variance), below that of every single one."""
        x0 = torch.full((50_000,), 0.5, dtype=torch.float64)
        variances = torch.tensor([0.002, 0.004, 0.02], dtype=torch.float64)
        images = x0 + variances.sqrt()[:, None] * normal(3, 50_000)
        error = float((samplers.combined(images, variances) - x0).square().mean())
        assert error == pytest.approx(1 / float((1 / variances).sum()), rel=0.03)

    def test_noises_that_share_an_error_count_as_one(self):
        """PX-8: 50 of them do not outweigh a scale that is better; one among them that is good still counts."""
        x0 = torch.full((20_000,), 0.5, dtype=torch.float64)
        variances = torch.tensor([0.02, *[0.06] * 50], dtype=torch.float64).square()
        errors = variances.sqrt()[:, None] * torch.cat((normal(1, 20_000), normal(1, 20_000, seed=1).expand(50, -1)))

        def left(weighted):
            return float((samplers.combined(x0 + errors, weighted) - x0).square().mean().sqrt())

        assert left(variances) == pytest.approx(0.051, abs=0.001)
        assert left(pixel_aware.shared(variances)) == pytest.approx(1 / math.hypot(1 / 0.02, 1 / 0.06), rel=0.03)
        lone = torch.tensor([[0.5], [9.0], [0.01], [9.0]], dtype=torch.float64)
        weights = 1 / pixel_aware.shared(lone)
        assert float(weights[1:].sum()) == pytest.approx(100) and float(weights[2]) > 99 and float(weights[0]) == 2

    def test_renoising_with_the_true_image_stays_on_the_process(self):
        """PX-8: every state has the law of Eq. 9 under the image predicted, kept noise or new."""
        x0 = torch.full((40_000, 1), 0.3, dtype=torch.float64)
        noise, times = samplers.white_noise(0, dtype=torch.float64), torch.tensor([1.0, 0.5, 0.1, 0.0])
        for eta in (0.0, 0.6, 1.0):
            start = schedules.diffuse(schedules.PixelAware(x0, GAMMA), x0, 1.0, noise(tuple(x0.shape)))
            way = list(samplers.renoised(lambda x, t: x0, start, times, gamma=GAMMA, noise=noise, eta=eta, calls=2))
            assert [step.nfe for step in way] == [2, 4, 6] and torch.equal(way[-1].x, x0)
            for step in way[:-1]:
                bar = math.exp(-GAMMA * 0.3 * step.t)
                assert float(step.x.mean()) == pytest.approx(bar**0.5 * 0.3, abs=0.02)
                assert float(step.x.std()) == pytest.approx((1 - bar) ** 0.5, rel=0.02)

    def test_errors_of_asking_again_add_up_and_are_not_multiplied(self):
        """PX-8, Eq. 9: a network that reads the noise of the state it is shown, wrong by .01, and the image from it."""
        wrong, steps = 0.01, 200
        x0, white = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), samplers.white_noise(2, dtype=torch.float64)
        path = samplers.forward_path(x0, GAMMA, steps, samplers.white_noise(1, dtype=torch.float64))
        held, shown = path.marginals[-1], x0  # the noise that the state holds, and the image that it was made of
        error, asked = 0.0, 0

        def noise(shape):
            nonlocal held
            held = white(shape)
            return held

        def predict(x, t):
            nonlocal shown, error, asked
            schedule = schedules.PixelAware(shown, GAMMA)
            error, asked = error + wrong * schedule.sigma(t) / schedule.alpha(t), asked + 1
            shown = (x - schedule.sigma(t) * (held - wrong)) / schedule.alpha(t)
            return shown

        times = torch.tensor([1.0, 0.3, 0.05, 0.0])
        end = samplers.last(samplers.renoised(predict, path.states[-1], times, gamma=GAMMA, noise=noise))
        assert asked == 3
        torch.testing.assert_close(end, x0 + error)
        back = samplers.reverse_path(
            path.states[-1], image_scale(x0, GAMMA), path.increments - wrong, factor="printed"
        )[0]
        assert float((back - x0).min()) > 5 * float(torch.as_tensor(error).max())

    def test_asking_again_under_one_schedule_for_all_pixels_arrives(self):
        """PX-8: true noises give the image back at every state, the law's own and those of one common SNR per step.

        The noise added is the same at every pixel of an image, other from image to image, and none of it is in the
        signal: what a pixel's noise level tells of it under schedules of their own, it does not tell here.
        """
        x0, steps = image(3, 1, 4, 4), 40
        path = samplers.forward_path(x0, GAMMA, steps, samplers.white_noise(1, dtype=torch.float64))
        times = torch.tensor([1.0, 0.3, 0.05, 0.0], dtype=torch.float64)
        held, by = [], None

        def predict(x, t):
            """By Eq. 9 read with the common brightness, from the noise that the state holds."""
            nonlocal by
            i = round(t * steps)
            z = (x - schedules.PixelAware(by, GAMMA).alpha(t) * x0) / schedules.PixelAware(by, GAMMA).sigma(t)
            held.append(z)
            noises = torch.stack([noise_share(-GAMMA * by / steps, i, j, "marginal") * z for j in range(1, i + 1)])
            common = by if len(held) > 1 else None
            found = samplers.estimates(x, image_scale(x0, GAMMA), noises, GAMMA, steps=steps, common=common)
            torch.testing.assert_close(found, x0.expand_as(found), rtol=1e-8, atol=1e-8)
            by = brightness(x0)
            return found[1:].mean(0)

        for eta in (0.0, 0.5, 1.0):
            held.clear()
            by, white = x0, samplers.white_noise(2, dtype=torch.float64)
            given = {"gamma": GAMMA, "noise": white, "eta": eta, "common": True}
            way = list(samplers.renoised(predict, path.states[-1], times, **given))
            torch.testing.assert_close(way[-1].x, x0, rtol=1e-9, atol=1e-9)
            bar = (-GAMMA * 0.3 * x0.mean((1, 2, 3), keepdim=True)).exp()
            torch.testing.assert_close(held[1], (way[0].x - bar.sqrt() * x0) / (1 - bar).sqrt())
            wanted = {0.0: path.marginals[-1], 1.0: samplers.white_noise(2, dtype=torch.float64)(tuple(x0.shape))}
            if eta in wanted:  # the first noise, kept all the way, or new noise
                torch.testing.assert_close(held[1], wanted[eta])
            if not eta:
                torch.testing.assert_close(held[2], path.marginals[-1])

    def test_the_scale_alone_gives_the_image_back(self):
        """PX-5, Eq. 7: x_delta is an invertible map of the image."""
        x0 = image(2, 1, 3, 3)
        torch.testing.assert_close(samplers.scale_image(image_scale(x0, 20.0), 20.0), x0)

    def test_bad_input_is_one_sentence(self):
        x = torch.zeros(2, 1, 4, 4)
        with pytest.raises(ShapeError, match=r"maps must have C \* T = 1 \* 5 channels, \(B, 5, H, W\), not \(2, 4,"):
            samplers.split_maps(torch.zeros(2, 4, 4, 4), 5, 1)
        maps = torch.arange(12.0)[None, :, None, None]
        assert torch.equal(samplers.split_maps(maps, 4, 3)[1, 0, :, 0, 0], torch.tensor([3.0, 4.0, 5.0]))
        with pytest.raises(ShapeError, match=r"scale must have all entries in \(0, 1\)"):
            samplers.estimates(x, x + 1, torch.zeros(3, 2, 1, 4, 4), GAMMA)
        with pytest.raises(ParameterError, match="steps must be an integer of at least 3"):
            samplers.estimates(x, x + 0.5, torch.zeros(3, 2, 1, 4, 4), GAMMA, steps=2)
        with pytest.raises(ParameterError, match="times must decrease from at most 1 to 0"):
            list(
                samplers.renoised(
                    lambda x, t: x, x, torch.tensor([1.0, 0.5]), gamma=GAMMA, noise=samplers.white_noise(0)
                )
            )
        with pytest.raises(ParameterError, match="i must be an integer from 1 to 3, not 4"):
            samplers.noises_of(x, x + 0.5, 2.0, 4, 3)
        with pytest.raises(ShapeError, match=r"x0 must have all pixels in \(0, 1\]"):
            schedules.PixelAware(x, GAMMA)


class TestStarts:
    """PX-4, PX-8: laws of x_T."""

    def test_clusters_of_vectors_come_back(self):
        """PX-8: two clusters, one stretched along a direction."""
        first = torch.tensor([3.0, 0.0, 0.0, 0.0]) + 0.1 * normal(500, 4, dtype=torch.float32)
        first = first + 2 * normal(500, 1, seed=1, dtype=torch.float32) * torch.tensor([0.0, 0.6, 0.8, 0.0])
        second = torch.tensor([-9.0, 0.0, 0.0, 0.0]) + 0.1 * normal(1500, 4, seed=2, dtype=torch.float32)
        law = starts.fit_vectors(torch.cat((first, second)), components=2, rank=1)
        order = law.means[:, 0].argsort()
        assert law.weights[order].tolist() == pytest.approx([0.75, 0.25])
        drawn_ = law.draw(20_000, samplers.white_noise(0))
        near = drawn_[drawn_[:, 0] > 0]
        assert len(near) / 20_000 == pytest.approx(0.25, abs=0.02)
        torch.testing.assert_close(near.mT.cov(), first.mT.cov(), atol=0.15, rtol=0.1)

    def test_pictures_in_the_variances_come_back(self):
        """PX-4: two pictures that differ in their noise level alone, which no mean tells apart."""
        x0 = torch.full((1200, 1, 4, 4), PIXEL_MIN)
        x0[:600, :, :2], x0[600:, :, 2:] = 0.9, 0.9
        x = schedules.diffuse(schedules.PixelAware(x0, 20.0), x0, 1.0, normal(1200, 1, 4, 4, dtype=torch.float32))
        law = starts.fit_pixels(x, components=2)
        order = law.spreads[:, 0].argsort(descending=True)
        spread = law.spreads[order].unflatten(1, (4, 4))
        assert law.weights.tolist() == pytest.approx([0.5, 0.5], abs=0.05)
        sharp = schedules.PixelAware(torch.tensor(PIXEL_MIN), 20.0).sigma(1.0).float()
        torch.testing.assert_close(spread[0, :2], torch.ones(2, 4), atol=0.12, rtol=0)
        torch.testing.assert_close(spread[0, 2:], sharp.expand(2, 4), atol=0.06, rtol=0)
        assert starts.as_states(law.draw(5, samplers.white_noise(0)), (1, 4, 4)).shape == (5, 1, 4, 4)

    def test_they_are_kept_with_the_weights_they_belong_to(self, tmp_path):
        law = starts.fit_vectors(normal(50, 3, dtype=torch.float32), components=3, rank=2)
        starts.save("some", {"weights": "abc"}, {"latent": law}, tmp_path)
        back = starts.read("some", "abc", tmp_path)["latent"]
        torch.testing.assert_close(back.means, law.means, atol=2e-3, rtol=2e-3)
        with pytest.raises(DataError, match="belongs to other weights: python tools/measure_pixel"):
            starts.read("some", "abd", tmp_path)
        with pytest.raises(DataError, match="no law of x_T was fitted for other"):
            starts.read("other", "abc", tmp_path)
        with pytest.raises(ParameterError, match="start must be one of normal, pixels, latent, not 'image'"):
            starts.check("image")
        with pytest.raises(ShapeError, match="the law is over 3 pixels, and images have 4"):
            starts.as_states(law.means, (1, 2, 2))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Every kind of network, trained for a few steps on the wheel's digits through the one loop, in one folder."""
    folder = tmp_path_factory.mktemp("checkpoints")
    base, images = recipe("digits"), load("digits", "train", 8)
    known = {"gamma": GAMMA, "steps": T}

    def ship(end, network, objective):
        made_ = replace(
            base, name=f"digits-{end}", network=network, objective=objective, batch=32, warmup=2, unlabelled=0.0
        )
        train(made_, folder, steps=8, images=images, half=False)
        (folder / "state.safetensors").unlink()

    for end, estimates in (("scale", "scale"), ("scale-log", "log"), ("direct", "image")):
        output = {"output": "linear"} if estimates == "log" else {}
        ship(end, SCALE | output, lambda _, e=estimates: ScaleEstimation(**known, estimates=e))
    ship(
        "parallel",
        PARALLEL | {"heads": T},
        lambda _: ParallelNoise(**known, estimator=Scales("digits-scale", GAMMA, T, folder)),
    )
    for end, common in (("single", 0.0), ("either", 0.5)):
        ship(
            end,
            PARALLEL | {"heads": 1, "masked": False},
            lambda _, c=common: SingleHead(**known, estimator=Scales("digits-scale", GAMMA, T, folder), common=c),
        )
    return folder


def exported(names, folder, out):
    """What ``fewsteps export`` writes into a folder, by name."""
    command = ["-m", "fewsteps.cli", "export", *names, "--folder", str(folder), "--out", str(out)]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return {name: next(out.glob(f"{name}-{'[0-9a-f]' * 12}.onnx")) for name in names}


@pytest.fixture(scope="module")
def files(shipped, tmp_path_factory):
    """The ONNX file of every network that has one."""
    names = [f"digits-{end}" for end in ("scale", "scale-log", "parallel", "single")]
    return exported(names, shipped, tmp_path_factory.mktemp("files"))


class TestTogether:
    """PX-5, PX-6, PX-8, PX-9, PX-10: trained, kept, loaded, sampled and measured, with real networks."""

    def test_cards_say_what_it_takes(self, shipped):
        card = checkpoints.card("digits-parallel", shipped)
        assert card["predicts"] == {
            "kind": "parallel",
            "gamma": GAMMA,
            "steps": T,
            "reading": "marginal",
            "estimator": {
                "name": "digits-scale",
                "sha256": checkpoints.card("digits-scale", shipped)["weights"]["sha256"],
            },
        }
        assert checkpoints.card("digits-scale", shipped)["predicts"]["kl"] == 1e-3
        assert pixel_aware.there("digits", folder=shipped) == pixel_aware.names("digits")

    def test_the_estimator_learns(self, shipped):
        """PX-5: after 8 steps nearer to the scale than a grey map."""
        estimator = pixel_aware.Estimator(trained.load("digits-scale", shipped))
        x0 = load("digits", "test", 8).images[:50].clamp(PIXEL_MIN, 1)
        x = schedules.diffuse(schedules.PixelAware(x0, GAMMA), x0, 0.5, normal(*x0.shape, dtype=torch.float32))
        wanted = image_scale(x0, GAMMA)
        assert float((estimator.scale(x, 3) - wanted).square().mean()) < float((0.5 - wanted).square().mean())

    def test_every_form_makes_images_from_every_start(self, shipped):
        """PX-8: finite images in the right range where the form is stable, and the same from the same seed."""
        made = {end: pixel_aware.load(f"digits-{end}", shipped) for end in ("parallel", "single", "either")}
        x0 = load("digits", "train", 8).images[:200]
        laws = pixel_measures.laws(made["parallel"].estimator, x0, components=4)
        parallel = made["parallel"] = pixel_measures.calibrate(made["parallel"], x0)
        kept = pixel_aware.FORMS["either x10, kept"]  # too many predictions for the networks here
        assert (kept.network, kept.predictions, kept.eta, kept.common) == ("either", 10, 0.0, True)
        for name, form in pixel_aware.FORMS.items():
            if form.predictions > T:
                continue
            for start in starts.STARTS if name in ("combined", "single") else ("latent",):
                images = pixel_aware.sampled(form, made[form.network], start, laws, 3, seed=1)
                assert images.shape == (3, 1, 8, 8), name
                if not form.factor:
                    assert bool(((images >= PIXEL_MIN) & (images <= 1)).all()), name
        once, again, other = (
            pixel_aware.sampled(pixel_aware.FORMS["combined"], parallel, "latent", laws, 2, s) for s in (1, 1, 2)
        )
        assert torch.equal(once, again) and not torch.equal(once, other)

    def test_errors_by_brightness_are_those_of_a_plain_loop(self, shipped):
        """PX-8: estimates keep their order where a brightness never came up."""
        parallel = pixel_aware.load("digits-parallel", shipped)
        known = load("digits", "train", 8).images[:60]
        measured = pixel_measures.calibrate(parallel, known, [T])
        table = measured.variances[T]
        chosen = torch.randperm(60, generator=torch.Generator().manual_seed(1))
        x0 = known[chosen].clamp(PIXEL_MIN, 1)
        x = pixel_measures.states(x0, GAMMA, 1.0, pixel_measures.CALIBRATION_SEED)
        found = samplers.estimates(x, *parallel.noises(x, T), GAMMA, steps=T)
        errors = (found.double() - x0).square()
        place = (found[0] * pixel_aware.BINS).long().clamp_max(pixel_aware.BINS - 1)
        never = [k for k in range(pixel_aware.BINS) if not bool((place == k).any())]
        assert table.shape == (1 + T, pixel_aware.BINS) and 0 < len(never) < pixel_aware.BINS
        for k in range(pixel_aware.BINS):
            wanted = [e.mean() if k in never else e[place == k].mean() for e in errors]
            torch.testing.assert_close(table[:, k], torch.stack(wanted), rtol=1e-4, atol=1e-9)
        x = pixel_measures.states(x0, GAMMA, 1.0, pixel_measures.CALIBRATION_SEED, brightness(x0))
        z = (x - (-GAMMA * x0.mean((1, 2, 3), keepdim=True) / 2).exp() * x0).flatten(1).std(1)
        torch.testing.assert_close(z, (1 - (-GAMMA * x0.mean((1, 2, 3))).exp()).sqrt(), rtol=0.35, atol=0)
        scale, noises = parallel.noises(x, T)
        by = samplers.scale_image(scale, GAMMA)
        place = (by * pixel_aware.BINS).long().clamp_max(pixel_aware.BINS - 1)
        k = int(place.flatten().mode().values)
        rate = -GAMMA * x0.mean((1, 2, 3), keepdim=True) / T
        last = (x - (1 - (T * rate).exp()).sqrt() * noises[-1]) / (T * rate / 2).exp()
        error = (last - x0).double().square()[place == k].mean()
        torch.testing.assert_close(measured.common[T][-1, k], error, rtol=1e-3, atol=1e-9)

    def test_errors_by_step_are_those_of_a_plain_loop(self, shipped):
        """PX-6: network, regression, single head and oracle, on trajectories of test images."""
        parallel, single = (pixel_aware.load(f"digits-{end}", shipped) for end in ("parallel", "single"))
        known, unseen = load("digits", "train", 8).images[:300], load("digits", "test", 8).images[:40]
        found = pixel_measures.noise_errors(parallel, single, known, unseen, T)
        x0 = unseen.clamp(PIXEL_MIN, 1)
        path = samplers.forward_path(x0, GAMMA, T, samplers.white_noise(0))
        _, noises = parallel.noises(path.states[T])
        for j in (0, T - 1):
            wanted = float((noises[j] - path.marginals[j]).square().mean())
            assert found["network"][j] == pytest.approx(wanted, rel=1e-4)
        assert found["last"][T - 1] == pytest.approx(found["network"][T - 1])  # of its own step, the noise as it is
        # Nobody is below the one who knows the image, beyond the chance of a few images.
        assert all(
            found["oracle"][j] < found[who][j] + 0.03 for who in ("network", "last", "regression") for j in range(T)
        )
        assert found["regression"][T - 1] < 1  # nothing is below what saying zero leaves

    def test_similarity_is_skimages(self):
        first, second = image(2, 3, 12, 12), image(2, 3, 12, 12, seed=1)
        wanted = [
            structural_similarity(a.numpy(), b.numpy(), channel_axis=0, data_range=1.0)
            for a, b in zip(first, second, strict=True)
        ]
        assert pixel_measures.similarities(first, second).tolist() == pytest.approx(wanted)
        assert pixel_measures.similarities(first, first).tolist() == pytest.approx([1, 1])

    def test_the_scale_is_scored_beside_its_controls(self, shipped):
        """PX-5, PX-10: rows for every estimator and a constant image, at every step asked for."""
        estimators = {
            end: pixel_aware.Estimator(trained.load(f"digits-{end}", shipped))
            for end in ("scale", "scale-log", "direct")
        }
        known, unseen = load("digits", "train", 8).images[:100], load("digits", "test", 8).images[:20]
        rows = pixel_measures.scale_scores(estimators, known, unseen, (1, T))
        assert {(row["who"], row["i"]) for row in rows} == {
            (who, i) for who in ("scale", "scale-log", "direct", "constant") for i in (1, T)
        }
        assert all(-1 <= row["ssim_scale"] <= 1 and row["image_rmse"] > 0 for row in rows)
        of = {(row["who"], row["i"]): row for row in rows}
        for (who, i), row in of.items():
            by, part = (
                torch.tensor(row["image_rmse_by"]),
                (unseen.clamp(PIXEL_MIN, 1) * len(row["image_rmse_by"])).long(),
            )
            counts = part.clamp(max=len(by) - 1).flatten().bincount(minlength=len(by))
            assert float((by.square() * counts).sum() / counts.sum()) ** 0.5 == pytest.approx(
                row["image_rmse"], rel=1e-5
            )
            less, half = row["less"]
            assert less == pytest.approx(of["scale", i]["ssim_scale"] - row["ssim_scale"])
            assert half > 0 or who == "scale"

    def test_estimates_are_shown_of_images_that_a_network_drew(self, shipped):
        """PX-5, PX-10: no image of a data set is needed; the scale is the image's, and the read-back is the scale's."""
        rows = pixel_measures.estimated("digits", 3, folder=shipped)
        assert all(row.shape == (3, 1, 8, 8) and row.min() >= 0 and row.max() <= 1 for row in rows.values())
        gamma = checkpoints.card("digits-scale", shipped)["predicts"]["gamma"]
        torch.testing.assert_close(rows["its scale"], (-gamma * rows["image"]).exp())
        back = samplers.scale_image(rows["estimated scale"], gamma)
        torch.testing.assert_close(rows["read back from it"], back)

    def test_alpha_bars_are_powers_of_the_scale(self, shipped):
        """PX-5, Fig. 5: of one image that a network drew, true ones fall from step to step, the last is the scale."""
        rows = pixel_measures.alpha_bars("digits", (1, 3, T), folder=shipped)
        assert all(row.shape == (3, 1, 8, 8) and row.min() >= 0 and row.max() <= 1 for row in rows.values())
        true = rows["true alpha-bar"]
        torch.testing.assert_close(true[0] ** T, true[2])
        image = pixel_measures.estimated("digits", 1, folder=shipped)["its scale"]
        torch.testing.assert_close(true[2:], image)
        assert not torch.equal(rows["estimated"], true)

    def test_the_scale_decides_where_it_errs_least(self, shipped):
        """PX-8: the scale's share of the combined image is that of its precision, the noises counting as one."""
        reverse = pixel_aware.load("digits-parallel", shipped)
        table = torch.tensor([[1.0, 4.0], [1.0, 1.0], [1.0, 3.0]])  # variances of the scale and of two noises
        found = pixel_measures.weight_of_scale(replace(reverse, variances={T: table}), T)
        assert found == pytest.approx([1 / 2, (1 / 4) / (1 / 4 + 1)])

    def test_one_noise_for_all_steps_is_the_last_one(self, shipped):
        """PX-8: with DDIM's factor the path goes straight to the image that the last noise says by Eq. 9."""
        reverse = pixel_aware.load("digits-parallel", shipped)
        x = normal(4, 1, 8, 8, dtype=torch.float32)
        scale, noises = reverse.noises(x)
        wanted = (x - (1 - scale).sqrt() * noises[-1]) / scale.sqrt()  # of the last step, alpha-bar is the scale
        made = pixel_aware.FORMS["ddim"].images(reverse, x, samplers.white_noise(0))
        torch.testing.assert_close(made, wanted, rtol=1e-3, atol=1e-3)
        assert (noises - noises[-1]).abs().max() > 0.01  # or any of them would do

    def test_forms_are_pictured_from_one_start(self):
        """PX-8, PX-9: of the shipped networks, the first form being the scale alone."""
        rows = pixel_aware.pictures("mnist", "latent", 2)
        assert list(rows) == list(pixel_aware.SHOWN)
        assert all(
            row.shape == (2, 1, 32, 32) and 0 <= float(row.min()) <= float(row.max()) <= 1 for row in rows.values()
        )
        grain = {called: float(row.diff(dim=-1).abs().mean()) for called, row in rows.items()}
        assert grain["Algorithm 1"] > 3 * grain["the scale alone"]

    def test_algorithm_1_is_measured_with_true_noises_and_errors_of_known_size(self):
        """PX-8, PX-10: exact with the increments, and an error grows as `amplification` says."""
        x0 = image(300, 1, 4, 4)
        rows = pixel_measures.algorithm_errors(x0, 4.0, 40, sizes=(0.0, 0.1))
        own = [row for row in rows if row["reading"] == "increment" and not row["fresh"]]
        exact = {(row["factor"], row["size"]): row["rmse"] for row in own}
        assert exact["printed", 0.0] < 1e-9 < exact["posterior", 0.0]
        # What Eq. 15 trains are means. With them the corrected factor arrives, without fresh noise, and no other does.
        means = {
            row["factor"]: row["rmse"]
            for row in rows
            if (row["reading"], row["fresh"], row["size"]) == ("mean", False, 0.0)
        }
        assert means["posterior"] < 1e-9 and min(means["printed"], means["ddim"]) > 0.01
        grown = samplers.amplification(image_scale(x0, 4.0), 40, "printed").square().sum(0).mean().sqrt()
        assert exact["printed", 0.1] == pytest.approx(0.1 * float(grown), rel=0.1)

    def test_distance_and_copies(self):
        """PX-9: training images lie at no distance from themselves, test images near the floor, noise far away; a
        pixel that is no number counts as black, and infinities are cut to black and white."""
        known, unseen = load("digits", "train", 8).images, load("digits", "test", 8).images
        real = pixel_measures.distance(unseen[:200], {"name": "digits", "size": 8})
        noise = pixel_measures.distance(drawn(200, 1, 8, 8).float(), {"name": "digits", "size": 8})
        assert real["value"] < 2 * real["floor"] and noise["value"] > 5 * real["value"]
        assert real["low"] < real["value"] < real["high"] and real["count"] == 200
        broken = unseen[:200].clone()
        broken[:, :, 0, 0], broken[:, :, 0, 1], broken[:, :, 0, 2] = math.nan, math.inf, -math.inf
        cut = unseen[:200].clone()
        cut[:, :, 0, 0], cut[:, :, 0, 1], cut[:, :, 0, 2] = 0, 1, 0
        found = [pixel_measures.distance(x, {"name": "digits", "size": 8})["value"] for x in (broken, cut)]
        assert found[0] == pytest.approx(found[1])
        test = pixel_measures.nearness_of_test(unseen, known, 50)
        same = pixel_measures.copies(known[:50], known, test)
        assert same["nearer"] == 1 and max(same["samples"]) == pytest.approx(0, abs=1e-6) and same["test"][0] > 0
        far = (unseen[:20, None] - known[None, :, :]).square().flatten(2).mean(2).amin(1).sqrt()
        found = pixel_measures.copies(unseen[:20], known, test)
        assert found["samples"] == pytest.approx(far.quantile(torch.tensor([0.01, 0.1, 0.5])).tolist(), abs=1e-5)

    def test_a_grid_of_whole_steps(self):
        assert (pixel_aware.grid(4, 50) * 50).tolist() == pytest.approx([50, 14, 4, 1, 0])
        assert (pixel_aware.grid(1, 50) * 50).tolist() == pytest.approx([50, 0])
        for n in range(1, 11):
            places = (pixel_aware.grid(n, 10) * 10).round().tolist()
            assert places == sorted(set(places), reverse=True) and len(places) == n + 1 and places[0] == 10
        with pytest.raises(ParameterError, match="n must be an integer from 1 to 6, not 7"):
            pixel_aware.grid(7, 6)

    def test_what_cannot_be_done_is_said(self, shipped):
        parallel = pixel_aware.load("digits-parallel", shipped)
        x = torch.zeros(1, 1, 8, 8)
        with pytest.raises(ParameterError, match="T must be 6, for which digits-parallel was trained, not 50"):
            parallel.check(GAMMA, 50)
        with pytest.raises(ParameterError, match="gamma must be 4, for which digits-parallel was trained, not 5"):
            parallel.check(5.0, T)
        with pytest.raises(ParameterError, match="T must be 6, for which digits-parallel was trained, not 50"):
            pixel_aware.load("digits-parallel", shipped, steps=50)
        with pytest.raises(ParameterError, match="gamma must be 4, for which digits-parallel was trained, not 5"):
            pixel_aware.load("digits-parallel", shipped, gamma=5.0)
        assert pixel_aware.load("digits-parallel", shipped, gamma=GAMMA, steps=T).steps == T
        with pytest.raises(ParameterError, match="i must be an integer from 1 to 6, not 7"):
            parallel.noises(x, 7)
        for common in (None, torch.full((1, 1, 1, 1), 0.5)):
            with pytest.raises(ParameterError, match="i must be a step at which errors are known, none, not 6"):
                parallel.image(x, 1.0, common)
        with pytest.raises(CheckpointError, match="digits-scale estimates scales at gamma 4 and T 6, not at 5 and 50"):
            Scales("digits-scale", 5.0, 50, shipped)
        with pytest.raises(CheckpointError, match="the parallel network needs a scale estimator, and digits is a unet"):
            Scales("digits", GAMMA, T)
        with pytest.raises(CheckpointError, match="digits is no parallel network: it is of the kind 'edm'"):
            pixel_aware.load("digits")
        with pytest.raises(CheckpointError, match="digits is no scale estimator"):
            pixel_aware.Estimator(trained.load("digits"))
        for name in ("digits-scale", "digits-parallel"):
            with pytest.raises(ParameterError, match="pixel_aware samples with it"):
                sample(Plan(name, nfe=3, count=1), shipped)
            with pytest.raises(ParameterError, match="it denoises nothing"):
                trained.load(name, shipped).denoiser()

    @pytest.mark.parametrize("end", ["parallel", "single"])
    def test_one_pass_is_one_onnx_file(self, shipped, files, end):
        """PX-6, PX-8: scale and noises of states of every step, from the command line's file, by ONNX's evaluator."""
        made = files[f"digits-{end}"]
        reverse = pixel_aware.load(f"digits-{end}", shipped)
        x = normal(4, 1, 8, 8, dtype=torch.float32)
        for i in (1, 3, T):
            t = np.full(4, i / T, np.float32)
            mine = ReferenceEvaluator(str(made)).run(None, {"x": x.numpy(), "t": t})
            for part, wanted in zip(mine, reverse.maps(x, i), strict=True):
                assert np.abs(part - wanted.numpy()).max() < 1e-4 and part.shape == tuple(wanted.shape)
        content = onnx.load(made)
        said = {entry.key: entry.value for entry in content.metadata_props}
        assert said["gamma"] == "4" and said["steps"] == str(T)
        last = {"parallel": ("marginal", "noises"), "single": ("image", "x0_hat")}[end]
        assert (said["reading"], content.graph.output[1].name) == last

    def test_a_start_is_decoded_by_one_onnx_file(self, shipped, files):
        """PX-5, PX-8: the decoder that makes scales of vectors, whatever the estimator's network says."""
        for end in ("scale", "scale-log"):
            made = files[f"digits-{end}"]
            vector = normal(3, 20, dtype=torch.float32)
            [mine] = ReferenceEvaluator(str(made)).run(None, {"vector": vector.numpy()})
            wanted = pixel_aware.Estimator(trained.load(f"digits-{end}", shipped)).decoded(vector)
            assert np.abs(mine - wanted.numpy()).max() < 1e-4

    def test_another_estimator_than_the_one_it_was_trained_with_is_refused(self, shipped, tmp_path):
        for path in shipped.glob("digits-*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        card, weights = checkpoints.load("digits-direct", tmp_path)
        checkpoints.save(tmp_path, card | {"name": "digits-scale"}, weights)
        for load_it in (pixel_aware.load, export.to_onnx):
            with pytest.raises(CheckpointError, match="trained with another digits-scale than the one that is there"):
                load_it("digits-parallel", tmp_path)


def test_who_was_trained_on_mirror_images_may_copy_those():
    """PX-9: a mirrored training image is a copy where training mirrored."""
    known, unseen = pixel_measures.pixels_of("digits", 8)
    card = {"data": {"name": "digits", "size": 8}, "training": {"recipe": {"flip": True}}}
    both = pixel_measures.trained_on(card)
    plain = pixel_measures.trained_on({**card, "training": {"recipe": {}}})
    assert len(both) == 2 * len(known) and torch.equal(plain, known)
    mirrored = known[:40].flip(-1)
    for images, nearer in ((both, lambda share: share == 1.0), (plain, lambda share: share < 0.5)):
        test = pixel_measures.nearness_of_test(unseen, images, len(mirrored))
        assert nearer(pixel_measures.copies(mirrored, images, test)["nearer"])


def test_ddpm_goes_there_and_comes_back():
    """PX-10, Fig. 8: every state has DDPM's own law, and the noises of the steps undo them."""
    x0, steps = image(1, 1, 40, 40), 50
    there, back = pixel_measures.ddpm_walk(x0, steps, samplers.white_noise(0, dtype=torch.float64))
    assert there.shape == (steps + 1, 1, 1, 40, 40)
    torch.testing.assert_close(back, there, rtol=1e-9, atol=1e-9)
    schedule = schedules.VPLinear()
    for j in (10, 25, steps):
        off = there[j] - schedule.alpha(torch.tensor(j / steps, dtype=torch.float64)) * x0
        assert float(off.std()) == pytest.approx(
            float(schedule.sigma(torch.tensor(j / steps, dtype=torch.float64))), rel=0.06
        )


def test_a_stand_in_that_errs_is_asked_again():
    """PX-8: Algorithm 1 multiplies the error, who is asked once errs by it alone; without an error all arrive."""
    x0, steps = image(2, 1, 6, 6), 20
    path = samplers.forward_path(x0, 8.0, steps, samplers.white_noise(0, dtype=torch.float64))
    found = {way: (calls, error) for way, calls, error in pixel_measures.asked_again(x0, path, 8.0, (1, 3), 0.05)}
    assert [calls for calls, _ in found.values()] == [2, 2, 2, 6]
    assert found["Algorithm 1"][1] > found["the same, cut to [0, 1]"][1] > 0
    schedule, errors = schedules.PixelAware(x0, 8.0), samplers.white_noise(1, dtype=torch.float64)
    errors(tuple(path.increments.shape))  # Algorithm 1's
    z = path.marginals[-1] + 0.05 * errors(tuple(x0.shape))
    once = ((path.states[-1] - schedule.sigma(1.0) * z) / schedule.alpha(1.0)).clamp(PIXEL_MIN, 1)
    assert found["asked 1 times"][1] == pytest.approx(float((once - x0).square().mean().sqrt()), rel=1e-6)
    assert all(error < 1e-9 for _, _, error in pixel_measures.asked_again(x0, path, 8.0, (1, 3), 0.0))


def test_a_close_up_is_of_the_first_and_the_last_fifth():
    """PX-10, Fig. 9 and 10: eleven places of a fifth of the steps, of the first image alone."""
    states = torch.linspace(0, 1, 101)[:, None, None, None, None].expand(-1, 2, 1, 2, 2)
    rows = pixel_measures.close_up({"there": states})
    assert list(rows) == ["first fifth,\nthere", "last fifth,\nthere"]
    for row, places in zip(rows.values(), (range(0, 21, 2), range(80, 101, 2)), strict=True):
        wanted = torch.cat([pixel_measures.on_grey(states[j][:1], j / 100) for j in places])
        torch.testing.assert_close(row, wanted)


def test_power_of_real_images_is_that_of_real_images():
    """PX-8: blurred ones keep the lowest frequencies and lose the highest."""
    real = load("digits", "train", 8).images
    blurred = F.avg_pool2d(F.pad(real, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    found = pixel_measures.powers({"real": real, "blurred": blurred}, "digits")
    assert found["real"] == pytest.approx((1, 1, 1), abs=1e-3)
    assert found["blurred"][2] < 0.1 < 0.4 < found["blurred"][0]


def test_recipes_and_gates_go_together():
    """PX-5, PX-6: a gate for every network of PixelAware, gamma a tenth of T."""
    ends = set(pixel_aware.names("x"))
    names = {name for data in ("mnist", "fashion", "cifar10") for name in pixel_aware.names(data).values()}
    names |= {name for steps in (100, 200) for name in pixel_aware.names("mnist", f"-{steps}").values()}
    assert names == {name for name, limit in gates.LIMITS.items() if limit.section == "pixel"}
    assert names <= RECIPES.keys() and len(ends) == 6
    assert RECIPES["mnist-parallel"].network["heads"] == 50
    assert RECIPES["mnist-parallel-200"].network["heads"] == 200
    for name in ("mnist", "cifar10"):  # noise needs all numbers of a patch, and a colour as many as grey
        made, told = (RECIPES[f"{name}-{end}"].network for end in ("parallel", "scale"))
        assert made["hidden"] == 2 * 2 * made["channels"] and told["kept"] == 8 * told["channels"]
    objective = RECIPES["mnist-scale-200"].objective(None)
    assert (objective.gamma, objective.steps) == (20, 200)


def test_a_gate_says_what_is_missed():
    card = {"name": "mnist-scale", "pixel": {"ssim_scale": 0.9}}
    assert gates.limit_failures(card) == []
    card["pixel"]["ssim_scale"] = 0.1
    assert gates.limit_failures(card) == ["ssim_scale 0.1 below 0.6"]
    assert gates.limit_failures({"name": "mnist-parallel"}) == ["nothing was measured"]
    assert gates.limit_failures({"name": "mnist-parallel", "pixel": {"noise_ratio": 1.2}}) == [
        "noise_ratio 1.2 above 0.9"
    ]
    assert gates.limit_failures({"name": "mnist", "pixel": {}}) == ["it has no gate"]

"""Spectral Diffusion's parts: gates and losses against plain loops, and a student that can be shipped."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from fewsteps import checkpoints, trained
from fewsteps.data import load
from fewsteps.errors import CheckpointError, ParameterError, ShapeError, TrainingError
from fewsteps.losses import EDM, Answering, Distillation, Eps, frequency_distance, frequency_weights, spatial_distance
from fewsteps.losses.distillation import FLOOR
from fewsteps.networks import Student, UNet, WaveletDown, WaveletUp, build
from fewsteps.networks.wavelet import Gate
from fewsteps.training import RECIPES, train
from fewsteps.training.family import Once, together
from fewsteps.training.recipes import slim
from fewsteps.training.teacher import Teacher
from fewsteps.transforms import haar_dwt2


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestWavelets:
    """SD-5: WG-Down and WG-Up, Eq. 8 and Fig. 5."""

    def test_down_is_the_weighted_sum_of_the_bands_pixel_by_pixel(self):
        """SD-5, Eq. 8."""
        layer = WaveletDown(3).double()
        torch.nn.init.normal_(layer.gate.second.weight, generator=torch.Generator().manual_seed(1))
        x = drawn(2, 3, 4, 6)
        got = layer(x)
        signs = {0: (1, 1, 1, 1), 1: (1, 1, -1, -1), 2: (1, -1, 1, -1), 3: (1, -1, -1, 1)}
        for b in range(2):
            hidden = F.silu(layer.gate.first(x[b].mean((-2, -1))))
            gates = torch.sigmoid(layer.gate.second(hidden)).reshape(4, 3)
            for c in range(3):
                for i in range(2):
                    for j in range(3):
                        square = x[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten()
                        bands = [sum(s * v for s, v in zip(signs[k], square, strict=True)) / 2 for k in range(4)]
                        wanted = sum(gates[k, c] * bands[k] for k in range(4))
                        assert math.isclose(got[b, c, i, j].item(), wanted.item(), rel_tol=1e-12)

    def test_up_puts_together_what_a_transform_took_apart(self):
        """SD-5: with gates of 1 it is the inverse of the Haar transform; before training they are 1/2."""
        x = drawn(2, 3, 8, 8)
        bands = torch.cat(tuple(haar_dwt2(x)), dim=1)
        for layer in (WaveletUp(12).double(), WaveletUp(12, gated=False).double()):
            torch.testing.assert_close(layer(bands), x / 2)

    def test_before_training_one_pixel_of_four_is_kept(self):
        """Equal bands: the mean of the square and half of its three differences, which is its first pixel."""
        x = drawn(1, 2, 6, 6)
        for layer in (WaveletDown(2).double(), WaveletDown(2, gated=False).double()):
            torch.testing.assert_close(layer(x), x[..., ::2, ::2])

    def test_pooling_is_among_what_it_can_learn(self):
        layer, x = WaveletDown(2, gated=False).double(), drawn(1, 2, 6, 6)
        with torch.no_grad():
            layer.gate.weight[1:] = -100.0
        torch.testing.assert_close(layer(x), F.avg_pool2d(x, 2))

    def test_weights_without_a_gate_see_no_features(self):
        """SD-5: the control is linear in the features, a gate is not."""
        x = drawn(1, 4, 4, 4)
        for gated in (False, True):
            layer = WaveletDown(4, gated=gated).double()
            for parameter in layer.parameters():
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
            assert torch.allclose(layer(3 * x), 3 * layer(x)) != gated

    def test_a_gate_acts_on_one_band_of_one_channel(self):
        gate = Gate(5, 3).double()
        with torch.no_grad():
            gate.second.bias[2 * 3 + 1] = -100.0  # band hl, channel 1
        shut = (gate(drawn(2, 5, 4, 4)) < 1e-12)[:, :, :, 0, 0]
        assert shut.nonzero()[:, [0, 2]].unique(dim=0).tolist() == [[2, 1]]

    def test_gates_see_the_mean_of_the_features_alone(self):
        gate = Gate(4, 4).double()
        torch.nn.init.normal_(gate.second.weight, generator=torch.Generator().manual_seed(2))
        x = drawn(1, 4, 4, 4)
        torch.testing.assert_close(gate(x), gate(x.flip(-1).roll(1, -2)))
        assert not torch.allclose(gate(x), gate(x + 1))

    def test_channels_that_four_does_not_divide_are_filled_up(self):
        layer = WaveletUp(6)
        assert layer.outgoing == 2 and layer(torch.zeros(1, 6, 4, 4)).shape == (1, 2, 8, 8)

    def test_odd_sizes_are_refused(self):
        with pytest.raises(ShapeError, match="must have even height and width for a Haar transform, not 4 x 5"):
            WaveletDown(1)(torch.zeros(1, 1, 4, 5))


class TestNetwork:
    """SD-5, SD-8: the U-Net with each way to halve and double."""

    @pytest.mark.parametrize("resample", ["pool", "haar", "gated"])
    def test_it_runs_trains_and_shows_its_features(self, resample):
        network = UNet(3, width=16, multipliers=(1, 2), blocks=1, attention=(1,), resample=resample)
        x = drawn(2, 3, 16, 16, dtype=torch.float32)
        said, features = network.taps(x, torch.zeros(2))
        assert torch.equal(said, network(x, torch.zeros(2))) and not said.any()
        assert [tuple(f.shape) for f in features] == [(2, 32, 4, 4), (2, 16, 8, 8)]
        for parameter in network.parameters():  # away from the zeros it starts at
            torch.nn.init.normal_(parameter, std=0.1)
        network(x, torch.zeros(2)).square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())

    def test_slim_is_an_eighth_of_its_teacher(self):
        """SD-8: the goal is at most an eighth of the teacher's multiply-adds, counted by torch."""
        from torch.utils.flop_counter import FlopCounterMode

        counted = {}
        for name in ("cifar10-fine", "cifar10-fine-lite", "cifar10-fine-wsf"):
            described = RECIPES[name].network
            network = build(described.get("network", described))
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                network(torch.zeros(1, 3, 32, 32), torch.zeros(1))
            counted[name] = counter.get_total_flops()
        assert counted["cifar10-fine"] >= 8 * counted["cifar10-fine-wsf"]
        assert counted["cifar10-fine-wsf"] <= counted["cifar10-fine-lite"]

    def test_an_unknown_way_is_named(self):
        with pytest.raises(ParameterError, match="resample must be one of pool, haar, gated, not 'nearest'"):
            UNet(1, resample="nearest")


def by_loops(teacher, student, x0, alpha):
    """Eq. 10 and 11 as they are written, one number at a time."""
    batch, channels, height, width = teacher.shape
    found = []
    for b in range(batch):
        grey = x0[b].mean(0)
        step = grey.shape[0] // height
        small = torch.stack(
            [
                torch.stack([grey[step * i : step * (i + 1), step * j : step * (j + 1)].mean() for j in range(width)])
                for i in range(height)
            ]
        )

        def dft(image, u, v):
            total = 0j
            for i in range(height):
                for j in range(width):
                    angle = -2 * math.pi * (u * i / height + v * j / width)
                    total += complex(float(image[i, j]) * math.cos(angle), float(image[i, j]) * math.sin(angle))
            return total / math.sqrt(height * width)

        places = [(u, v) for u in range(height) for v in range(width)]
        magnitude = {place: abs(dft(small, *place)) for place in places}
        floor = FLOOR * math.sqrt(sum(m * m for m in magnitude.values()) / len(places))
        weight = {place: max(m, floor) ** alpha for place, m in magnitude.items()}
        mean = sum(weight.values()) / len(places)
        total = 0.0
        for c in range(channels):
            for place in places:
                apart = abs(dft(teacher[b, c], *place) - dft(student[b, c], *place)) ** 2
                total += weight[place] / mean * apart
        found.append(total / (channels * height * width))
    return torch.tensor(found, dtype=torch.float64)


class TestDistances:
    """SD-6, SD-7: Eq. 9 to 11."""

    @pytest.mark.parametrize("alpha", [-1.0, 0.5])
    def test_frequency_distance_is_the_plain_loop(self, alpha):
        """SD-7, Eq. 10 and 11."""
        teacher, student, x0 = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1), drawn(2, 2, 8, 8, seed=2)
        wanted = by_loops(teacher, student, x0, alpha)
        torch.testing.assert_close(frequency_distance(teacher, student, x0, alpha), wanted, rtol=1e-12, atol=0)

    def test_spatial_distance_is_the_plain_loop(self):
        """SD-6, Eq. 9."""
        teacher, student = drawn(2, 3, 4, 4), drawn(2, 3, 4, 4, seed=1)
        wanted = [sum(float(d) ** 2 for d in (t - s).flatten()) / 48 for t, s in zip(teacher, student, strict=True)]
        torch.testing.assert_close(spatial_distance(teacher, student), torch.tensor(wanted, dtype=torch.float64))

    def test_alike_weights_are_parsevals(self):
        """SD-7: with alpha = 0 the frequency loss is the spatial one."""
        teacher, student, x0 = drawn(2, 5, 8, 8), drawn(2, 5, 8, 8, seed=1), drawn(2, 3, 32, 32, seed=2)
        torch.testing.assert_close(
            frequency_distance(teacher, student, x0, 0.0), spatial_distance(teacher, student), rtol=1e-12, atol=0
        )

    def test_gradients(self):
        """SD-7: against finite differences."""
        teacher, student, x0 = drawn(1, 2, 4, 4), drawn(1, 2, 4, 4, seed=1).requires_grad_(), drawn(1, 1, 4, 4, seed=2)
        assert torch.autograd.gradcheck(lambda s: frequency_distance(teacher, s, x0), student)
        assert torch.autograd.gradcheck(lambda s: spatial_distance(teacher, s), student)
        # Where student and teacher agree the gradient is zero, and not undefined.
        agreed = teacher.clone().requires_grad_()
        frequency_distance(teacher, agreed, x0).sum().backward()
        assert not agreed.grad.any()

    def test_a_rare_frequency_weighs_more_and_a_missing_one_no_more_than_the_floor(self):
        column = torch.arange(8, dtype=torch.float64)
        x0 = (3 * torch.cos(2 * math.pi * column / 8) + torch.cos(2 * math.pi * 2 * column / 8)).expand(1, 1, 8, 8)
        weights = frequency_weights(x0, (8, 8))[0, 0]
        assert float(weights[0, 2] / weights[0, 1]) == pytest.approx(3)
        assert bool(weights.isfinite().all()) and float(weights[3, 3]) == float(weights.max())

    def test_a_black_image_weighs_all_alike(self):
        assert torch.equal(frequency_weights(torch.zeros(2, 1, 8, 8), (4, 4)), torch.ones(2, 1, 4, 4))

    def test_features_that_differ_are_named(self):
        with pytest.raises(ShapeError, match=r"not \(1, 2, 4, 4\) and \(1, 3, 4, 4\): they need the same patch"):
            spatial_distance(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))


SMALL = {"kind": "unet", "channels": 1, "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [], "patch": 1}


def student(**given):
    torch.manual_seed(0)
    made = Student(SMALL | given, [32, 16])
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


class TestDistillation:
    """SD-6, SD-7: the whole objective."""

    @pytest.mark.parametrize("relative", [False, True])
    def test_it_is_the_sum_that_the_paper_writes(self, relative):
        """SD-6: L_DDPM + lambda_s L_spatial + lambda_f L_freq, or relative to a scale; only the student learns."""
        teacher = UNet(1, width=16, multipliers=(1, 2), blocks=1, attention=(), patch=1)
        for parameter in teacher.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        own, learner, x0 = EDM(0.3, 0.5), student(), drawn(4, 1, 8, 8, dtype=torch.float32).sigmoid()
        objective = Distillation(own, teacher.taps, spatial=0.3, frequency=0.2, relative=relative)
        got = objective(learner, x0, None, torch.Generator().manual_seed(5))
        posed = own.pose(x0, torch.Generator().manual_seed(5))
        said, features = learner(posed.noisy, posed.times)
        wanted, taught = teacher.taps(posed.noisy, posed.times)
        total = (said - posed.target).square().mean((1, 2, 3))
        for theirs, mine in zip([wanted, *taught], [said, *features], strict=True):
            apart = 0.3 * spatial_distance(theirs, mine) + 0.2 * frequency_distance(theirs, mine, x0)
            total = total + (apart * theirs.numel() / (theirs.detach() ** 2).sum() if relative else apart)
        torch.testing.assert_close(got, total)
        got.sum().backward()
        assert all(p.grad is None for p in teacher.parameters())
        assert all(bool(layer.weight.grad.any()) for layer in learner.align)

    @pytest.mark.parametrize("own", [EDM(0.3, 0.5), Eps()])
    def test_a_posed_problem_is_the_objectives_own(self, own):
        """With weights of zero nothing is left but the objective itself."""
        learner, x0 = student(), drawn(4, 1, 8, 8, dtype=torch.float32).sigmoid()
        plain = own(learner.network, x0, None, torch.Generator().manual_seed(5))
        nothing = Distillation(
            own, UNet(1, **{k: v for k, v in SMALL.items() if k not in ("kind", "channels")}).taps, 0, 0
        )
        narrow = Student(SMALL, [16, 8])
        narrow.network.load_state_dict(learner.network.state_dict())
        torch.testing.assert_close(nothing(narrow, x0, None, torch.Generator().manual_seed(5)), plain)
        assert nothing.predicts == own.predicts

    def test_another_number_of_scales_is_named(self):
        teacher = UNet(1, width=16, multipliers=(1, 2, 2), blocks=1, attention=(), patch=1)
        with pytest.raises(ShapeError, match="the student has 2 scales and its teacher 3"):
            Distillation(EDM(0.3, 0.5), teacher.taps)(student(), torch.zeros(1, 1, 8, 8), None, torch.Generator())
        with pytest.raises(ParameterError, match="widths must name the teacher's 2 resolutions, not 3"):
            Student(SMALL, [1, 2, 3])


class TestAnswering:
    """SD-7, a rival without parts: the teacher's answer in place of the data."""

    def test_it_is_the_distance_of_two_answers_and_never_of_the_data(self):
        teacher = UNet(1, width=16, multipliers=(1, 2), blocks=1, attention=(), patch=1)
        for parameter in teacher.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        own, learner, x0 = EDM(0.3, 0.5), student().network, drawn(4, 1, 8, 8, dtype=torch.float32).sigmoid()
        objective = Answering(own, teacher.taps)
        got = objective(learner, x0, None, torch.Generator().manual_seed(5))
        posed = own.pose(x0, torch.Generator().manual_seed(5))
        wanted, said = teacher(posed.noisy, posed.times), learner(posed.noisy, posed.times)
        torch.testing.assert_close(got, (wanted - said).square().mean((1, 2, 3)))
        got.sum().backward()
        assert all(p.grad is None for p in teacher.parameters()) and all(
            p.grad is not None for p in learner.parameters()
        )
        assert not objective(teacher, x0, None, torch.Generator()).any()
        assert objective.predicts == own.predicts

    def test_parts_beside_it_are_refused(self):
        with pytest.raises(ParameterError, match="its teacher's answer, or for the data"):
            slim(RECIPES["digits"], {"width": 8}, "ws", answer=True)


class Broken:
    """An objective whose loss is not a number."""

    def __init__(self, own):
        self.own, self.predicts = own, own.predicts

    def __repr__(self):
        return repr(self.own)

    def __call__(self, *given):
        return self.own(*given) * float("nan")


def position(folder):
    """How far the state in a folder has come."""
    with safe_open(folder / "state.safetensors", "pt") as file:
        return json.loads(file.metadata()["position"])


class TestTraining:
    """SD-8, SD-9: a student is trained by the one loop, and what is shipped is its network alone."""

    def test_a_student_learns_resumes_and_is_loaded_like_any_network(self, tmp_path):
        """SD-6: its 1 x 1 convolutions train and resume with it and are not shipped."""
        recipe = slim(RECIPES["digits"], {"width": 8}, "wsf")
        images = load("digits", "train", 8)
        train(recipe, tmp_path / "whole", steps=6, images=images, half=False)
        train(recipe, tmp_path / "parts", steps=3, images=images, half=False)
        train(recipe, tmp_path / "parts", steps=6, images=images, half=False)
        cards = [checkpoints.card("digits-wsf", tmp_path / where) for where in ("whole", "parts")]
        assert cards[0]["weights"] == cards[1]["weights"]
        assert cards[0]["network"] == RECIPES["digits"].network | {"width": 8, "resample": "gated"}
        model = trained.load("digits-wsf", tmp_path / "whole")
        assert isinstance(model.network, UNet)
        assert cards[0]["parameters"] == sum(p.numel() for p in model.network.parameters())
        _, weights = checkpoints.load("digits-wsf", tmp_path / "whole")
        assert not [name for name in weights if "align" in name]

    def test_together_is_each_by_itself_and_the_teacher_answers_once(self, tmp_path):
        """SD-9: the same weights as from separate trainings, in one phase or two; and either goes on from the other."""
        made = [slim(RECIPES["digits"], {"width": 8}, parts) for parts in ("", "s", "wsf")]
        made.insert(1, slim(RECIPES["digits"], {"width": 8}, "", label="answer", answer=True))
        images = load("digits", "train", 8)
        began, heard = time.monotonic(), []
        together(made, tmp_path / "both", steps=2, images=images, half=False)
        together(made, tmp_path / "both", steps=4, images=images, half=False, say=lambda *said: heard.append(said))
        took = time.monotonic() - began
        spent = [position(tmp_path / "both" / one.name)["seconds"] for one in made]
        assert min(spent) > 0 and sum(spent) < took  # the teacher's answer is paid for once
        for one in made:
            train(one, tmp_path / one.name, steps=4, images=images, half=False)
            alone = checkpoints.card(one.name, tmp_path / one.name)
            beside = checkpoints.card(one.name, tmp_path / "both" / one.name)
            assert alone["weights"] == beside["weights"]
            assert beside["training"]["steps"] == 4
        assert heard[-1][0] == 4 and heard[-1][1].keys() == {one.name for one in made}
        train(made[-1], tmp_path / "both" / made[-1].name, steps=5, images=images, half=False)
        together(made, tmp_path / "both", steps=5, images=images, half=False)  # one is there already
        steps = [checkpoints.card(one.name, tmp_path / "both" / one.name)["training"]["steps"] for one in made]
        assert steps == [5] * len(made)
        with pytest.raises(ParameterError, match="one data set"):
            together([made[0], RECIPES["mnist"]], tmp_path, steps=1, images=images)
        with pytest.raises(ParameterError, match="digits-ddgan2 is trained by itself"):
            together([made[0], RECIPES["digits-ddgan2"]], tmp_path, steps=1, images=images)

    def test_one_that_diverges_leaves_all_as_they_were(self, tmp_path):
        """SD-9: columns that are compared are of one step, also after one of them broke."""
        made = [slim(RECIPES["digits"], {"width": 8}, parts) for parts in ("", "s")]
        images = load("digits", "train", 8)
        together(made, tmp_path, steps=1, images=images, half=False)
        before = [(tmp_path / one.name / f"{one.name}.json").read_text() for one in made]

        broken = replace(made[1], objective=lambda images: Broken(made[1].objective(images)))
        with pytest.raises(TrainingError, match="diverged"):
            together([made[0], broken], tmp_path, steps=2, images=images, half=False)
        assert [(tmp_path / one.name / f"{one.name}.json").read_text() for one in made] == before

    def test_a_student_whose_state_is_lost_begins_with_its_checkpoint(self, tmp_path):
        """SD-6: what is shipped of it; its convolutions begin anew, and the card says so."""
        one = slim(RECIPES["digits"], {"width": 8}, "s")
        images = load("digits", "train", 8)
        train(one, tmp_path / "first", steps=2, images=images, half=False)
        given = {"images": images, "half": False, "start": tmp_path / "first"}
        train(replace(one, rate=1e-7), tmp_path / "next", steps=3, **given)
        cards = [checkpoints.load(one.name, tmp_path / where) for where in ("first", "next")]
        assert all(torch.allclose(cards[0][1][key], value, atol=1e-3) for key, value in cards[1][1].items())
        assert "student's features" in cards[1][0]["training"]["history"][0]["restarted"]
        together([replace(one, rate=1e-7)], tmp_path / "beside", steps=3, **given)
        assert checkpoints.card(one.name, tmp_path / "beside" / one.name)["weights"] == cards[1][0]["weights"]

    def test_an_answer_is_given_again_to_the_same_question_alone(self):
        once = Once(lambda x, times: x + times)
        x, times = torch.ones(2), torch.zeros(2)
        first = once(x, times)
        assert once(x.clone(), times) is first and once.asked == 1
        x += 1  # in place: another question, although the same tensor
        assert torch.equal(once(x, times), x) and once.asked == 2

    def test_columns_of_the_ablation_differ_in_what_they_say(self):
        """SD-9, Table 5."""
        columns = {name: RECIPES[f"cifar10-fine-{name}"] for name in ("lite", "w", "s", "f", "ws", "sf", "wf", "wsf")}
        assert [c.network.get("network", c.network)["resample"] for c in columns.values()] == [
            *("pool", "gated", "pool", "pool", "gated", "pool", "gated", "gated")
        ]
        assert [c.network["kind"] for c in columns.values()] == ["unet", "unet", *["student"] * 6]
        assert all(c.conditional for c in columns.values())
        assert {c.extra["beside"] for c in columns.values()} == {"cifar10-fine"}

    def test_what_cannot_teach_is_named(self, tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint is called 'digits'"):
            Teacher("digits", EDM(0.3, 0.5), tmp_path)
        with pytest.raises(CheckpointError, match="teacher and student must predict the same: digits predicts"):
            Teacher("digits", Eps())
        with pytest.raises(CheckpointError, match="the teacher must be a U-Net, and mnist-ncsn is a ncsn"):
            Teacher("mnist-ncsn", Eps())
        with pytest.raises(ParameterError, match="mnist-ncsn cannot teach"):
            slim(RECIPES["mnist-ncsn"], {}, "s")
        with pytest.raises(ParameterError, match="parts must be letters out of w, s, f, not 'x'"):
            slim(RECIPES["digits"], {}, "wx")

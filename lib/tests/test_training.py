"""Training: what it converges to, that it can be stopped anywhere, and what it says when it cannot go on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from scipy.stats import kstest, norm
from sklearn.metrics import log_loss

from fewsteps import checkpoints, data, denoisers, errors, losses, schedules, trained
from fewsteps.files import read_json
from fewsteps.training import loop, recipe, train
from fewsteps.training.loop import Run, rate, shifted
from fewsteps.training.state import Average
from fewsteps.training.team import Team

DIGITS = recipe("digits")


@pytest.fixture(scope="module")
def images():
    return data.load("digits", "train", 8)


def weights(folder, name="digits"):
    return checkpoints.load(name, folder)[1]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def position(folder):
    """How far the state in a folder has come."""
    with safe_open(folder / "state.safetensors", "pt") as file:
        return json.loads(file.metadata()["position"])


class TestObjectives:
    """A network that says 0 is exact for Gaussian data under EDM, which fixes every constant of the objective."""

    def normal(self, count=4096):
        return 0.3 + 0.2 * torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def test_edm_of_the_exact_denoiser_is_one(self):
        """Source: BASE-HEUN, whose weights make every noise level count alike."""
        found = losses.EDM(0.3, 0.2)(lambda x, t: 0 * x, self.normal(), None, torch.Generator().manual_seed(1))
        assert found.shape == (4096,)
        assert float(found.mean()) == pytest.approx(1, abs=5 * float(found.std()) / 64)

    def test_edm_draws_the_levels_that_it_names(self):
        """Source: BASE-HEUN. A normal law of log(sigma / std), and a log-uniform one for some images."""
        own = losses.EDM(0.3, 0.2, centre=0.3, spread=1.4, wide=0.25, ends=(0.01, 100))
        levels = 4 * own.pose(torch.zeros(20_000, 1, 1, 1), torch.Generator().manual_seed(0)).times.double()
        low, high = math.log(0.01), math.log(100)

        def law(v):
            return 0.75 * norm.cdf(v, 0.3, 1.4) + 0.25 * ((v - low) / (high - low)).clip(0, 1)

        assert kstest(levels.numpy(), law).pvalue > 1e-4

    def test_edm_trains_what_samplers_ask(self):
        """Source: BASE-HEUN. For a network that looks at both of its inputs, the loss is the weighted error of the
        denoiser that samplers make of it."""

        def network(x, t):
            return torch.sin(3 * x) + t[:, None, None, None]

        own, x0 = losses.EDM(0.3, 0.2), self.normal(64)
        posed = own.pose(x0, torch.Generator().manual_seed(1))
        noise = (4 * posed.times).exp()[:, None, None, None]  # over the data's spread
        x = 0.3 + 0.2 * posed.noisy * (1 + noise.square()).sqrt()
        x0_hat = denoisers.FromEDM(network, schedules.VE(), 0.3, 0.2).mean(x, 0.2 * noise.flatten())
        weight = (1 + noise.square()) / (0.2 * noise).square()
        found = own(network, x0, None, torch.Generator().manual_seed(1))
        torch.testing.assert_close(found, (weight * (x0_hat - x0).square()).mean((1, 2, 3)), rtol=1e-3, atol=1e-3)

    def test_eps_of_no_prediction_is_the_noise(self):
        found = losses.Eps()(lambda x, t: 0 * x, self.normal(), None, torch.Generator().manual_seed(1))
        assert float(found.mean()) == pytest.approx(1, abs=5 * float(found.std()) / 64)

    def test_eps_tells_the_network_its_noise_level(self):
        """BASE-VP: for white data of variance 1 a perfect eps is a linear function of x; the level gives its slope."""
        white = 0.5 + 0.5 * torch.randn(4096, 1, 4, 4, generator=torch.Generator().manual_seed(0))

        def exact(x, t):
            return x * torch.exp(4 * t)[:, None, None, None] / (1 + torch.exp(8 * t)[:, None, None, None]).sqrt()

        found = losses.Eps()(exact, white, None, torch.Generator().manual_seed(1))
        level = torch.linspace(0, 1, 100_000, dtype=torch.float64) * (1 - 1e-3) + 1e-3
        expected = float(schedules.VPLinear().alpha(level).square().mean())
        assert float(found.mean()) == pytest.approx(expected, abs=5 * float(found.std()) / 64)

    def test_score_matching_of_the_exact_score(self):
        sigmas = [1.0, 0.3, 0.1]

        def exact(x, sigma):
            return -(x - 0.3) / (0.04 + sigma.square())[:, None, None, None]

        found = losses.ScoreMatching(sigmas)(exact, self.normal(), None, torch.Generator().manual_seed(1))
        expected = sum(0.04 / (0.04 + s * s) for s in sigmas) / 3
        assert float(found.mean()) == pytest.approx(expected, abs=5 * float(found.std()) / 64)

    def test_cross_entropy_is_the_log_loss_of_what_was_named(self):
        """Against scikit-learn's, image by image; a classifier without classes is told where there are some."""
        draws = torch.Generator().manual_seed(2)
        images, logits = torch.rand(12, 1, 4, 4, generator=draws), 3 * torch.randn(12, 5, generator=draws).double()
        labels, shown = torch.randint(5, (12,), generator=draws), []
        found = losses.CrossEntropy()(lambda x: shown.append(x) or logits, images, labels, draws)
        chances = logits.softmax(1)
        for k in range(12):
            alone = log_loss(labels[k : k + 1], chances[k : k + 1], labels=range(5))
            assert float(found[k]) == pytest.approx(alone, rel=1e-9)
        assert len(shown) == 1 and shown[0] is images
        with pytest.raises(errors.DataError, match="a classifier needs a data set with classes: mnist"):
            losses.CrossEntropy()(lambda x: logits, images, None, draws)

    @pytest.mark.parametrize(
        ("made", "word"),
        [
            (lambda: losses.EDM(0.0, 0.0), "std"),
            (lambda: losses.EDM(0.0, 1.0, wide=2), "wide"),
            (lambda: losses.EDM(0.0, 1.0, ends=(2, 1)), "ends"),
            (lambda: losses.ScoreMatching([1.0]), "sigmas"),
            (lambda: losses.ScoreMatching([1.0, 2.0]), "sigmas"),
        ],
    )
    def test_refusals(self, made, word):
        with pytest.raises(errors.ParameterError, match=word):
            made()


@pytest.mark.parametrize(
    "schedule", [schedules.VE(), schedules.VPLinear(), schedules.VPCosine(), schedules.Discrete.linear(100)]
)
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.3, 0.2), (-0.7, 0.6)])
def test_a_network_of_zeros_under_edm_is_the_gaussian_denoiser(schedule, mean, std):
    """Source: BASE-HEUN. c_skip, c_out, c_in and the units of every schedule, against the closed form."""
    exact = denoisers.Gaussian(schedule, torch.full((4, 4), std**2, dtype=torch.float64), mean)
    found = denoisers.FromEDM(lambda x, t: 0 * x, schedule, mean, std)
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in (schedule.t_max, schedule.t_min, round((schedule.t_max + schedule.t_min) / 2)):
        if t <= 0:
            continue
        torch.testing.assert_close(found.mean(x, float(t)), exact.mean(x, float(t)), rtol=1e-9, atol=1e-9)


def test_the_network_is_told_the_noise_in_units_of_the_data():
    seen = []

    def network(x, t):
        seen.append((x, t))
        return 0 * x

    x = torch.ones(2, 1, 4, 4)
    denoisers.FromEDM(network, schedules.VE(), 0.5, 0.25).mean(x, 2.0)
    assert torch.allclose(seen[0][1], torch.full((2,), 8.0).log() / 4)
    assert torch.allclose(seen[0][0], 2 * x / 65**0.5)


def test_a_recipe_in_pixels_says_what_it_always_said():
    """What a state must agree with to go on: states of before there were latents lack the word."""
    assert "latent" not in recipe("digits").described()
    assert recipe("faces-latent").described()["latent"] == "faces-autoencoder"


class TestLoop:
    def test_a_run_that_stopped_equals_one_that_did_not(self, tmp_path, images):
        train(DIGITS, tmp_path / "whole", steps=24, device="cpu", images=images)
        train(DIGITS, tmp_path / "parts", steps=10, device="cpu", images=images)
        train(DIGITS, tmp_path / "parts", steps=24, device="cpu", images=images)
        assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))

    @pytest.mark.parametrize("half", [False, True])
    def test_in_either_precision(self, tmp_path, images, half):
        """Whatever the processor would choose: a run that stopped equals one that did not, and the card says which."""
        given = {"device": "cpu", "images": images, "half": half}
        train(DIGITS, tmp_path / "one", steps=3, **given)
        for steps in (1, 3):
            card = train(DIGITS, tmp_path / "two", steps=steps, **given)
        assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
        assert read_json(card)["training"]["precision"] == ("bfloat16" if half else "float32")

    def test_a_step_is_shown_images_as_they_are_or_mirrored_and_their_own_classes(self, tmp_path, images):
        made = replace(DIGITS, flip=True, unlabelled=0.25)
        with Team("cpu") as team:
            x0, cond = Run(made, tmp_path, images, team, compiled=None, half=False).share_of(4096)
        known: dict[bytes, list[tuple[int, bool]]] = {}
        for mirrored in (False, True):
            shown = images.images.flip(-1) if mirrored else images.images
            for image, label in zip(shown, images.labels.tolist(), strict=True):
                known.setdefault(image.numpy().tobytes(), []).append((label, mirrored))
        found = [known[image.contiguous().numpy().tobytes()] for image in x0]
        assert all(
            c == -1 or c in {label for label, _ in entries} for c, entries in zip(cond.tolist(), found, strict=True)
        )
        assert float((cond < 0).double().mean()) == pytest.approx(0.25, abs=0.04)
        plain = [entries[0][1] for entries in found if len(entries) == 1]  # a digit may be its own mirror image
        assert sum(plain) / len(plain) == pytest.approx(0.5, abs=0.06)

    def test_seeds_repeat_and_differ(self, tmp_path, images):
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            train(replace(DIGITS, seed=seed), tmp_path / name, steps=3, device="cpu", images=images)
        assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
        assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))

    def test_it_learns_and_the_card_says_what_it_is(self, tmp_path, images):
        said = []
        path = train(DIGITS, tmp_path, steps=250, device="cpu", images=images, say=said.append)
        log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert said[-1].step == 250 and said[-1].images == 250 * 64
        assert log[-1]["loss"] < 0.6  # a network that says 0 has 1
        card = read_json(path)
        assert card["data"]["sha256"] == images.sha256 and card["training"]["steps"] == 250
        assert card["predicts"]["kind"] == "edm" and card["training"]["processes"] == 1
        assert card["predicts"]["mean"] == pytest.approx(float(images.images.mean()), abs=1e-4)
        model = trained.load("digits", tmp_path)
        assert model.shape == (1, 8, 8) and model.classes == 10

    def test_a_classifier_learns_its_classes(self, tmp_path, images):
        made = replace(recipe("digits-classifier"), warmup=1)
        train(made, tmp_path, steps=20, device="cpu", images=images)
        assert checkpoints.card("digits-classifier", tmp_path)["predicts"] == {"kind": "class"}
        with torch.no_grad():
            said = trained.load("digits-classifier", tmp_path).network(images.images[:500]).argmax(1)
        assert float((said == images.labels[:500]).float().mean()) > 0.5  # a guess has 0.1
        with pytest.raises(errors.DataError, match="a classifier needs a data set with classes"):
            train(made, tmp_path / "blind", steps=1, device="cpu", images=replace(images, labels=None))

    def test_a_killed_run_goes_on_from_its_last_checkpoint(self, tmp_path, monkeypatch):
        command = [sys.executable, "-m", "fewsteps.cli", "train", "digits", "--minutes", "5", "--interval", "0.2"]
        running = subprocess.Popen([*command, "--out", str(tmp_path), "--device", "cpu"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
        running.wait()
        reached = position(tmp_path)  # which may be one checkpoint ahead of the card
        assert reached["step"] >= 1 and reached["seconds"] > 0
        trained.load("digits", tmp_path)  # whole, and it fits its card
        made, step = [], Run.step
        monkeypatch.setattr(Run, "step", lambda run: made.append(run.position.step) or step(run))
        train(DIGITS, tmp_path, steps=reached["step"] + 2, device="cpu")
        assert made == [reached["step"], reached["step"] + 1]
        assert read_json(tmp_path / "digits.json")["training"]["steps"] == reached["step"] + 2
        assert position(tmp_path)["seconds"] > reached["seconds"]

    def test_minutes_count_what_earlier_runs_spent(self, tmp_path, images):
        """An hour is over before a limit of 59 minutes and not before one of 61."""
        with Team("cpu") as team:
            run = Run(DIGITS, tmp_path, images, team, compiled=False, half=None)
            run.until(math.inf, 1, 180.0, None)
            run.position.seconds = 3600.0
            run.store()
        for limit, steps in ((59, 1), (61, 2)):
            train(DIGITS, tmp_path, minutes=limit, steps=2, device="cpu", images=images)
            said = checkpoints.card("digits", tmp_path)["training"]
            assert said["steps"] == steps and 60 <= said["minutes"] < 61

    def test_two_processes_share_a_batch(self, tmp_path, images):
        """Against one process that computes both shares itself and averages their gradients."""
        code = (
            "import sys, torch; torch.set_num_threads(1); from pathlib import Path\n"
            "from dataclasses import replace\n"
            "from fewsteps.training import recipe, train\n"
            "train(replace(recipe('digits'), warmup=1), Path(sys.argv[1]), steps=3, device='cpu', half=False)"
        )
        script = tmp_path / "go.py"
        script.write_text(code)
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *launch, str(script), str(tmp_path / "two")],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert read_json(tmp_path / "two/digits.json")["training"]["processes"] == 2

        with Team("cpu") as team:
            made = replace(DIGITS, warmup=1)
            run = Run(made, tmp_path / "one", images, team, compiled=False, half=False)
            before = {name: value.clone() for name, value in run.average.weights.items()}
            team.size = 2
            for _ in range(3):
                run.optimiser.zero_grad()
                for team.rank in (0, 1):
                    x0, cond = run.share_of(DIGITS.batch)
                    (run.objective(run.network, x0, cond, run.generator).mean() / 2).backward()
                torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
                for group in run.optimiser.param_groups:
                    group["lr"] = DIGITS.rate * rate(run.position.step, made)
                run.optimiser.step()
                run.position.step += 1
                run.position.images += DIGITS.batch
                run.average.update(run.network, DIGITS.batch, run.position.images)
        found = weights(tmp_path / "two")
        for name, value in run.average.weights.items():
            torch.testing.assert_close(found[name], value.half().float(), rtol=2e-3, atol=2e-5)
        moved = max(float((value - before[name]).abs().max()) for name, value in run.average.weights.items())
        assert moved > 1e-3  # what is compared is not where it began

    def test_a_gradient_that_is_not_finite_is_not_kept(self, tmp_path, images):
        """The loss of a step is from before it: a finite loss may still leave weights that are not."""

        class Late(losses.EDM):
            def __call__(self, network, x0, cond, generator):
                found = super().__call__(network, x0, cond, generator)
                return found + (0 * found).sqrt()

            def __repr__(self):
                return repr(DIGITS.objective(images))

        train(DIGITS, tmp_path, steps=3, device="cpu", images=images)
        good = weights(tmp_path)
        made = replace(DIGITS, objective=lambda _: Late(0.3, 0.4))
        with pytest.raises(errors.TrainingError, match="diverged near step 4"):
            train(made, tmp_path, steps=4, device="cpu", images=images)
        assert same(good, weights(tmp_path))
        train(DIGITS, tmp_path, steps=5, device="cpu", images=images)  # and the state is as good as the checkpoint

    def test_another_objective_or_other_images_do_not_go_on(self, tmp_path, images):
        train(DIGITS, tmp_path, steps=1, device="cpu", images=images)
        with pytest.raises(errors.CheckpointError, match="another objective"):
            train(replace(DIGITS, objective=lambda _: losses.Eps()), tmp_path, steps=2, device="cpu", images=images)
        with pytest.raises(errors.CheckpointError, match="another images"):
            train(DIGITS, tmp_path, steps=2, device="cpu", images=replace(images, sha256="other"))

    def test_no_device_is_one_sentence(self, tmp_path, images):
        with pytest.raises(errors.ParameterError, match="device must be cpu, or a GPU that torch sees"):
            train(DIGITS, tmp_path, steps=1, device="cuda:9", images=images)

    def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(self, tmp_path, images):
        train(DIGITS, tmp_path, steps=3, device="cpu", images=images)
        good = weights(tmp_path)
        broken = replace(images, images=images.images * float("nan"))
        mended = DIGITS.objective(images)  # or the mean would be NaN and refused
        made = replace(DIGITS, objective=lambda _: mended)
        with pytest.raises(errors.TrainingError, match=r"checkpoint before it is kept.*learning rate"):
            train(made, tmp_path, steps=9, device="cpu", images=broken)
        assert same(good, weights(tmp_path))

    def test_the_state_of_another_recipe_is_refused(self, tmp_path, images):
        train(DIGITS, tmp_path, steps=1, device="cpu", images=images)
        with pytest.raises(errors.CheckpointError, match="another rate"):
            train(replace(DIGITS, rate=1e-4), tmp_path, steps=2, device="cpu", images=images)

    def test_a_recipe_that_changed_goes_on_if_asked_and_the_card_says_so(self, tmp_path, images):
        train(DIGITS, tmp_path, steps=2, device="cpu", images=images)
        slower = replace(DIGITS, rate=1e-4)
        train(slower, tmp_path, steps=3, device="cpu", images=images, changed=True)
        train(slower, tmp_path, steps=4, device="cpu", images=images)  # and from now on without being asked
        said = checkpoints.card("digits", tmp_path)["training"]
        assert said["history"] == [{"until": 2, "before": {"rate": DIGITS.rate}}]
        assert (said["recipe"]["rate"], said["steps"]) == (1e-4, 4)
        for other in (replace(DIGITS, objective=lambda _: losses.Eps()), replace(DIGITS, size=16)):
            with pytest.raises(errors.CheckpointError, match=r"another .*: name another folder, or remove it\.$"):
                train(other, tmp_path, steps=5, device="cpu", images=images, changed=True)

    def test_a_run_whose_state_is_lost_begins_with_its_checkpoint(self, tmp_path, images):
        first, second = tmp_path / "first", tmp_path / "second"
        train(replace(DIGITS, rate=1e-3), first, steps=2, device="cpu", images=images)
        spent = checkpoints.card("digits", first)["training"] | {"minutes": 7.0}
        checkpoints.record("digits", first, {"training": spent})
        slower = replace(DIGITS, rate=1e-6)
        train(slower, second, steps=3, device="cpu", images=images, start=first)
        before, said = (checkpoints.card("digits", folder)["training"] for folder in (first, second))
        assert (said["steps"], said["images"] - before["images"]) == (3, DIGITS.batch)
        assert 7 <= said["minutes"] < 8
        assert said["history"][0]["until"] == 2 and "half precision" in said["history"][0]["restarted"]
        assert said["history"][0]["before"] == {"rate": 1e-3}
        old, new = weights(first), weights(second)
        assert all(torch.allclose(old[name], new[name], atol=1e-3) for name in old)  # one small step from there
        assert position(second)["restarted"] == 2
        with Team("cpu") as team:  # Adam's moments begin again, and with them the rise of the rate
            run = Run(slower, tmp_path / "risen", images, team, compiled=False, half=None, start=first)
            run.step()
        assert run.optimiser.param_groups[0]["lr"] == pytest.approx(1e-6 / DIGITS.warmup)
        train(slower, second, steps=4, device="cpu", images=images, start=first)  # its own state goes before
        assert checkpoints.card("digits", second)["training"]["steps"] == 4
        other = replace(images, sha256="0" * 64)
        blind = replace(slower, objective=lambda _: losses.Eps())
        with pytest.raises(errors.CheckpointError, match="another kind, mean, std: leave it out"):
            train(blind, tmp_path / "third", steps=3, device="cpu", images=images, start=first)
        with pytest.raises(errors.CheckpointError, match="another images"):
            train(slower, tmp_path / "third", steps=3, device="cpu", images=other, start=first)

    def test_a_network_with_more_layers_begins_with_the_weights_of_one_with_fewer(self, tmp_path, images):
        """And is that network until its new layers have learned; the card says what it began with."""
        grown = replace(DIGITS, name="digits-fine", network=DIGITS.network | {"finish": 8}, begins="digits", rate=1e-9)
        train(grown, tmp_path, steps=1, device="cpu", images=images)
        card, own = checkpoints.load("digits-fine", tmp_path)
        _, shipped = checkpoints.load("digits")
        assert own.keys() > shipped.keys() and {name.split(".")[0] for name in own.keys() - shipped.keys()} == {
            "finish"
        }
        assert all(torch.allclose(own[name].float(), value.float(), atol=1e-3) for name, value in shipped.items())
        (begun,) = card["training"]["history"]
        assert begun["until"] == 0 and "with the weights of digits, sha256" in begun["begun"]
        assert card["training"]["recipe"]["begins"] == "digits" and "begins" not in DIGITS.described()
        learning = replace(grown, rate=1e-3)
        for folder, marks in (("whole", [4]), ("parts", [2, 4])):  # its own state goes before what it began with
            for steps in marks:
                train(learning, tmp_path / folder, steps=steps, device="cpu", images=images)
        cards = [checkpoints.card("digits-fine", tmp_path / folder) for folder in ("whole", "parts")]
        assert cards[0]["weights"] == cards[1]["weights"]
        seen = checkpoints.card("digits")["training"]["images"] + 4 * DIGITS.batch
        assert checkpoints.images_seen(cards[0]) == checkpoints.images_seen(cards[1]) == seen
        other = replace(grown, network=grown.network | {"width": 8})
        with pytest.raises(errors.CheckpointError, match="digits has weights that the network has no place for"):
            train(other, tmp_path / "other", steps=1, device="cpu", images=images)

    def test_a_damaged_state_is_refused(self, tmp_path, images):
        train(DIGITS, tmp_path, steps=1, device="cpu", images=images)
        path = tmp_path / "state.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(errors.CheckpointError, match="damaged: remove it"):
            train(DIGITS, tmp_path, steps=2, device="cpu", images=images)

    def test_without_an_end_it_does_not_begin(self, tmp_path):
        with pytest.raises(errors.ParameterError, match="minutes or steps"):
            train(DIGITS, tmp_path)

    def test_memory_that_runs_out_names_the_batch_that_fits(self, tmp_path):
        """With a real limit on the memory of a process."""
        code = (
            "import resource, sys, torch; torch.set_num_threads(1)\n"
            "from pathlib import Path\n"
            "from dataclasses import replace\n"
            "from fewsteps import data\n"
            "from fewsteps.training import recipe, train\n"
            "images = data.load('digits', 'train', 8)\n"
            "train(recipe('digits'), Path(sys.argv[1]), steps=1, device='cpu', images=images)\n"
            "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
            "resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)\n"
            "large = replace(recipe('digits'), batch=65536)\n"
            "try:\n    train(large, Path(sys.argv[1]) / 'large', steps=1, device='cpu', images=images)\n"
            "except ValueError as error:\n    print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert done.stdout.startswith("Memory ran out with 65536 images per step: --batch "), done.stderr[-2000:]
        fits = int(done.stdout.split("--batch ")[1].split()[0])
        assert 1 <= fits <= 32768 and fits & (fits - 1) == 0


class TestParts:
    def test_the_average_has_its_half_life(self):
        """Source: BASE-NCSNv2, whose samples come from averaged weights."""
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)
        average = Average(network, half_life=64)
        torch.nn.init.ones_(network.weight)
        average.update(network, 64, seen=10**6)
        assert float(average.weights["weight"]) == pytest.approx(0.5)
        average.update(network, 128, seen=10**6)
        assert float(average.weights["weight"]) == pytest.approx(0.875)

    def test_the_average_knows_buffers_shared_weights_and_what_is_kept_raw(self):
        """Numbers that are counted are copied, and so is what begins with `raw`; what is not stored is left out."""
        network = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        network[2].weight = network[1].weight
        network.register_buffer("aside", torch.zeros(1), persistent=False)
        average = Average(network, half_life=64, raw="0.")
        assert average.weights.keys() == network.state_dict().keys()
        with torch.no_grad():
            for weight in network.parameters():
                weight += 1
            network[0].num_batches_tracked += 3
        before = {name: value.clone() for name, value in average.weights.items()}
        average.update(network, batch=64, seen=10**6)
        now = network.state_dict()
        for name, value in average.weights.items():
            halfway = value.is_floating_point() and not name.startswith("0.")
            assert torch.allclose(value, (before[name] + now[name]) / 2 if halfway else now[name]), name

    @pytest.mark.parametrize("has", [{"avx512_bf16": True}, {"amx_bf16": True, "avx2": True}, {"bf16": True}])
    def test_half_precision_is_for_processors_that_compute_in_it(self, monkeypatch, has):
        cpu = torch.device("cpu")
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, **has}, raising=False)
        assert loop.computes_half(cpu) and loop.computes_half(torch.device("cuda"))
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, **dict.fromkeys(has, False)})
        assert not loop.computes_half(cpu)
        monkeypatch.delattr(torch.cpu, "get_capabilities")
        assert loop.computes_half(cpu)

    def test_what_has_four_dimensions_is_laid_out_and_the_rest_is_not(self):
        """A network with weights of five, as gates and many heads have, trains on a GPU as well."""
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(2, 2, 3), torch.nn.Linear(2, 2))
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        loop.lay_out(network, torch.channels_last)
        assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert network[1].weight.is_contiguous() and network[2].weight.is_contiguous()
        assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())

    def test_without_half_life_the_average_is_the_weights(self):
        network = torch.nn.Linear(2, 2)
        average = Average(network, half_life=0)
        torch.nn.init.ones_(network.weight)
        average.update(network, 1, seen=1)
        assert torch.equal(average.weights["weight"], network.weight)

    def test_the_rate_rises_stays_and_falls(self):
        made = replace(DIGITS, warmup=10, decay=100)
        assert rate(0, made) == pytest.approx(0.1)
        assert rate(50, made) == 1
        assert rate(400, made) == pytest.approx(0.5)
        assert rate(400, made, since=400) == pytest.approx(0.1 * 0.5)  # it rises again, to where it would have been
        assert rate(409, made, since=400) == rate(409, made)

    def test_the_rate_falls_along_half_a_cosine_to_where_it_ends(self):
        """BASE-DDGAN: to a sixteenth of it, where it stays."""
        made = replace(DIGITS, warmup=10, decay=100, end=300)
        assert rate(100, made) == 1 and rate(200, made) == pytest.approx((1 + 1 / 16) / 2)
        assert rate(150, made) == pytest.approx(1 / 16 + 15 / 16 * (1 + 0.5**0.5) / 2)
        assert rate(300, made) == rate(900, made) == pytest.approx(1 / 16)
        assert "end" not in replace(made, end=0).described() and made.described()["end"] == 300

    def test_shifts_move_whole_images_and_fill_with_zeros(self):
        images = torch.arange(1.0, 17).reshape(1, 1, 4, 4).expand(64, 1, 4, 4)
        moved = shifted(images, 1, torch.Generator().manual_seed(0))
        padded = torch.nn.functional.pad(images[0, 0], (1,) * 4)
        windows = {tuple(padded[i : i + 4, j : j + 4].flatten().tolist()) for i in range(3) for j in range(3)}
        assert {tuple(image.flatten().tolist()) for image in moved} == windows and len(windows) == 9
        assert moved.shape == images.shape

    def test_unknown_recipes_list_those_there_are(self):
        with pytest.raises(errors.ParameterError, match="mnist, fashion, cifar10"):
            recipe("imagenet")

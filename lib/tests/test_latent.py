"""Latent diffusion: an autoencoder, what it is trained by, and networks that work in its latents."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import distributions

from fewsteps import checkpoints, trained
from fewsteps.data import load
from fewsteps.errors import CheckpointError, ParameterError, ShapeError
from fewsteps.experiments.latents import lost
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.losses import EDM, Autoencoding, perceptual_distance
from fewsteps.networks import Autoencoder, Classifier
from fewsteps.schedules import VE, VPLinear
from fewsteps.training import recipe, train
from fewsteps.training.family import together
from fewsteps.training.loop import Run
from fewsteps.training.recipes import edm, slim
from fewsteps.training.teacher import Eye, Teacher, latents
from fewsteps.training.team import Team

DIGITS = recipe("digits")
CODER = replace(
    DIGITS,
    name="digits-autoencoder",
    network={"kind": "autoencoder", "channels": 1, "width": 8, "latent": 2, "factor": 2},
    objective=lambda images: Autoencoding(Eye("digits-classifier")),
)
LATENT = replace(
    DIGITS,
    name="digits-latent",
    network=DIGITS.network | {"channels": 2, "size": 4},
    latent="digits-autoencoder",
    flip=True,
)


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestNetwork:
    """BASE-LDM: the first stage."""

    @pytest.mark.parametrize(("factor", "size"), [(2, (8, 12)), (4, (16, 8)), (8, (16, 16))])
    def test_latents_are_smaller_by_the_factor_and_images_come_back_whole(self, factor, size):
        network, images = Autoencoder(3, latent=5, width=8, factor=factor), drawn(2, 3, *size)
        mean, std = network.encode(images)
        assert mean.shape == std.shape == (2, 5, size[0] // factor, size[1] // factor) and bool((std > 0).all())
        assert network.decode(mean).shape == images.shape
        back, *_ = network(images, torch.zeros_like(mean))
        assert torch.equal(back, network.decode(mean))

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"width": 12}, "width must be a multiple of 8, not 12"),
            ({"factor": 3}, "factor must be a power of 2, not 3"),
            ({"latent": 0}, "latent must be an integer of at least 1"),
        ],
    )
    def test_bad_numbers_are_named(self, given, sentence):
        with pytest.raises(ParameterError, match=sentence):
            Autoencoder(3, **given)

    def test_other_images_and_latents_are_refused(self):
        network = Autoencoder(3, width=8)
        with pytest.raises(ShapeError, match="height and width must be multiples of 4, not 8 and 6"):
            network.encode(drawn(1, 3, 8, 6))
        with pytest.raises(ShapeError, match=r"images must have the shape \(B, 3, H, W\), not \(1, 1, 8, 8\)"):
            network.encode(drawn(1, 1, 8, 8))
        with pytest.raises(ShapeError, match=r"latents must have the shape \(B, 4, h, w\), not \(1, 3, 2, 2\)"):
            network.decode(drawn(1, 3, 2, 2))


class Said(torch.nn.Module):
    """An autoencoder that says what it is told to."""

    latent, factor = 2, 2

    def __init__(self, back, mean, std):
        super().__init__()
        self.said = back, mean, std

    def forward(self, images, noise):
        assert noise.shape == self.said[1].shape
        return self.said


class TestObjective:
    """BASE-LDM: absolute error, features, and a divergence that torch knows too."""

    def test_it_is_the_sum_of_its_terms(self):
        """BASE-LDM: absolute error, a distance of features, and torch's own divergence."""
        x0, back = drawn(3, 1, 8, 8), drawn(3, 1, 8, 8, seed=1)
        mean, std = drawn(3, 2, 4, 4, seed=2), drawn(3, 2, 4, 4, seed=3) + 0.1
        eye = Classifier(1, 3, width=8, blocks=1)
        objective = Autoencoding(eye.taps, perceptual=0.7, kl=0.01)
        got = objective(Said(back, mean, std), x0, None, torch.Generator())
        prior = distributions.Normal(torch.zeros_like(mean), torch.ones_like(std))
        divergence = distributions.kl_divergence(distributions.Normal(mean, std), prior).sum((1, 2, 3))
        wanted = (back - x0).abs().mean((1, 2, 3)) + 0.01 * divergence / 64
        torch.testing.assert_close(got, wanted + 0.7 * perceptual_distance(eye.taps, x0, back))

    def test_the_distance_of_features_is_the_plain_loop(self):
        eye = Classifier(1, 3, width=8, blocks=2).double()
        first, second = drawn(1, 1, 8, 8, dtype=torch.float64), drawn(1, 1, 8, 8, seed=1, dtype=torch.float64)
        wanted = 0.0
        for a, b in zip(eye.taps(first), eye.taps(second), strict=True):
            _, _, height, width = a.shape
            total = 0.0
            for i in range(height):
                for j in range(width):
                    p, q = a[0, :, i, j], b[0, :, i, j]
                    total += ((p / p.norm() - q / q.norm()) ** 2).sum().item()
            wanted += total / (height * width) / 3
        assert perceptual_distance(eye.taps, first, second).item() == pytest.approx(wanted, rel=1e-9)
        assert not perceptual_distance(eye.taps, first, first).any()

    def test_the_last_tap_is_what_the_classifier_averages(self):
        eye = Classifier(1, 3, width=8, blocks=2)
        x = drawn(2, 1, 8, 8)
        taps = eye.taps(x)
        assert [tuple(t.shape) for t in taps] == [(2, 8, 8, 8), (2, 16, 4, 4), (2, 32, 2, 2)]
        torch.testing.assert_close(torch.relu(eye.norm(taps[-1])).mean((2, 3)), eye.features(x))


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A folder with a classifier, an autoencoder that has learned a little, and a network in its latents."""
    folder = tmp_path_factory.mktemp("coded")
    images = load("digits", "train", 8)
    learned = replace(CODER, warmup=10, half_life=0, rate=2e-3)
    train(learned, folder, steps=100, images=images, half=False, interval=1e9)
    (folder / "state.safetensors").unlink()
    train(LATENT, folder, steps=3, images=images, half=False, interval=1e9)
    return folder


class TestLatents:
    """BASE-LDM: the second stage is any network of the project, on other images."""

    def test_an_autoencoder_learns(self, coded):
        model = trained.load("digits-autoencoder", coded).network
        images = load("digits", "test", 8).images
        error = (model.decode(model.encode(images)[0]) - images).abs().mean()
        constant = (images - images.mean(0)).abs().mean()
        assert error < 0.6 * constant

    def test_the_latents_of_a_set_are_those_of_its_images_and_of_their_mirror_images(self, coded):
        images = load("digits", "train", 8)
        made = latents(images, "digits-autoencoder", flip=True, folder=coded)
        network = trained.load("digits-autoencoder", coded).network
        assert made.images.shape == (2 * len(images), 2, 4, 4) and len(made.labels) == len(made.images)
        torch.testing.assert_close(made.images[[5, len(images) + 5]], network.encode(
            torch.stack([images.images[5], images.images[5].flip(-1)]))[0])  # fmt: skip
        assert made.sha256 != images.sha256 != latents(images, "digits-autoencoder", folder=coded).sha256

    @pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
    def test_samples_are_decoded_images(self, coded, sampler):
        model = trained.load("digits-latent", coded)
        assert model.shape == (2, 4, 4)
        drawn_ = sample(Plan("digits-latent", sampler, nfe=3, count=5), coded)
        assert drawn_.images.shape == (5, 1, 8, 8)
        assert 0 <= float(drawn_.images.min()) <= float(drawn_.images.max()) <= 1

    @pytest.mark.parametrize("schedule", [VE(), VPLinear()])
    def test_latents_come_back_in_their_own_units(self, coded, schedule):
        """BASE-LDM: whatever range a process works in, the decoder sees the latents that the encoder made."""
        model, images = trained.load("digits-latent", coded), load("digits", "test", 8).images[:4]
        mean, _ = model.decoder.encode(images)
        low, high = trained.span(schedule)
        torch.testing.assert_close(
            model.images(low + (high - low) * mean, schedule), model.decoder.decode(mean).clamp(0, 1)
        )

    def test_another_autoencoder_of_that_name_is_noticed(self, coded, tmp_path):
        for path in coded.glob("digits-*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        card, weights = checkpoints.load("digits-autoencoder", tmp_path)
        checkpoints.save(tmp_path, card, {name: value + 0.01 for name, value in weights.items()})
        with pytest.raises(CheckpointError, match="works in latents of another digits-autoencoder than the one"):
            trained.load("digits-latent", tmp_path)

    def test_what_is_needed_may_be_among_the_shipped(self, coded, tmp_path, monkeypatch):
        """A network trained in a folder of its own finds the autoencoder where checkpoints are shipped."""
        for path in coded.glob("digits-latent*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        monkeypatch.setattr(checkpoints, "FOLDER", coded)
        assert trained.load("digits-latent", tmp_path).decoder is not None

    def test_mirrored_latents_are_not_mirrored_again(self, coded):
        """The set holds the latents of mirrored images; to mirror a latent is not to mirror its image."""
        images = load("digits", "train", 8)
        made = latents(images, "digits-autoencoder", flip=True, folder=coded)
        with Team("cpu") as team:
            run = Run(LATENT, coded / "again", made, team, compiled=None, half=False)
            x0, _ = run.share_of(64)
        known = made.images.flatten(1)
        assert all(bool((known == one).all(1).any()) for one in x0.flatten(1))

    def test_a_student_of_other_latents_is_refused(self, coded):
        images = load("digits", "train", 8)
        own = edm(latents(images, "digits-autoencoder", flip=True, folder=coded))
        assert Teacher("digits-latent", own, coded).network.channels == 2
        with pytest.raises(CheckpointError, match="teacher and student must predict the same: digits-latent predicts"):
            Teacher("digits-latent", EDM(own.mean + 0.1, own.std), coded)
        assert slim(LATENT, {"width": 8}, "wsf").latent == "digits-autoencoder"

    def test_what_cannot_be_done_is_said(self, coded):
        with pytest.raises(
            CheckpointError, match="latents need an autoencoder or a semantic encoder, and digits is a unet"
        ):
            latents(load("digits", "train", 8), "digits")
        with pytest.raises(CheckpointError, match="the perceptual term needs a classifier, and digits is a unet"):
            Eye("digits")
        with pytest.raises(ParameterError, match="digits-autoencoder is an autoencoder: it makes no images from noise"):
            sample(Plan("digits-autoencoder", nfe=3, count=1), coded)
        with pytest.raises(ParameterError, match="it denoises nothing"):
            trained.load("digits-autoencoder", coded).denoiser()
        for odd in ({"filt": {"kind": "scalar", "lam": 0.9}}, {"start": "uniform"}):
            with pytest.raises(ParameterError, match="digits-latent works in latents: filters and the uniform start"):
                sample(Plan("digits-latent", nfe=3, count=1, **odd), coded)

    def test_slim_networks_in_latents_beside_each_other(self, coded, tmp_path, monkeypatch):
        """SD-9, BASE-LDM: as in pixels, the weights of separate trainings; the autoencoder is the one that ships."""
        monkeypatch.setattr(checkpoints, "FOLDER", coded)
        made = [replace(LATENT, name=name, network=LATENT.network | {"width": 8}) for name in ("one", "two")]
        images = load("digits", "train", 8)
        together(made, tmp_path, steps=2, images=images, half=False)
        train(made[0], tmp_path / "alone", steps=2, images=images, half=False)
        cards = [checkpoints.card("one", tmp_path / where) for where in ("one", "alone")]
        assert cards[0]["weights"] == cards[1]["weights"] and cards[0]["data"]["latent"] == cards[1]["data"]["latent"]
        with pytest.raises(ParameterError, match="all in pixels or in the same latents"):
            together([made[0], replace(DIGITS, name="three")], tmp_path, steps=3, images=images)


class TestLost:
    """BASE-LDM: what does not come back, by frequency."""

    class Blurring(Autoencoder):
        """Keeps the mean of every 2 x 2 pixels."""

        def encode(self, images):
            return torch.nn.functional.avg_pool2d(images, 2).repeat(1, self.latent, 1, 1), images.new_ones(1)

        def decode(self, latents):
            return torch.nn.functional.interpolate(latents[:, :1], scale_factor=2.0, mode="nearest")

    def test_a_blur_loses_what_the_cosine_says(self):
        """BASE-LDM: of a wave of k half periods in n pixels the mean of neighbours keeps cos(pi k / 2n) of itself."""
        n = 16
        model = trained.Trained({"name": "blurring"}, self.Blurring(1, latent=2, width=8, factor=2))
        at = torch.arange(n) + 0.5
        for k in (1, 5, 12):
            wave = 0.3 * torch.cos(torch.pi * k * at / n).expand(n, n)
            images = 0.5 + torch.stack((wave, -wave))[:, None]
            found = lost(model, images)
            keeps = torch.cos(torch.tensor(torch.pi * k / (2 * n), dtype=torch.float64))
            error = float((found.images - images).double().square().mean())
            assert error / float((images - 0.5).double().square().mean()) == pytest.approx(
                1 - float(keeps) ** 2, rel=1e-5
            )
            assert found.psnr == pytest.approx(-10 * math.log10(error), rel=1e-6)
            ring = int((found.frequency - k / (2 * n)).abs().argmin())
            # Neighbours' means repeat on the way back, which mirrors the wave beyond the half of all frequencies too.
            assert float(found.ratio[ring]) == pytest.approx(float(1 - keeps**2) ** 2, rel=1e-4)
            assert found.mean.tolist() == pytest.approx([0.5, 0.5], abs=1e-6) and bool((found.std > 0).all())

    def test_what_comes_back_whole_and_what_has_nothing_to_lose(self):
        model = trained.Trained({"name": "blurring"}, self.Blurring(1, latent=2, width=8, factor=2))
        flat = torch.stack((torch.full((1, 8, 8), 0.25), torch.full((1, 8, 8), 0.75)))
        assert lost(model, flat).psnr == math.inf
        with pytest.raises(ParameterError, match="two or more that differ"):
            lost(model, flat[:1])

    def test_what_is_no_autoencoder_is_refused(self):
        with pytest.raises(CheckpointError, match="digits is no autoencoder"):
            lost(trained.load("digits"), drawn(2, 1, 8, 8))

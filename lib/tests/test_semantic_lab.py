"""A denoising diffusion GAN as ONNX files, and the figure that moves its inputs: by torch, Node and Chromium."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from fewsteps import checkpoints, export, samplers, trained
from fewsteps.errors import ParameterError
from fewsteps.experiments import adversarial
from fewsteps.losses import Adversarial
from fewsteps.networks import build

TOLERANCE = 1e-4  # of every image and state of a walk, against torch
SMALL = {"kind": "ddgan", "channels": 1, "size": 8, "latent": 6, "width": 8, "critic": 8, "levels": 2, "patch": 1}
SMALL |= {"multipliers": [1, 2], "attention": []}


def kept(folder: Path, name: str, seed: int = 0, **said) -> trained.Trained:
    """A small GAN whose inputs all count, as a checkpoint; steps, schedule and semantic as its objective has them."""
    predicts = Adversarial(**said).predicts
    described = SMALL | {"semantic": predicts["semantic"] != "never"}
    torch.manual_seed(seed)
    network = build(described)
    with torch.no_grad():
        for k, weight in enumerate(network.parameters()):
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1000 * seed + k))
            weight.add_(0.2 * noise)
    source = {"name": "digits", "split": "train", "size": 8}
    card = {"name": name, "title": f"Denoising diffusion GAN {name}", "network": described, "predicts": predicts}
    card |= {"data": source, "parameters": sum(w.numel() for w in network.parameters())}
    checkpoints.save(folder, card, network.state_dict())
    return trained.load(name, folder)


GANS = {"small": {}, "small-plain4": {"semantic": "never", "steps": 4, "schedule": "common"}}


@pytest.fixture(scope="session")
def gans(tmp_path_factory) -> Path:
    """Checkpoints of two kinds and their exported steps, named as the book names them."""
    folder = tmp_path_factory.mktemp("gans")
    for seed, (name, said) in enumerate(GANS.items()):
        kept(folder, name, seed, **said)
        export.write(name, folder, folder)
    return folder


def exported(folder: Path, name: str, part: str = "sampler") -> Path:
    return folder / export.file_name(checkpoints.card(name, folder), part)


class TestExport:
    """PD-2, BASE-DDGAN: what a browser runs is the library's own sampler."""

    @pytest.mark.parametrize("name", GANS)
    def test_the_whole_walk_is_torchs(self, name, gans):
        """PD-2, Eq. 7 and 8: T steps of the file, each fed with what the one before returned."""
        run = ReferenceEvaluator(str(exported(gans, name))).run
        model = trained.load(name, gans)
        inputs = adversarial.drawn(model, 3, samplers.white_noise(5))
        predicts, steps = model.card["predicts"], model.steps.steps
        times = torch.arange(steps, -1, -1, dtype=torch.float64)
        denoiser = model.denoiser()
        tape = adversarial._tape(inputs)
        walk = samplers.ddgan(denoiser, inputs.x_T, times, noise=lambda shape: next(tape), cond=inputs.z_T)
        x = inputs.x_T.numpy()
        for k, step in enumerate(walk):
            t = steps - k
            told = predicts["semantic"] == "every" or (predicts["semantic"] == "first" and t == steps)
            z = inputs.z_T if told else inputs.z[k]
            noise = inputs.noise[k] if t > 1 else torch.full_like(inputs.x_T, 7.0)  # nothing may come of it
            given = {"x": x, "z": z.numpy(), "noise": noise.numpy(), "step": np.full(3, t, np.int32)}
            x0_hat, x = run(None, given)
            assert x0_hat.dtype == x.dtype == np.float32
            assert np.abs(x0_hat - step.x0_hat.numpy()).max() < TOLERANCE
            assert np.abs(x - step.x.numpy()).max() < TOLERANCE
        images = adversarial.generate(model, inputs)
        assert np.abs((x + 1) / 2 - images.numpy()).max() < TOLERANCE
        assert float(images.std(0).max()) > 0.02  # or the test would pass on a network that says one thing

    def test_steps_of_a_batch_may_differ(self, gans):
        run = ReferenceEvaluator(str(exported(gans, "small-plain4"))).run
        generator = np.random.default_rng(0)
        x, z, noise = (generator.normal(size=s).astype("f4") for s in ((4, 1, 8, 8), (4, 6), (4, 1, 8, 8)))
        whole = run(None, {"x": x, "z": z, "noise": noise, "step": np.array([4, 3, 2, 1], np.int32)})
        for k in range(4):
            rows = slice(k, k + 1)
            given = {"x": x[rows], "z": z[rows], "noise": noise[rows], "step": np.array([4 - k], np.int32)}
            for one, other in zip(run(None, given), whole, strict=True):
                assert np.abs(one - other[rows]).max() < 1e-5

    def test_the_file_says_how_it_is_to_be_walked_and_names_its_inputs(self, gans):
        made = onnx.load(exported(gans, "small-plain4"))
        assert [v.name for v in made.graph.input] == ["x", "z", "noise", "step"]
        assert [v.name for v in made.graph.output] == ["x0_hat", "x_s"]
        said = {entry.key: entry.value for entry in made.metadata_props}
        assert (said["steps"], said["semantic"], said["latent"]) == ("4", "never", "6")
        assert said["sha256"] == checkpoints.card("small-plain4", gans)["weights"]["sha256"]
        assert str(gans).encode() not in exported(gans, "small-plain4").read_bytes()

    def test_the_encoder_by_the_command_line(self, gans, tmp_path):
        """PD-3: from images in [0, 1] to z_T."""
        command = [sys.executable, "-m", "fewsteps.cli", "export", "small", "--part", "encoder", "--out", tmp_path]
        command += ["--folder", gans]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        path = exported(gans, "small", "encoder")
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
        images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        [z] = ReferenceEvaluator(str(tmp_path / path.name)).run(None, {"image": images.numpy()})
        wanted = trained.load("small", gans).encoder(2 * images - 1)
        assert np.abs(z - wanted.numpy()).max() < 1e-5 and float(wanted.std(0).max()) > 0.01

    @pytest.mark.parametrize(
        ("name", "part", "words"),
        [
            ("small-plain4", "encoder", "small-plain4 has no semantic encoder: its latent vectors are noise alone"),
            ("small", "decoder", "part must be one of sampler, encoder, not 'decoder'"),
        ],
    )
    def test_what_is_not_there_is_one_sentence(self, name, part, words, gans):
        with pytest.raises(ParameterError, match=words):
            export.to_onnx(name, gans, part)

    def test_a_denoiser_has_no_encoder(self):
        with pytest.raises(ParameterError, match="must hold a denoising diffusion GAN, and digits predicts 'edm'"):
            export.to_onnx("digits", part="encoder")

"""A denoising diffusion GAN as ONNX files, and the figure that moves its inputs: by torch, Node and Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

import lab_page
from fewsteps import checkpoints, export, samplers, trained, widgets
from fewsteps.errors import CheckpointError, ParameterError, ShapeError
from fewsteps.experiments import adversarial, semantics
from fewsteps.losses import Adversarial
from fewsteps.networks import build
from fewsteps.widgets.bundle import HERE
from fewsteps.widgets.sampling import gaussians
from fewsteps.widgets.semantic import COUNT, MIXED, OTHER
from lab_page import ORT
from test_sampling_lab import NODE, TESTS, numbers, phase

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


TRAITS = (*MIXED, "direction", "reach", "seed")
PLACES = [
    {"semantic": 0.0, "start": 0.0, "latent": 0.0, "posterior": 0.0, "seed": 3},
    {"semantic": 0.3, "start": 0.6, "latent": 0.9, "posterior": 0.45, "seed": 7, "direction": "two", "reach": -0.4},
    {"semantic": 1.0, "start": 1.0, "latent": 1.0, "posterior": 1.0, "seed": 49},
]


def lab(gans, name="small", **given):
    if name == "small":
        ends = tuple(torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
        directions = {"two": torch.linspace(-1, 2, 6), "five": torch.ones(6)}
        given = {"ends": ends, "directions": directions} | given
    return widgets.SemanticLab(name, folder=gans, **given)


class TestLab:
    """PD-7: every input on a slider of its own."""

    def test_the_ways_are_the_librarys(self, gans):
        """PD-7: as `semantics.between` goes them one at a time, all four."""
        figure, other = lab(gans), lab(gans, semantic=1.0, start=1.0, latent=1.0, posterior=1.0)
        a, b = (
            adversarial.Inputs(i["start"], i["semantic"], i["latent"], i["posterior"])
            for i in (figure.inputs(), other.inputs())
        )
        kinds = {"semantic": "z_T", "start": "x_T", "latent": "z", "posterior": adversarial.POSTERIOR}
        model = trained.load("small", gans)
        for trait, kind in kinds.items():
            way = semantics.between(a, b, kind, 5)
            moved = lab(gans, **{trait: 0.25})
            assert not torch.allclose(way[1].value(kind), a.value(kind), atol=0.01)
            torch.testing.assert_close(moved.inputs()[trait], way[1].value(kind), rtol=1e-5, atol=1e-5)
            *_, end = moved.walk()
            wanted = adversarial.generate(model, way[1])
            torch.testing.assert_close((end.x + 1) / 2, wanted, rtol=0, atol=1e-5)

    def test_a_direction_is_added_to_z(self, gans):
        moved, still = (lab(gans, direction=name, reach=0.5).inputs()["semantic"] for name in ("five", "none"))
        torch.testing.assert_close(moved - still, torch.full((COUNT, 6), 0.5))

    def test_numbers_are_cut_in_one_order(self, gans):
        white = gaussians(COUNT * (64 + 2 * 6 + 64), 3)
        inputs = lab(gans).inputs()
        sigma = float(trained.load("small", gans).steps.sigma(2.0))
        assert np.allclose(inputs["start"].flatten(), sigma * white[: COUNT * 64], atol=1e-6)
        assert np.allclose(inputs["posterior"].flatten(), white[-COUNT * 64 :], atol=1e-6)
        assert OTHER == 50  # which the front end has as well

    @pytest.mark.parametrize("name", GANS)
    def test_the_page_walks_as_torch_does(self, name, gans):
        """PD-2, PD-7: inputs, mixing and walk of the page under Node, every state and drawing."""
        if not ORT.is_dir():
            pytest.skip("no node_modules (make setup brings it): that the page walks as torch does was NOT tested")
        figure = lab(gans, name)
        places = [{k: v for k, v in place.items() if name == "small" or k != "direction"} for place in PLACES]
        runs = [{trait: getattr(figure, trait) for trait in TRAITS} | place for place in places]
        job = {"widgets": str(HERE), "ort": str(ORT), "model": str(exported(gans, name)), "setting": figure.setting}
        command = [NODE, str(TESTS / "semantic_parity.mjs")]
        done = subprocess.run(command, input=json.dumps(job | {"runs": runs}), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for place, page in zip(places, json.loads(done.stdout)["runs"], strict=True):
            steps = list(lab(gans, name, **place).walk())
            assert len(page["x"]) == len(steps) == figure.setting["steps"]
            for step, x, mean in zip(steps, page["x"], page["mean"], strict=True):
                assert np.abs(numbers(x) - step.x.numpy().ravel()).max() < TOLERANCE
                assert np.abs(2 * numbers(mean) - 1 - step.x0_hat.numpy().ravel()).max() < TOLERANCE

    def test_a_kernel_sends_the_steps_of_one_run(self, gans, monkeypatch):
        figure, sent = lab(gans), []
        monkeypatch.setattr(figure, "send", lambda said, buffers=(): sent.append((said, buffers)))
        figure._wanted = "r"
        figure._stream("r", figure._messages())
        assert [said.get("i") for said, _ in sent] == [1, 2, None] and sent[-1][0] == {"run": "r", "done": True}
        *_, end = figure.walk()
        assert np.abs(np.frombuffer(sent[1][1][1], np.float32) - ((end.x0_hat + 1) / 2).numpy().ravel()).max() < 1e-6

    def test_the_figure_names_the_file_that_the_book_exports(self, gans):
        name = export.file_name(checkpoints.card("small", gans))
        assert f'"file": "{name}"' in json.dumps(lab(gans).setting)

    @pytest.mark.parametrize(
        ("name", "given", "error", "words"),
        [
            ("small", {"ends": (torch.zeros(6, 5),) * 2}, ShapeError, r"ends must have the shape \(6, 6\) for small"),
            ("small", {"ends": None}, ParameterError, "ends must hold the semantic vectors of A and of B for small"),
            (
                "small",
                {"directions": {"x": torch.ones(5)}},
                ShapeError,
                r"directions\['x'\] must have the shape \(6,\)",
            ),
            ("small", {"semantic": 1.5}, ParameterError, "semantic must be a number of at least 0 and at most 1"),
            ("small", {"reach": 2}, ParameterError, "reach must be a number of at least -1 and at most 1"),
            ("small", {"direction": "nine"}, ParameterError, "direction must be one of none, two, five, not 'nine'"),
            ("small", {"seed": 50}, ParameterError, "seed must be an integer from 0 to 49"),
            (
                "small-plain4",
                {"ends": (torch.zeros(6, 6),) * 2},
                ParameterError,
                "ends must be left out for small-plain4",
            ),
            ("nobody", {}, CheckpointError, "no checkpoint is called 'nobody'"),
        ],
    )
    def test_bad_input_is_one_sentence(self, name, given, error, words, gans):
        with pytest.raises(error, match=words):
            lab(gans, name, **given)

    def test_another_kind_of_network_is_refused(self):
        with pytest.raises(ParameterError, match="must hold a denoising diffusion GAN, and digits predicts 'edm'"):
            widgets.SemanticLab("digits")


@pytest.mark.browser
def test_sliders_draw_anew_in_the_page(gans, tmp_path, visit):
    """PD-7: nothing is fetched before the button; afterwards every slider draws, and images are torch's."""
    if not ORT.is_dir():
        pytest.skip("no node_modules (make setup brings it): that the page draws was NOT tested")
    figure = lab(gans, seed=5)
    shutil.copy(exported(gans, "small"), lab_page.with_runtime(tmp_path) / figure.setting["file"])
    lab_page.write(tmp_path, "semantic_lab.js", {name: getattr(figure, name) for name in ("setting", *TRAITS)})
    visited, asked = lab_page.opened(visit, tmp_path)
    page = visited.page
    page.wait_for_timeout(300)
    assert not asked

    def shown():
        return lab_page.shown(page, COUNT)

    def torchs(**given):
        steps = list(lab(gans, seed=5, **given).walk())
        return [255 * (step.x0_hat[:, 0].numpy() + 1) / 2 for step in steps]

    # Its first images come with the page.
    for mine, wanted in zip(shown(), torchs(), strict=True):
        assert np.abs(mine - wanted).max() <= 0.52
    assert "stay as they were" not in page.locator(".fs-summary").text_content()
    page.locator(".fs-go").click()
    phase(page, "done")
    assert figure.setting["file"] in asked
    for mine, wanted in zip(shown(), torchs(), strict=True):
        assert np.abs(mine - wanted).max() <= 0.52
    before, asked[:] = shown(), []
    for name, value in (("semantic", 0.5), ("posterior", 1), ("reach", -0.5)):
        page.locator(f"input[data-name={name}]").evaluate(
            "(i, v) => { i.value = v; i.dispatchEvent(new Event('input', { bubbles: true })); }", value
        )
    page.locator("input[data-name=direction][data-value=five]").check()
    there = "() => { const { key, phase } = document.querySelector('.fs-lab').dataset; "
    there += "return phase === 'done' && key.includes('five') && key.includes('-0.5'); }"
    page.wait_for_function(there)
    moved = {"semantic": 0.5, "posterior": 1.0, "reach": -0.5, "direction": "five"}
    for mine, wanted, old in zip(shown(), torchs(**moved), before, strict=True):
        assert np.abs(mine - wanted).max() <= 0.52 and not np.array_equal(mine, old)
    assert asked == []  # the network is there already
    summary = page.locator(".fs-summary").text_content()
    assert "z_T 50 %" in summary and "towards five" in summary and "2 calls of the generator" in summary
    page.locator(".fs-reset").click()
    page.wait_for_function("() => document.querySelector('.fs-lab').dataset.key.includes('\"semantic\":0,')")
    assert all(np.array_equal(mine, old) for mine, old in zip(shown(), before, strict=True))
    assert visited.trouble == []

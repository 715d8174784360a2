"""A network as an ONNX file: what is in it, that the book makes it once, and that bad input is one sentence."""

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
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from fewsteps import checkpoints, export, schedules, trained
from fewsteps.book.models import models
from fewsteps.book.project import Project
from fewsteps.errors import UserError

NAME = "digits"  # the smallest, 8 x 8 pixels: the reference evaluator is slow


def fewsteps(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fewsteps.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The file, made by the command line into a folder, where it is named by its weights."""
    folder = tmp_path_factory.mktemp("models")
    done = fewsteps("export", NAME, "--out", folder)
    assert done.returncode == 0, done.stderr
    [path] = folder.iterdir()
    assert path.name == export.file_name(checkpoints.card(NAME)) and str(path) in done.stdout
    return path


def test_it_is_the_denoiser_of_torch(exported):
    """Every noise level, every class and none, batches of any size, by ONNX's own evaluator."""
    run = ReferenceEvaluator(str(exported)).run
    model, schedule = trained.load(NAME), schedules.VE()
    generator = torch.Generator().manual_seed(5)
    for count, levels in ((1, (50.0,)), (3, (8.0, 0.3, 0.01)), (11, (0.5,) * 11)):
        sigma, label = torch.tensor(levels), torch.arange(count) - 1
        x = 0.3 + sigma[:, None, None, None] * torch.randn(count, *model.shape, generator=generator)
        [mine] = run(None, {"x": x.numpy(), "sigma": sigma.numpy(), "label": label.int().numpy()})
        wanted = model.denoiser(schedule).mean(x, sigma, label)
        assert mine.dtype == np.float32 and np.abs(mine - wanted.numpy()).max() < 1e-5


def test_it_holds_the_weights_once_in_half_precision_and_nothing_of_this_machine(exported):
    content, card = exported.read_bytes(), checkpoints.card(NAME)
    assert len(content) < card["weights"]["bytes"] + 120_000
    for stranger in (".py", "stack_trace", str(Path.cwd()), str(Path.home()), str(exported.parent)):
        assert stranger.encode() not in content
    made = onnx.load_from_string(content)
    assert {entry.key: entry.value for entry in made.metadata_props}["sha256"] == card["weights"]["sha256"]
    kept = sum(numpy_helper.to_array(v).size for v in made.graph.initializer if v.data_type == onnx.TensorProto.FLOAT16)
    whole = sum(v.numel() for v in checkpoints.load(NAME)[1].values())
    assert kept > 0.97 * whole
    assert [v.name for v in made.graph.input] == ["x", "sigma", "label"]
    assert [v.name for v in made.graph.output] == ["x0_hat"]


def test_weights_that_half_precision_would_change_are_kept_as_they_are():
    exact, other = np.full((9, 9), 0.5, "f4"), np.full((9, 9), 0.1, "f4")
    graph = onnx.GraphProto(
        initializer=[numpy_helper.from_array(v, n) for n, v in (("exact", exact), ("other", other))]
    )
    export.onnx_file._halve(graph)
    assert {v.name: v.data_type for v in graph.initializer} == {"exact.half": 10, "other": 1}
    assert [(node.op_type, *node.input, *node.output) for node in graph.node] == [("Cast", "exact.half", "exact")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["imagenet", "--out", "x.onnx"], ["no checkpoint is called 'imagenet'", "mnist"]),
        (["mnist-classifier", "--out", "x.onnx"], ["EDM's preconditioning", "mnist-classifier predicts 'class'"]),
        (["faces-latent-lite", "--out", "x.onnx"], ["works in latents, whose decoder is not exported"]),
        (["mnist"], ["--out"]),
        (["mnist", NAME, "--out", "x.onnx"], ["--out must be a folder that is there, for several checkpoints"]),
        ([NAME, "--out", "x.onnx", "--folder", "nowhere"], ["no checkpoint is called 'digits'", "fewsteps train"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bad_input_is_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = fewsteps("export", *arguments)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_onnx_is_told_what_to_install():
    program = "import sys; sys.modules['onnxscript'] = None\nfrom fewsteps.cli import main\n"
    program += f"sys.exit(main(['export', '{NAME}', '--out', 'x.onnx']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "Writing ONNX needs the package onnxscript: pip install 'fewsteps[book]'.\n"


class TestModelsOfTheBook:
    """`book/_static/models` holds what the executed notebooks name, made from the weights that are there."""

    @pytest.fixture
    def project(self, tmp_path, monkeypatch) -> Project:
        """A project with one executed notebook that wants a network, and an exporter that only copies."""
        project = Project(tmp_path)
        for folder in ("notebooks", "book/_static", "data/checkpoints", "lib/fewsteps/export"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "notebooks/00_a.ipynb").touch()
        self.weigh(project, "1" * 64)
        self.asked = []

        def copy(project, names, folder):
            for name in names:
                self.asked.append(name)
                card = json.loads((project.root / f"data/checkpoints/{name}.json").read_text())
                (folder / f"{name}-{card['weights']['sha256'][:12]}.onnx").write_text("network")

        monkeypatch.setattr("fewsteps.book.models._export", copy)
        return project

    def weigh(self, project, sha256):
        (project.root / "data/checkpoints/net-a.json").write_text(json.dumps({"weights": {"sha256": sha256}}))
        executed = project.executed("smoke")
        executed.mkdir(parents=True, exist_ok=True)
        (executed / "00_a.ipynb").write_text(json.dumps({"state": {"file": f"net-a-{sha256[:12]}.onnx"}}))

    def there(self, project):
        return sorted(path.name for path in project.models.glob("[!.]*"))

    def test_a_network_is_exported_once(self, project):
        models(project, "smoke")
        models(project, "smoke")
        assert self.asked == ["net-a"] and self.there(project) == ["net-a-111111111111.onnx"]

    def test_files_that_stand_in_a_list_are_exported_too(self, project):
        """As of a pair of networks, which a laboratory names together."""
        (project.root / "data/checkpoints/net-b.json").write_text(json.dumps({"weights": {"sha256": "5" * 64}}))
        files = [f"net-a-{'1' * 12}.onnx", f"net-b-{'5' * 12}.onnx"]
        (project.executed("smoke") / "00_a.ipynb").write_text(json.dumps({"state": {"files": files}}, indent=1))
        models(project, "smoke")
        assert self.asked == ["net-a", "net-b"] and self.there(project) == files

    def test_new_weights_take_the_place_of_the_old(self, project):
        models(project, "smoke")
        self.weigh(project, "2" * 64)
        models(project, "smoke")
        assert self.there(project) == ["net-a-222222222222.onnx"]

    @pytest.mark.parametrize("path", ["lib/fewsteps/export/graphs.py", "requirements.lock"])
    def test_it_is_made_again_when_the_code_changes(self, project, path):
        models(project, "smoke")
        (project.root / path).write_text("other")
        models(Project(project.root), "smoke")
        assert self.asked == ["net-a"] * 2

    def test_a_page_of_older_weights_gets_no_file(self, project):
        page = project.executed("smoke") / "00_a.ipynb"
        page.write_text(page.read_text().replace("1111", "3333"))
        models(project, "smoke")
        assert self.there(project) == ["net-a-111111111111.onnx"]

    def test_a_project_without_networks_has_no_folder_of_them(self, project):
        shutil.rmtree(project.executed("smoke"))
        models(project, "smoke")
        assert not project.models.exists()

    def test_what_the_exporter_says_is_handed_on(self, project, monkeypatch):
        monkeypatch.undo()
        (project.root / "data/checkpoints/net-a.json").write_text("{}")
        with pytest.raises(
            UserError, match=r"The network net-a was not exported for the pages: the card net-a\.json is"
        ):
            models(project, "smoke")

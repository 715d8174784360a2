"""Sampling and evaluating with shipped networks: repeatable, honest about its counts, and good enough to be shipped."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fewsteps import checkpoints, cli, data, errors, results, trained
from fewsteps.cli import networks
from fewsteps.experiments import evaluation, gates, references, sampling
from fewsteps.experiments.sampling import Drawn, Plan, sample
from fewsteps.theory import RIVALS

SHIPPED = checkpoints.names()
CLASSIFIERS = [name for name in SHIPPED if checkpoints.card(name)["predicts"]["kind"] == "class"]


def fewsteps(*arguments):
    command = [sys.executable, "-m", "fewsteps.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


class TestShipped:
    @pytest.mark.parametrize("name", SHIPPED)
    def test_it_loads_and_is_small(self, name):
        model = trained.load(name)
        assert model.card["weights"]["bytes"] < 16 * 2**20
        assert model.card["training"]["steps"] > 0 and model.card["data"]["sha256"]

    @pytest.mark.parametrize("name", [name for name in SHIPPED if name not in CLASSIFIERS])
    def test_it_passed_its_gate(self, name):
        """Or its card says that it is not finished, and why; the gallery repeats it."""
        card = checkpoints.card(name)
        assert bool(gates.failures(card)) == bool(card.get("unfinished"))

    @pytest.mark.parametrize("name", CLASSIFIERS)
    def test_classifiers_say_how_good_they_are(self, name):
        """As with the gates of those that make images: whoever falls short says so."""
        card = checkpoints.card(name)
        assert (card["measured"]["accuracy"] > 0.8) != bool(card.get("unfinished"))

    def test_a_gate_can_fail(self):
        card = checkpoints.card("digits")
        for row in card["measured"]["rows"]:
            row["value"] = 0.0 if row["metric"] in ("precision", "recall", "confident") else 1e9
        assert len(gates.failures(card)) == 4
        card["measured"]["plan"]["labels"] = "any"
        assert gates.failures(card)[-1] == "measured with another labels than the gate's"
        assert gates.failures(card | {"name": "imagenet"}) == ["it has no gate"]
        assert gates.failures(card | {"measured": {}}) == ["nothing was measured"]


class TestSampling:
    plan = Plan("digits", nfe=6, count=300, labels="each")

    def test_the_same_numbers_with_any_number_of_workers(self):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as a worker has, for sums may be split otherwise
        try:
            alone = sample(self.plan)
        finally:
            torch.set_num_threads(threads)
        together = sample(self.plan, workers=2)
        assert torch.equal(alone.images, together.images)
        assert torch.equal(alone.labels, together.labels)
        assert len(alone.images) == 300 and alone.nfe == 6

    def test_a_longer_run_begins_like_a_shorter_one(self):
        whole, part = sample(self.plan), sample(Plan("digits", nfe=6, count=256, labels="each"))
        assert torch.equal(whole.images[:256], part.images)
        assert not torch.equal(whole.images[256:], part.images[:44])

    def test_network_calls_in_parts_change_rounding_alone(self):
        plan = Plan("digits", nfe=6, count=40)
        torch.testing.assert_close(sample(plan).images, sample(plan, batch=16).images, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("sampler", [key for key in RIVALS if key != "langevin"])
    def test_every_sampler_runs_and_counts_its_calls(self, sampler):
        drawn = sample(Plan("digits", sampler=sampler, nfe=20, count=8, grid="geometric"))
        assert 18 <= drawn.nfe <= 20
        assert drawn.images.shape == (8, 1, 8, 8)
        assert float(drawn.images.min()) >= 0 and float(drawn.images.max()) <= 1

    def test_langevin_takes_its_papers_parameters(self):
        drawn = sample(
            Plan("digits", sampler="langevin", nfe=51, count=8, grid="geometric", named={"per_level": 10, "eps": 5e-5})
        )
        assert drawn.nfe == 51

    def test_filters_reach_the_sampler(self):
        plan = Plan("digits", sampler="ancestral", nfe=8, count=8)
        plain = sample(plan).images
        same = sample(Plan("digits", sampler="ancestral", nfe=8, count=8, filt={"kind": "scalar", "lam": 1.0})).images
        other = sample(
            Plan("digits", sampler="ancestral", nfe=8, count=8, filt={"kind": "tdas", "lam": 0.8, "r": 0.3})
        ).images
        torch.testing.assert_close(plain, same)
        assert float((plain - other).abs().mean()) > 1e-3

    def test_classes_are_obeyed(self):
        drawn = sample(Plan("digits", nfe=30, count=200, labels="each"))
        said = trained.load("digits-classifier").network(drawn.images).argmax(1)
        assert float((said == drawn.labels).float().mean()) > 0.85

    def test_guidance_makes_classes_plainer_and_counts_its_calls(self):
        """SD-10: a guided step takes two calls; weight 1 is the class alone, weight 0 none, to the bit."""
        plan = Plan("digits", nfe=30, count=200, labels="each", seed=3)
        classifier = trained.load("digits-classifier").network
        sure = {}
        for weight in (0.5, 1.0, 3.0):
            drawn = sample(replace(plan, guidance=weight))
            assert drawn.nfe == 30
            sure[weight] = float(classifier(drawn.images).softmax(1).gather(1, drawn.labels[:, None]).mean())
        assert sure[0.5] < sure[1.0] < sure[3.0]
        assert "guidance" not in plan.described() and replace(plan, guidance=2.0).described()["guidance"] == 2.0
        few = replace(plan, count=8)
        untold = sample(replace(few, labels="any")).images
        assert torch.equal(sample(replace(few, guidance=0.0)).images, untold)
        assert sample(replace(few, nfe=21, guidance=2.0)).nfe == 20

    def test_a_diverging_sampler_says_where_and_why(self):
        plan = Plan("digits", sampler="pc", nfe=40, count=4, named={"corrector_snr": 30.0})
        with pytest.raises(errors.ShapeError, match=r"(?s)step \d+ of 20.*corrector_snr"):
            sample(plan)

    @pytest.mark.parametrize(
        ("filt", "words"),
        [
            ({"kind": "scalar", "lam": 4.0, "drift": True}, "step 2 of 10 .*gains closer to 1"),
            (
                {"kind": "scalar", "lam": 1.1, "drift": True, "solenoid": {"kind": "S1", "omega": 1000.0}},
                "omega = 1000 is usually too large.*largest_omega",
            ),
        ],
    )
    def test_a_filter_that_makes_it_diverge_is_named(self, filt, words):
        """PDS-7, PDS-3: what is multiplied into the score can be too much for an explicit step."""
        with pytest.raises(errors.ShapeError, match=words):
            sample(Plan("digits", sampler="reverse", nfe=10, count=4, filt=filt))

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"sampler": "euler"}, "sampler must be one of reverse, ancestral"),
            ({"grid": "log"}, "grid must be one of"),
            ({"nfe": 0}, "nfe must"),
            ({"count": 0}, "count must"),
            ({"labels": "none"}, "labels must"),
            ({"labels": 10}, "labels must be an integer from 0 to 9"),
            ({"filt": {"kind": "box"}}, "kind of a filter must be one of scalar, tdas, pds"),
            ({"filt": {"kind": "tdas", "width": 1}}, "filter tdas cannot be made"),
            ({"filt": {"kind": "scalar", "lam": 0.9}}, "injects no noise"),
            ({"named": {"eta": 1}}, "takes no such parameter"),
            ({"checkpoint": "digits-classifier"}, "classifier: it makes no images"),
            ({"guidance": -1.0, "labels": "each"}, "guidance must be"),
            ({"guidance": 2.0}, "guidance needs a class for every image"),
            ({"guidance": 2.0, "labels": "each", "nfe": 1}, "nfe must be at least 2 for one step of dpmpp_2m"),
            (
                {"guidance": 2.0, "labels": "each", "nfe": 3, "sampler": "pc"},
                "nfe must be at least 4 for one step of pc",
            ),
            ({"guidance": 2.0, "labels": "each", "sampler": "analytic"}, "guidance must be 1 where a sampler"),
            ({"guidance": 2.0, "labels": "each", "checkpoint": "mnist-ncsn", "sampler": "pc"}, "knows no classes"),
        ],
    )
    def test_bad_plans_are_refused_in_a_sentence(self, given, words):
        with pytest.raises(errors.UserError, match=words):
            sample(Plan(**{"checkpoint": "digits", "count": 2, "nfe": 4, **given}))


class TestEvaluation:
    def test_real_images_measure_like_real_images(self):
        """The test images in the place of samples: every number is at its floor."""
        images = data.load("digits", "test", 8).images
        said = evaluation.evaluate(Plan("digits", count=len(images)), [Drawn(images, None, 0)], [0])
        rows = {row["metric"]: row for row in said["rows"]}
        distance = rows["FD-digits-classifier"]
        assert distance["value"] == pytest.approx(distance["floor"], rel=1e-3)
        assert rows["FD-digits-classifier (test)"]["value"] < 1e-3 * distance["value"]
        assert rows["precision"]["value"] == pytest.approx(rows["precision"]["floor"], abs=0.01)
        assert rows["confident"]["value"] == pytest.approx(rows["confident"]["floor"], abs=0.005)
        assert rows["spectrum, low half"]["value"] == pytest.approx(rows["spectrum, low half"]["floor"], rel=1e-6)
        assert rows["confident"]["classes"] == pytest.approx([0.1] * 10, abs=0.03)

    def test_noise_measures_badly(self):
        images = torch.rand(360, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        rows = {
            row["metric"]: row for row in evaluation.evaluate(Plan("digits"), [Drawn(images, None, 0)], [0])["rows"]
        }
        assert rows["FD-digits-classifier"]["value"] > 20 * rows["FD-digits-classifier"]["floor"]
        assert rows["precision"]["value"] < 0.1 and rows["spectrum, high half"]["value"] > 0.5

    def test_every_row_says_where_it_is_from(self):
        images = data.load("digits", "test", 8).images
        for row in evaluation.evaluate(Plan("digits"), [Drawn(images, None, 0)], [0, 2])["rows"]:
            assert row["seeds"] == [0, 2] and row["low"] <= row["value"] <= row["high"]
            if row["metric"].startswith(("FD", "KD", "IS")):
                assert row["low"] < row["value"] < row["high"], row["metric"]
            assert all(row[key] for key in ("extractor", "resize", "reference", "count", "reference_count"))

    def test_who_is_told_a_class_is_asked_whether_it_was_obeyed(self):
        """SD-10: of real images under their own names it is the classifier's accuracy; untold, there is no such row."""
        known = data.load("digits", "test", 8)
        parts = [Drawn(known.images[:200], known.labels[:200], 0), Drawn(known.images[200:], known.labels[200:], 0)]
        for shift in (0, 1):
            shifted = [replace(part, labels=(part.labels + shift) % 10) for part in parts]
            said = evaluation.evaluate(Plan("digits", labels="each"), shifted, [0])["rows"]
            [row] = [row for row in said if row["metric"] == "obeyed"]
            assert row["value"] == pytest.approx(row["floor"]) if shift == 0 else row["value"] < 0.1
            assert row["low"] <= row["value"] < row["high"]
        untold = evaluation.evaluate(Plan("digits"), [Drawn(known.images, None, 0)], [0])["rows"]
        assert "obeyed" not in {row["metric"] for row in untold}

    def test_the_shipped_reference_is_what_the_data_give(self):
        shipped = references.read("digits", 8, "digits-classifier")
        built = references.build("digits", 8, references.feature_network("digits-classifier"))
        assert built.said["train"] == shipped.said["train"]
        torch.testing.assert_close(built.train.mean, shipped.train.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(built.train_spectrum, shipped.train_spectrum, rtol=1e-6, atol=0)

    def test_references_store_and_read_back(self, tmp_path):
        made = references.read("digits", 8, "digits-classifier")
        path = references.save(made, tmp_path)
        again = references.read("digits", 8, "digits-classifier", tmp_path)
        assert again.train.sha256() == made.train.sha256()
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(errors.DataError, match="damaged"):
            references.read("digits", 8, "digits-classifier", tmp_path)
        with pytest.raises(errors.DataError, match="there is no reference for digits at 8 px in the features of x"):
            references.read("digits", 8, "x", tmp_path)


class TestCommands:
    def test_sample_writes_a_grid_and_an_array(self, tmp_path):
        done = fewsteps("sample", "digits", "--nfe", 5, "--count", 20, "--labels", "each", "--out", tmp_path / "x")
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
            assert arrays["images"].shape == (20, 8, 8, 1) and arrays["images"].dtype == np.uint8
            assert arrays["labels"].tolist() == [*range(10), *range(10)]
            assert json.loads(str(arrays["plan"]))["nfe"] == 5
        with Image.open(tmp_path / "x.png") as grid:
            assert grid.size == (16 * 9 - 1, 2 * 9 - 1)

    def test_evaluate_prints_and_writes_its_rows(self, tmp_path):
        arguments = ("evaluate", "digits", "--nfe", 5, "--count", 64, "--seeds", 2, "--out", tmp_path / "rows.json")
        done = fewsteps(*arguments)
        assert done.returncode == 0, done.stderr
        said = json.loads((tmp_path / "rows.json").read_text())
        assert said["count"] == 128 and said["nfe"] == 5
        assert "FD-digits-classifier" in done.stdout and "real" in done.stdout

    @pytest.mark.parametrize(
        ("line", "wanted"),
        [
            ("sample digits", Plan("digits", "dpmpp_2m", 50, "karras", count=256)),
            (
                "sample digits --sampler ancestral --nfe 7 --grid geometric --start uniform --labels 3 --guidance 2"
                " --filter tdas:lam=[0.9,0.8],r=[0.2,0.3],basis=dft --count 9 --seed 4 --half"
                " --set a=0.5 --set b=large",
                Plan(
                    checkpoint="digits",
                    sampler="ancestral",
                    nfe=7,
                    grid="geometric",
                    filt={"kind": "tdas", "lam": [0.9, 0.8], "r": [0.2, 0.3], "basis": "dft"},
                    labels=3,
                    count=9,
                    seed=4,
                    named={"a": 0.5, "b": "large"},
                    start="uniform",
                    half=True,
                    guidance=2.0,
                ),
            ),
            (
                ["evaluate", "mnist", "--grid", "uniform", "--labels", "each", "--prediction", "by frequency"],
                Plan("mnist", grid="uniform", labels="each", prediction="by frequency"),
            ),
            ("sample x --filter scalar:lam=0.95", Plan("x", filt={"kind": "scalar", "lam": 0.95})),
            ("sample x --filter pds", Plan("x", filt={"kind": "pds"})),
        ],
    )
    def test_every_option_of_a_plan_is_read(self, line, wanted):
        plan = networks._plan(cli._parser().parse_args(line.split() if isinstance(line, str) else line))
        assert plan == wanted

    def test_filters_and_parameters_reach_the_sampler(self, tmp_path):
        line = f"sample digits --sampler ddim --nfe 4 --count 3 --seed 2 --set eta=0.5 --out {tmp_path / 'x'} --filter"
        filt = {"kind": "tdas", "lam": [0.9, 0.5], "r": [0.1, 0.3]}
        assert cli.main([*line.split(), "tdas:lam=[0.9,0.5],r=[0.1,0.3]"]) == 0
        plan = Plan("digits", "ddim", 4, filt=filt, count=3, seed=2, named={"eta": 0.5})
        with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
            assert json.loads(str(arrays["plan"])) == plan.described()
            made = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2) / 255
        torch.testing.assert_close(made, sample(plan).images, rtol=0, atol=1 / 255)
        assert float((made - sample(replace(plan, filt=None)).images).abs().mean()) > 1e-3

    def test_what_the_gate_asks_for_is_recorded_and_nothing_else(self, tmp_path, monkeypatch, capsys):
        """With the classes, and beside it without them; the count is smaller here than a gate's."""
        monkeypatch.setattr(gates, "COUNT", 8)
        for end in ("json", "safetensors"):
            (tmp_path / f"digits.{end}").write_bytes((checkpoints.FOLDER / f"digits.{end}").read_bytes())
        before = checkpoints.card("digits", tmp_path)
        line = ["evaluate", "digits", "--folder", str(tmp_path), "--record"]
        for more in ([], ["--count", "8", "--nfe", "49"], ["--gate", "--seeds", "2"]):
            assert cli.main([*line, *more]) == 2
            assert "--record keeps what the gate asks for" in capsys.readouterr().err
        assert checkpoints.card("digits", tmp_path) == before
        assert cli.main([*line, "--gate", "--nfe", "1"]) == 0  # other options do not count
        told = checkpoints.card("digits", tmp_path)
        assert told == before | {"measured": told["measured"]}
        assert told["measured"]["plan"] == gates.asked(before).described() and told["measured"]["count"] == 8
        assert cli.main([*line, "--count", "8"]) == 0
        untold = checkpoints.card("digits", tmp_path)
        assert untold == told | {"without_class": untold["without_class"]}
        assert untold["without_class"]["plan"]["labels"] == "any"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["train", "imagenet", "--minutes", "1"], "recipe must be one of mnist, fashion"),
            (["train", "digits"], "minutes or steps must be given"),
            (["train", "digits", "--minutes", "0"], "minutes must be a number above 0"),
            (["sample", "imagenet"], "no checkpoint is called 'imagenet': there are"),
            (["sample", "digits", "--labels", "red"], "labels must"),
            (["sample", "digits", "--set", "eta"], "NAME=VALUE"),
            (["sample", "digits", "--filter", ":lam=1"], "--filter must begin with a kind"),
            (["sample", "digits", "--workers", "0"], "workers must"),
            (["evaluate", "digits", "--seeds", "0"], "--seeds must"),
        ],
    )
    def test_mistakes_are_one_sentence(self, arguments, words):
        done = fewsteps(*arguments)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr

    def test_a_full_disk_is_one_sentence(self, tmp_path):
        code = (
            "import resource, sys, fewsteps.cli\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
            "raise SystemExit(fewsteps.cli.main(sys.argv[1:]))"
        )
        command = [sys.executable, "-c", code, "train", "digits", "--steps", "2", "--out", str(tmp_path / "run")]
        done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True)
        assert done.returncode == 2
        assert "Could not write" in done.stderr and "File too large" in done.stderr and "Traceback" not in done.stderr
        assert not list((tmp_path / "run").glob("*.safetensors"))


def test_the_plan_is_split_into_shards_of_fixed_size():
    assert Plan("x", count=600).shards == [256, 256, 88]
    assert Plan("x", count=256).shards == [256]
    assert sampling.SHARD == 256


def test_what_was_measured_of_networks_is_of_those_that_are_shipped():
    """A network that is trained on makes the table of chapter 01 stale."""
    for row in results.read("network_response")["rows"]:
        assert row["steps"] == checkpoints.card(row["network"])["training"]["steps"], row["network"]


def test_every_class_is_among_those_whose_manifold_is_compared():
    """With classes in turn a stride of ten would take one class; precision would fall to a tenth of what it is."""
    images = data.load("digits", "train", 8)
    order = torch.cat([torch.nonzero(images.labels == k).flatten()[:100] for k in range(10)]).view(10, 100).T.flatten()
    many = images.images[order].repeat(5, 1, 1, 1)  # 5,000, classes in turn
    rows = evaluation.evaluate(Plan("digits"), [Drawn(many, None, 0)], [0])["rows"]
    found = {row["metric"]: row["value"] for row in rows}
    assert found["recall"] > 0.5

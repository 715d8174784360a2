"""Numbers for latent spaces, on ways and laws whose answer is known, and on a real generator."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from fewsteps import checkpoints, data, samplers, trained
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import adversarial, semantics
from fewsteps.experiments import semantic_tables as tables
from fewsteps.losses import Adversarial
from fewsteps.networks import Classifier, build
from fewsteps.training import recipe, train
from tool_module import tool_module

DESCRIBED = recipe("digits-progddgan").network


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def model(semantic="first", **other):
    """An untrained generator whose inputs all count."""
    torch.manual_seed(0)
    network = build(DESCRIBED | {"semantic": semantic != "never"} | other)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * drawn(*weight.shape, seed=weight.numel(), dtype=torch.float32))
    card = {
        "name": "digits-made-up",
        "network": DESCRIBED | other,
        "predicts": Adversarial(semantic=semantic).predicts,
        "data": {"name": "digits", "size": 8},
    }
    return trained.Trained(card, network.eval().requires_grad_(False))


class TestWays:
    """PD-7: paths and what is measured along them."""

    def test_ends_are_the_ends(self):
        a, b = drawn(3, 5), drawn(3, 5, seed=1)
        for way in (semantics.lerp, samplers.slerp):
            torch.testing.assert_close(way(a, b, 0.0), a)
            torch.testing.assert_close(way(a, b, 1.0), b)

    def test_an_arc_keeps_the_size_and_moves_evenly(self):
        """BASE-DIFFAE: slerp for x_T."""
        a, b = torch.tensor([[2.0, 0, 0]]).double(), torch.tensor([[0, 2.0, 0]]).double()
        for k in range(7):
            angle = k / 6 * math.pi / 2
            wanted = torch.tensor([[2 * math.cos(angle), 2 * math.sin(angle), 0]]).double()
            torch.testing.assert_close(samplers.slerp(a, b, k / 6), wanted)
        torch.testing.assert_close(samplers.slerp(a, 3 * a, 0.5), 2 * a)

    def test_roughness_of_known_ways(self):
        """PD-7: 1 for a straight line however it is paced, pi / 2 for a half circle."""
        pace = torch.tensor([0.0, 0.1, 0.5, 0.6, 1.0]).double()
        straight = pace[:, None] * torch.tensor([3.0, 4.0]).double()
        angle = torch.linspace(0, math.pi, 2000).double()
        circle = torch.stack((angle.cos(), angle.sin()), dim=1)
        assert float(semantics.roughness(straight[None])) == pytest.approx(1)
        assert float(semantics.roughness(circle[None])) == pytest.approx(math.pi / 2, rel=1e-5)
        back = torch.tensor([[0.0], [1.0], [0.0]]).double()
        assert semantics.roughness(torch.stack((back, 0 * back))).tolist() == [math.inf, 1]

    def test_how_monotone_known_ways_are(self):
        """PD-7: what is taken back counts against a way."""
        ways = torch.tensor([[0.0, 0.2, 0.9, 1.0], [1, 0, -1, -1], [0, 1, 0, 1], [0, 1, 1, 0], [2, 2, 2, 2]])
        torch.testing.assert_close(semantics.monotone(ways), torch.tensor([1, 1, 1 / 3, 0, 1]))

    def test_smoothness_is_both_for_a_classifier(self):
        """PD-7: a way that jumps to and fro is rougher than one that goes."""
        classifier = trained.load("digits-classifier").network
        images = data.load("digits", "test", 8)
        assert isinstance(classifier, Classifier) and images.labels is not None
        first, second = (images.images[images.labels == k][:8] for k in (0, 1))
        straight = semantics.pixels_between(first, second, 9)
        assert torch.equal(straight[:, 0], first) and torch.equal(straight[:, -1], second)
        there_and_back = torch.cat((straight[:, :-1], straight.flip(1)[:, :-1], straight), dim=1)
        with torch.no_grad():
            plain, odd = (semantics.smoothness(ways, classifier) for ways in (straight, there_and_back))
        assert plain.moved > 0.8 and plain.count == 8
        assert odd.roughness == pytest.approx(3 * plain.roughness, rel=1e-4)
        assert odd.monotone == pytest.approx(plain.monotone / 3, rel=1e-4)

    def test_one_input_moves_and_the_others_stay(self):
        made = model()
        a, b = (adversarial.drawn(made, 2, samplers.white_noise(seed)) for seed in (0, 1))
        for kind in adversarial.KINDS:
            ways = semantics.between(a, b, kind, 3)
            for other in adversarial.KINDS:
                torch.testing.assert_close(ways[2].value(other), (b if other == kind else a).value(other))
            images = semantics.interpolation(made, ways)
            assert images.shape == (2, 3, 1, 8, 8)
            torch.testing.assert_close(images[:, 0], adversarial.generate(made, a), rtol=1e-4, atol=1e-5)
            assert not torch.allclose(images[:, 0], images[:, 2], atol=1e-3)

    def test_pictures_and_what_an_input_decides(self):
        """PD-7, Fig. 3 and 5: all four inputs, three without an encoder; none is silent in this network."""
        made = model()
        every = [*adversarial.KINDS, adversarial.POSTERIOR]
        ways = semantics.pictures(made, 3, steps=4)
        assert list(ways) == every and all(images.shape == (4, 1, 8, 8) for images in ways.values())
        begin = adversarial.generate(made, adversarial.drawn(made, 1, samplers.white_noise(3)))[0]
        for images in ways.values():
            torch.testing.assert_close(images[0], begin, rtol=1e-4, atol=1e-5)
            assert float((images[0] - images[-1]).abs().max()) > 1e-3
        assert list(semantics.pictures(model("never"), 3, steps=2)) == every[1:]
        # The one way that stands for a row of Table 1: in z_T where there is one, else in z.
        torch.testing.assert_close(semantics.way_of_latent(made, 3, 4), ways["z_T"], rtol=1e-4, atol=1e-5)
        plain = semantics.way_of_latent(model("never"), 3, 4)
        torch.testing.assert_close(plain, semantics.pictures(model("never"), 3, 4)["z"], rtol=1e-4, atol=1e-5)
        found = semantics.decided(made, 3)
        assert found["x_T"][0] == (2, 1, 8, 8) and list(found) == every
        assert all(largest > 1e-3 for _, largest in found.values())

    def test_ddim_goes_from_one_of_its_images_to_the_other(self):
        digits = trained.load("digits")
        a, b = drawn(2, 1, 8, 8, dtype=torch.float32), drawn(2, 1, 8, 8, seed=1, dtype=torch.float32)
        with torch.no_grad():
            there = semantics.ddim_between(digits, a, b, 3, calls=4)
            back = semantics.ddim_between(digits, b, a, 3, calls=4)
        torch.testing.assert_close(there.flip(1), back, rtol=0, atol=1e-4)

    @pytest.mark.parametrize(
        ("call", "error", "sentence"),
        [
            (
                lambda a: semantics.between(a, a, "w", 3),
                ParameterError,
                "kind must be one of z_T, z, x_T, posterior for",
            ),
            (lambda a: semantics.between(a, a, "z", 1), ParameterError, "steps must be an integer of at least 2"),
            (lambda a: semantics.roughness(torch.zeros(2, 1, 3)), ShapeError, r"\(B, steps, d\) with at least 2"),
            (lambda a: semantics.monotone(torch.zeros(2, 1)), ShapeError, r"\(B, steps\) with at least 2"),
        ],
    )
    def test_what_does_not_fit_is_one_sentence(self, call, error, sentence):
        with pytest.raises(error, match=sentence):
            call(adversarial.drawn(model(), 2, samplers.white_noise(0)))


class TestInputs:
    """PD-2: what decides an image."""

    def test_images_come_from_their_inputs_alone(self):
        """PD-2."""
        made = model()
        inputs = adversarial.drawn(made, 5, samplers.white_noise(0))
        whole = adversarial.generate(made, inputs)
        torch.testing.assert_close(adversarial.generate(made, inputs, batch=2), whole, rtol=0, atol=1e-5)
        part = adversarial.generate(made, inputs.part(slice(1, 3)))
        torch.testing.assert_close(part, whole[1:3], rtol=0, atol=1e-5)

    def test_seen_images_give_their_semantic_vectors(self):
        made, images = model(), data.load("digits", "test", 8).images[:4]
        inputs = adversarial.seen(made, images, samplers.white_noise(0))
        assert inputs.z_T is not None and torch.equal(inputs.z_T, made.encoder(2 * images - 1))
        with pytest.raises(ShapeError, match=r"images must have the shape \(B, 1, 8, 8\)"):
            adversarial.seen(made, torch.zeros(2, 1, 16, 16), samplers.white_noise(0))
        with pytest.raises(ParameterError, match="no semantic encoder"):
            adversarial.seen(model("never"), images, samplers.white_noise(0))

    def test_one_input_varies_at_a_time(self):
        """PD-2, Fig. 5: the first image is that of all inputs, the others differ in one, and there are four."""
        made = model()
        found = semantics.variations(made, samplers.white_noise(0), 4)
        assert list(found) == ["z_T", "z", "x_T", "posterior"]
        other = adversarial.drawn(made, 4, samplers.white_noise(0))
        base = other.part(torch.zeros(4, dtype=torch.long))
        for kind, images in found.items():
            torch.testing.assert_close(images[0], found["z_T"][0], rtol=0, atol=1e-5)
            assert float((images[1:] - images[:1]).abs().amax((1, 2, 3)).min()) > 1e-3
            torch.testing.assert_close(images, adversarial.generate(made, base.given(kind, other.value(kind))))
        assert torch.equal(base.given("posterior", other.noise).noise, other.noise)
        assert list(semantics.variations(model("never"), samplers.white_noise(0), 2)) == ["z", "x_T", "posterior"]

    def test_a_design_is_its_recipe_and_depends_on_its_seed_alone(self):
        """PD-3."""
        one, again, other = (semantics.design(recipe("digits-progddgan"), seed) for seed in (0, 0, 1))
        assert one.steps.steps == 2 and one.encoder.latent == DESCRIBED["latent"]
        inputs = adversarial.drawn(one, 2, samplers.white_noise(0))
        assert torch.equal(adversarial.generate(one, inputs), adversarial.generate(again, inputs))
        assert not torch.allclose(adversarial.generate(one, inputs), adversarial.generate(other, inputs))

    def test_posterior_noise_goes_along_arcs(self):
        """PD-7: as large on the way as at the ends, for every step and image."""
        a, b = drawn(2, 3, 1, 4, 4), drawn(2, 3, 1, 4, 4, seed=1)
        middle = samplers.slerp(a, b, 0.5, axes=2)
        for step in range(2):
            torch.testing.assert_close(middle[step], samplers.slerp(a[step], b[step], 0.5))

    def test_shares_of_variance_of_a_known_generator(self):
        """PD-2: features that are the inputs themselves; the latent noise of T counts for nothing, nor z_T later."""
        made = model("first")
        shares = semantics.explained(made, lambda x: x.flatten(1), samplers.white_noise(0), bases=12, each=12)
        assert shares.keys() == {"z_T", "z", "x_T", "posterior"}
        assert all(0 <= share < 1.6 for share in shares.values()) and max(shares.values()) > 0.2
        inputs = adversarial.drawn(made, 4, samplers.white_noise(3))
        moved = inputs.given("z", torch.stack((-inputs.z[0], inputs.z[1])))
        assert torch.equal(adversarial.generate(made, inputs), adversarial.generate(made, moved))
        assert semantics.explained(
            model("never"), lambda x: x.flatten(1), samplers.white_noise(0), bases=2, each=2
        ).keys() == {"z", "x_T", "posterior"}

    def test_an_input_that_decides_all_explains_all(self, monkeypatch):
        """With the generator in place of a known function of its inputs."""
        made = model("every")
        only = {"z_T": lambda i: i.z_T, "z": lambda i: i.z[1], "x_T": lambda i: i.x_T.flatten(1)}
        for kind, take in only.items():
            monkeypatch.setattr(semantics, "generate", lambda model, inputs, take=take: take(inputs))
            shares = semantics.explained(made, lambda x: x, samplers.white_noise(0), bases=20, each=20)
            assert shares[kind] == pytest.approx(1, abs=0.15)
            assert all(share == pytest.approx(0, abs=1e-9) for other, share in shares.items() if other != kind)

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"z": torch.zeros(2, 3, 5)}, "z must hold one vector of width 16"),
            ({"z_T": torch.zeros(3, 5)}, "z_T must hold one vector of width 16"),
            ({"x_T": torch.zeros(3, 1, 16, 16), "noise": torch.zeros(1, 3, 1, 16, 16)}, "x must be 8 x 8 pixels"),
            (
                {"z": torch.zeros(4, 3, 16)},
                "inputs must be for T = 2, which digits-made-up was trained with: z of 2 steps",
            ),
            ({"z": torch.zeros(1, 3, 16)}, r"noise of shape \(1, 3, 1, 8, 8\), not of 1 and \(1, 3, 1, 8, 8\)"),
            ({"noise": torch.zeros(1, 3, 1, 4, 4)}, r"not of 2 and \(1, 3, 1, 4, 4\)"),
        ],
    )
    def test_inputs_of_another_kind_are_refused(self, changed, sentence):
        made = model()
        inputs = replace(adversarial.drawn(made, 3, samplers.white_noise(0)), **changed)
        with pytest.raises(ShapeError, match=sentence):
            adversarial.generate(made, inputs)


class TestDirections:
    """PD-7, BASE-DIFFAE: attributes as linear directions."""

    def test_a_known_direction_is_found(self):
        w = torch.nn.functional.normalize(drawn(8), dim=0)
        z = drawn(4000, 8, seed=1)
        found = semantics.direction(z, z @ w + 0.1 * drawn(4000, seed=2) > 0.3)
        assert float(found.vector @ w) > 0.99 and found.accuracy > 0.95 and found.count == 2000
        assert float(found.vector.norm()) == pytest.approx(1)

    def test_the_difference_of_the_means_is_another_direction(self):
        """PD-7: told apart best where they vary least, though the means differ along the other as much."""
        has = torch.arange(8000) % 2 == 0
        z = drawn(8000, 2) * torch.tensor([1.0, 0.1]).double() + 0.5 * has[:, None]
        found = semantics.direction(z, has)
        assert float(found.vector[1]) > 0.95
        torch.testing.assert_close(found.between, torch.full((2,), 0.5**0.5).double(), rtol=0.1, atol=0)
        assert found.gap == pytest.approx(0.5**0.5, rel=0.1)

    def test_against_scikit_learn(self):
        """PD-7: the same logistic regression, by somebody else's code."""
        from sklearn.linear_model import LogisticRegression

        z, decay = drawn(400, 5), 1e-2
        has = z[:, 0] + drawn(400, seed=1) > 0.5
        found = semantics.direction(z, has, decay=decay)
        half = 200
        fitted = LogisticRegression(C=1 / (decay * half), class_weight="balanced", tol=1e-10, max_iter=1000)
        weights = fitted.fit(z[:half].numpy(), has[:half].numpy()).coef_[0]
        wanted = torch.nn.functional.normalize(torch.from_numpy(weights), dim=0)
        torch.testing.assert_close(found.vector, wanted, rtol=1e-4, atol=1e-4)

    def test_what_is_no_attribute_is_told_by_chance(self):
        found = semantics.direction(drawn(4000, 8), drawn(4000, seed=1) > 0)
        assert found.accuracy == pytest.approx(0.5, abs=0.06)

    def test_an_edit_moves_normalised_vectors_by_its_reach(self):
        """BASE-DIFFAE: z + 0.3 sqrt(d) w."""
        made = model()
        encoder = made.encoder
        encoder.centre += 0.3
        z, w = drawn(3, 16, dtype=torch.float32), torch.nn.functional.normalize(drawn(16, dtype=torch.float32), dim=0)
        moved = encoder.normalise(semantics.edited(made, z, w)) - encoder.normalise(z)
        torch.testing.assert_close(moved, (0.3 * 4 * w).expand(3, -1), rtol=1e-4, atol=1e-4)
        with pytest.raises(ShapeError, match=r"vector must have the width of the latent space, \(16,\), not \(8,\)"):
            semantics.edited(made, z, w[:8])

    def test_edits_go_from_less_to_more_of_a_class(self):
        """PD-7: the middle is the image as it is, the ends are those of vectors moved by the reach."""
        made, move = model(), drawn(16, dtype=torch.float32)
        found = semantics.edits(made, {"3": move, "5": -move}, 2, reach=0.5, steps=5)
        one = adversarial.drawn(made, 1, samplers.white_noise(2))
        torch.testing.assert_close(found["3"][2:3], adversarial.generate(made, one), rtol=1e-4, atol=1e-5)
        more = adversarial.generate(made, one.given("z_T", one.z_T + 0.5 * move))
        torch.testing.assert_close(found["3"][4:], more, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["3"].flip(0), found["5"], rtol=1e-4, atol=1e-5)
        assert float((found["3"][0] - found["3"][4]).abs().max()) > 1e-3

    def test_bad_input_is_one_sentence(self):
        with pytest.raises(ParameterError, match="with the attribute and without, in either half"):
            semantics.direction(drawn(10, 3), torch.ones(10, dtype=torch.bool))
        with pytest.raises(ShapeError, match=r"\(N, latent\) and \(N,\)"):
            semantics.direction(drawn(10, 3), torch.ones(9, dtype=torch.bool))


def test_what_is_measured_is_what_the_chapter_reads(tmp_path, monkeypatch):
    """PD-2, PD-7, PD-8: generators of one training step, measured on few images, stopped, gone on with, and shown."""
    tool = tool_module("measure_semantics")
    small = {"PAIRS": 4, "STEPS": 3, "JUDGED": 300, "IMAGES": 24, "TIMED": 4, "SEEDS": (0, 1)}
    for name, value in small.items():
        monkeypatch.setattr(tool, name, value)
    for name in ("digits-ddgan2", "digits-progddgan"):
        train(replace(recipe(name), batch=8), tmp_path, steps=1, device="cpu")
        (tmp_path / "state.safetensors").unlink()
    out = tmp_path / "semantics.json"
    monkeypatch.setattr("sys.argv", ["tool", "digits", "--folder", str(tmp_path), "--out", str(out)])
    measure, asked = tool.of_network, []

    def once(model, *given):
        if asked:
            raise KeyboardInterrupt
        asked.append(model.name)
        return measure(model, *given)

    def run():
        with torch.enable_grad():  # main turns it off, for good
            assert tool.main() == 0
        return json.loads(out.read_text())["rows"]

    monkeypatch.setattr(tool, "of_network", once)
    with pytest.raises(KeyboardInterrupt):
        run()
    first = json.loads(out.read_text())["rows"]
    monkeypatch.setattr(tool, "of_network", measure)
    rows = run()
    assert [row["checkpoint"] for row in rows] == ["digits-ddgan2", "digits-progddgan"] and len(first) == 1
    assert {**rows[0], "seconds": 0} == {**first[0], "seconds": 0}
    found = tables.read("digits", out)
    full = found.rows["progddgan"]
    assert set(full["ways"]) == {"z_T", "z", "x_T", "posterior"} and set(found.rows["ddgan2"]["distance"]) == {"noise"}
    assert all(len(values) == 2 for values in full["explained"].values())
    assert set(full["distance"]["gaussian"]["scores"]) == set(tables.SCORES)
    assert len(full["directions"]) == 10 and set(tables.moves(found, full["weights"])) == set("0123456789")
    model = trained.load("digits-progddgan", tmp_path)
    assert tables.ends(found, full["weights"]).shape == (2 * tool.COUNT, model.encoder.latent)
    for pair in (tables.table_1, tables.ways, tables.explained, tables.directions, tables.speed):
        columns, lines = pair(found)
        assert lines and all(len(line) == len(columns) for line in lines)
    assert "PD-8 cannot be judged" in tables.verdict_speed(found)  # of 24 images here, and of 1000 there
    assert "on digits" in tables.verdict_explained(found) and "not measured" in tables.verdict_table_1(found)


def test_measuring_a_data_set_keeps_what_is_known_of_others(tmp_path, monkeypatch):
    """PD-7: rows and baselines in one file; baselines are of a data set and of its denoiser's weights."""
    tool = tool_module("measure_semantics")
    train(replace(recipe("digits-progddgan"), batch=8), tmp_path, steps=1, device="cpu")
    out = tmp_path / "out" / "semantics.json"
    asked = []

    def of_network(model, source, test, classifier, folder):
        asked.append(model.name)
        return {"data": source["name"], "checkpoint": model.name, "weights": model.card["weights"]["sha256"],
                "prior": None}  # fmt: skip

    def smoothness(ways, classifier):
        asked.append("baseline")
        return semantics.Smoothness(1.0, 1.0, 1.0, 100)

    monkeypatch.setattr(tool, "of_network", of_network)
    monkeypatch.setattr(tool, "of_time", lambda model: {"seconds": {"generator": 1.0}, "threads": 1})
    monkeypatch.setattr(tool, "seconds_per_100", lambda make: make() is None or 2.0)
    monkeypatch.setattr(semantics, "smoothness", smoothness)
    monkeypatch.setattr(semantics, "ddim_between", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["tool", "digits", "--folder", str(tmp_path), "--out", str(out)])

    def measured(before):
        asked.clear()
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps(before))
        with torch.enable_grad():  # main turns it off, for good
            assert tool.main() == 0
        return json.loads(out.read_text())

    other = {"data": "fashion_mnist", "checkpoint": "f", "weights": "w", "prior": None}
    beside = {"data": "fashion_mnist", "denoiser": "d", "called": "pixels"}
    call = {"data": "fashion_mnist", "checkpoint": "fashion-vp", "seconds": 3.0, "threads": 1}
    first = measured({"rows": [other], "baselines": [beside], "calls": [call]})
    own = {"data": "digits", "checkpoint": "digits", "seconds": 2.0, "threads": torch.get_num_threads()}
    assert first["calls"] == [call, own]
    assert asked == ["baseline", "baseline", "digits-progddgan"]
    assert [row["data"] for row in first["rows"]] == ["fashion_mnist", "digits"] and first["rows"][0] == other
    assert first["baselines"][0] == beside
    sha = checkpoints.card("digits")["weights"]["sha256"]
    assert [(b["data"], b["denoiser"]) for b in first["baselines"][1:]] == [("digits", sha)] * 2
    assert measured(first) == first and asked == []
    # Without a single GAN there are the baselines alone.
    (tmp_path / "none").mkdir()
    monkeypatch.setattr("sys.argv", ["tool", "digits", "--folder", str(tmp_path / "none"), "--out", str(out)])
    alone = measured({"rows": [other], "baselines": [], "calls": []})
    assert alone["rows"] == [other] and {b["called"] for b in alone["baselines"]} == {"pixels", "DDIM, 50 steps"}
    assert alone["calls"] == [own]
    monkeypatch.setattr("sys.argv", ["tool", "digits", "--folder", str(tmp_path), "--out", str(out)])
    first["baselines"][1]["denoiser"] = "of other weights"
    again = measured(first)
    assert asked == ["baseline", "baseline"] and len(again["baselines"]) == 3 and len(again["rows"]) == 2

"""Chapter 09's one pass: its arithmetic under Node, by torch, and with both networks in Chromium."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import traitlets

import lab_page
from fewsteps import checkpoints, data, widgets
from fewsteps.errors import ParameterError
from fewsteps.experiments import pixel_aware, pixel_measures
from fewsteps.experiments.pixel_aware import FORMS
from fewsteps.schedules import PIXEL_MIN
from fewsteps.widgets import one_pass
from fewsteps.widgets.course import Course
from fewsteps.widgets.one_pass import COUNT
from test_front_end import run
from test_pixel_networks import GAMMA, T, exported, shipped  # noqa: F401  the fixture that trains them
from test_sampling_lab import phase


@pytest.fixture(scope="module")
def law(shipped):  # noqa: F811
    """The law over vectors of the digits, as a result keeps it."""
    estimator = pixel_aware.load("digits-parallel", shipped).estimator
    known = data.load("digits", "train", 8).images[:200]
    return pixel_measures.laws(estimator, known, components=4)["latent"].tensors()


@pytest.fixture(scope="module")
def pair(shipped):  # noqa: F811
    """Estimator and parallel network."""
    return pixel_aware.load("digits-parallel", shipped)


def f64(values):
    return {"f64": np.asarray(values, dtype=float).ravel().tolist()}


def test_draws_have_the_law():
    """PX-8: shares of the components, means and covariances of many draws; and half precision, bit by bit."""
    values = np.array([0, 1, -2.5, 6.1e-5, 3e-7, 65504, 1 / 3], "<f2")
    [entry] = run("one_pass.js", [["halves", f64(list(values.tobytes()))]])
    assert entry["result"] == values.astype(float).tolist()
    count, rng = 20_000, np.random.default_rng(0)
    means, spreads = np.array([[3.0, 0, 0], [-3, 1, 0]]), np.array([[0.1, 0.2, 0.3], [0.5, 0.1, 0.2]])
    factors = rng.normal(size=(2, 2, 3)) * 0.3
    numbers = rng.normal(size=count * 7)
    [entry] = run(
        "one_pass.js", [["drawn", f64([0.3, 0.7]), f64(means), f64(spreads), f64(factors), count, f64(numbers)]]
    )
    found = np.array(entry["result"]).reshape(count, 3)
    first = found[:, 0] > 0
    assert first.mean() == pytest.approx(0.3, abs=0.02)
    for k, own in enumerate((found[first], found[~first])):
        np.testing.assert_allclose(own.mean(0), means[k], atol=0.04)
        np.testing.assert_allclose(np.cov(own.T), factors[k].T @ factors[k] + np.diag(spreads[k] ** 2), atol=0.03)


def test_the_ways_are_those_of_the_library(pair, law):
    """PX-8: on one start and one pass, the forms that are measured."""
    figure = widgets.OnePassLab(pair, law, seed=5)
    made = figure.images()
    assert made.shape == (3, COUNT, 1, 8, 8)
    assert not torch.equal(made, widgets.OnePassLab(pair, law, seed=6).images())
    asked, noises = [], pair.noises

    def heard(x, *more):
        asked.append(x)
        return noises(x, *more)

    figure._reverse = SimpleNamespace(model=pair.model, estimator=pair.estimator, noises=heard)
    figure.images()
    [x] = asked
    for k, form in enumerate(("scale", "printed, no noise")):
        wanted = FORMS[form].images(pair, x, lambda shape: pytest.fail("no noise is drawn"))
        torch.testing.assert_close(made[k].float(), wanted, rtol=1e-3, atol=1e-4)
    scale, said = noises(x)
    by_last = (x - (1 - scale).sqrt() * said[-1]) / scale.sqrt()  # Eq. 9, solved for the image
    torch.testing.assert_close(made[2].float(), by_last.clamp(PIXEL_MIN, 1), rtol=1e-3, atol=1e-4)
    assert (figure.setting["gamma"], figure.setting["steps"]) == (GAMMA, T)


def test_with_a_kernel_the_page_is_sent_what_torch_makes(pair, law, monkeypatch):
    figure, sent = widgets.OnePassLab(pair, law), []
    monkeypatch.setattr(figure, "send", lambda content, buffers=(): sent.append((content, buffers)))
    figure._wanted = "a"
    figure._stream("a", figure._messages())
    [(first, [buffer]), (last, _)] = sent
    assert first["run"] == "a" and first["i"] == 1 and first["ms"] > 0 and last == {"run": "a", "done": True}
    made = torch.frombuffer(bytearray(buffer), dtype=torch.float32)
    torch.testing.assert_close(made, figure.images().float().flatten())
    monkeypatch.setattr(figure, "_made", lambda seed: data.load("nothing"))
    figure._wanted = "b"
    figure._stream("b", figure._messages())
    assert "nothing" in sent[-1][0]["failed"] and not sent[-1][0]["failed"].endswith(".")


class Letters(Course):
    """A run of three letters, from the one that the control shows."""

    _esm = "export default {}"
    first = traitlets.Int(0).tag(sync=True)

    def __init__(self, after=lambda said: None, **traits):
        super().__init__(**traits)
        self.sent, self.after, self.over = [], after, Event()

    def _messages(self):
        return (({"i": k}, (torch.tensor([float(k)]),)) for k in range(self.first, self.first + 3))

    def send(self, content, buffers=None):
        self.sent.append((content, [np.frombuffer(part, np.float32).tolist() for part in buffers or []]))
        self.after(content)
        if content.keys() & {"done", "failed"}:
            self.over.set()


def test_a_run_reads_the_controls_when_it_is_asked_for_and_ends_when_it_is_told():
    """And a stop that comes late, for a run before it, is not for the one that is wanted now."""
    figure = Letters()
    figure._hear(None, {"do": "sample", "run": "a"}, [])
    figure.first = 7  # moved while the thread of the run may not even have begun
    assert figure.over.wait(20)
    assert figure.sent == [*(({"run": "a", "i": k}, [[float(k)]]) for k in range(3)), ({"run": "a", "done": True}, [])]
    figure.sent.clear()
    figure._wanted = "b"
    figure._hear(None, {"do": "stop", "run": "a"}, [])
    figure._stream("b", figure._messages())
    assert [said for said, _ in figure.sent] == [{"run": "b", "i": k} for k in (7, 8, 9)] + [{"run": "b", "done": True}]
    figure.sent.clear()
    figure._stream("a", figure._messages())  # another view has its own now
    assert figure.sent == [({"run": "a", "failed": "another run was started"}, [])]
    figure.sent.clear()
    figure._hear(None, {"do": "stop", "run": "b"}, [])
    figure._stream("b", figure._messages())
    assert figure.sent == []


def test_controls_come_with_the_question_and_whatever_fails_is_said():
    """A change of a slider may be on its way when the question is here; an error of any kind is one line."""
    figure = Letters()
    figure._hear(None, {"do": "sample", "run": "a", "chosen": {"first": 4, "sent": "no trait"}}, [])
    assert figure.over.wait(20)
    assert figure.sent[0] == ({"run": "a", "i": 4}, [[4.0]])
    for chosen, words in (({"first": "four"}, "first"), ({}, "a KeyError")):
        figure.sent.clear()
        if not chosen:
            figure._messages = lambda: {}["a KeyError\nand more"]
        figure._hear(None, {"do": "sample", "run": "b", "chosen": chosen}, [])
        [(said, _)] = figure.sent
        assert words in said["failed"] and "\n" not in said["failed"]


def test_a_stop_between_two_steps_is_obeyed_before_the_next_is_sent():
    figure = Letters(after=lambda said: figure._hear(None, {"do": "stop", "run": "a"}, []))
    figure._wanted = "a"
    figure._stream("a", figure._messages())
    assert figure.sent == [({"run": "a", "i": 0}, [[0.0]])]


def test_the_seed_of_a_run_is_read_at_once(pair, law):
    figure = widgets.OnePassLab(pair, law, seed=5)
    wanted, messages = figure.images().float(), figure._messages()
    figure.seed = 6
    [(_, (made,))] = messages
    assert torch.equal(made, wanted) and not torch.equal(made, figure.images().float())


def test_bad_input_is_one_sentence(shipped, pair, law, monkeypatch):  # noqa: F811
    single = pixel_aware.load("digits-single", shipped)
    with pytest.raises(ParameterError, match="reverse must say the noises of all states, and digits-single says"):
        widgets.OnePassLab(single, law)
    with pytest.raises(ParameterError, match="law must be over vectors of 20 numbers, not 19"):
        widgets.OnePassLab(pair, law | {"factors": law["factors"][..., :19]})
    monkeypatch.setattr(one_pass, "MOST_BYTES", 2**15)
    sentence = (
        r"the file of digits-parallel must take at most 0\.03125 MiB, for a browser, and it takes about 0\.\d: train"
    )
    with pytest.raises(ParameterError, match=sentence):
        widgets.OnePassLab(pair, law)


@pytest.mark.browser
def test_the_page_makes_what_torch_makes(shipped, pair, law, tmp_path, visit):  # noqa: F811
    """PX-8: nothing is fetched before the button; both files then; every way's images are those of torch."""
    if not lab_page.ORT.is_dir():
        pytest.skip("no node_modules (make setup brings it): that one pass runs in a page was NOT tested")
    figure = widgets.OnePassLab(pair, law, seed=5)
    models = lab_page.with_runtime(tmp_path)
    exported(("digits-scale", "digits-parallel"), shipped, models)
    state = {"setting": figure.setting, "seed": figure.seed, "law": list(figure.law)}
    lab_page.write(tmp_path, "one_pass_lab.js", state)
    visited, asked = lab_page.opened(visit, tmp_path)
    page = visited.page
    page.wait_for_timeout(300)
    assert not asked and "fetches two networks" in page.locator(".fs-note").text_content()
    page.locator(".fs-go").click()
    phase(page, "done")
    assert set(figure.setting["files"]) <= set(asked) and figure.setting["files"][1].startswith("digits-parallel-")
    for made, wanted in zip(lab_page.shown(page, COUNT), figure.images(), strict=True):
        assert np.abs(made - 255 * wanted[:, 0].clamp(0, 1).numpy()).max() <= 0.6
    assert "ms an image here" in page.locator(".fs-summary").text_content()
    page.locator("input[data-name=seed]").focus()
    page.keyboard.press("ArrowRight")
    phase(page, "idle")
    page.locator(".fs-go").press("Enter")
    phase(page, "done")
    page.screenshot(path=str(tmp_path / "one_pass.png"), full_page=True)
    assert visited.trouble == []
    assert checkpoints.card("digits-scale", shipped)["weights"]["sha256"][:12] in figure.setting["files"][0]

"""The network of the index page: its samplers against torch's under Node, in Chromium, and in JupyterLab."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import lab_page
from fewsteps import checkpoints, denoisers, export, filters, schedules, theory, trained, transforms, widgets
from fewsteps.errors import CheckpointError, ParameterError
from fewsteps.experiments import best, filtering
from fewsteps.widgets import sampling
from fewsteps.widgets.bundle import HERE
from lab_page import ORT

TESTS, ROOT = Path(__file__).parent, Path(__file__).parents[2]
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
PAGE = "/book/index.html"
TOLERANCE = 1e-4  # of every state and prediction of a run, against torch
SECONDS = 10  # for 16 images at 20 network calls, in this machine's Chromium


def parity(module, calls):
    """What functions of a front-end module return, in one Node process."""
    job = json.dumps({"module": str(HERE / module), "calls": calls})
    done = subprocess.run([NODE, str(TESTS / "parity.mjs")], input=job, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [entry["result"] for entry in json.loads(done.stdout)]


def numbers(text):
    return np.frombuffer(base64.b64decode(text), np.float32)


class TestNumbers:
    def test_the_noise_of_the_page_is_that_of_python(self):
        cases = [(1000, 0, 0), (64, 99, 0), (64, 7, 8192), (10, 3, 2**31)]
        for case, page in zip(cases, parity("kit.js", [["gaussians", *case] for case in cases]), strict=True):
            assert np.abs(sampling.gaussians(*case) - page).max() < 1e-12
        assert np.array_equal(sampling.gaussians(6, 5)[2:], sampling.gaussians(4, 5, 2))

    def test_the_filter_of_the_page_is_tdas(self):
        """TDAS-3, TDAS-4: mask and M z, also at r = 0, where all but the mean is filtered, and at radii on a ring."""
        z = np.random.default_rng(0).normal(size=(2, 16, 16))
        for lam, r in ((0.8, 0.2), (1.3, 0.0), (0.5, 1.0), (0.7, 0.5), (0.9, 5 / 16 / 2**0.5)):
            mask = filters.zone_mask((16, 16), lam, r)
            [gains] = parity("sampling.js", [["zoneGains", 16, lam, r]])
            assert np.array_equal(np.reshape(gains, (16, 16)), mask)
            [page] = parity("sampling.js", [["filtered", {"f64": z.ravel().tolist()}, 16, gains]])
            wanted = filters.tdas((16, 16), lam, r).apply(torch.from_numpy(z)).numpy()
            assert np.abs(np.reshape(page, z.shape) - wanted).max() < 1e-12

    def test_both_rows_are_one_draw(self):
        noise = sampling.twins(4, 32, 0.7, 0.1)
        filt = filters.tdas((32, 32), 0.7, 0.1)
        for z, filtered in (noise((16, 1, 32, 32)).chunk(2), noise((16, 1, 32, 32)).chunk(2)):
            assert float((filt.apply(z) - filtered).abs().max()) < 1e-5
        assert not torch.equal(noise((2, 1, 32, 32)), noise((2, 1, 32, 32)))

    @pytest.mark.parametrize("steps", [2, 7, 60])
    def test_grid_and_calls_are_those_of_python(self, steps):
        schedule = schedules.VE()
        [levels] = parity("sampling.js", [["karras", schedule.t_max, schedule.t_min, steps, 7]])
        np.testing.assert_allclose(levels, schedules.karras(schedule, steps), rtol=1e-12)
        calls = parity("sampling.js", [["callsFor", name, steps] for name in sampling.SAMPLERS])
        assert calls == [theory.calls_of(name, steps) for name in sampling.SAMPLERS]
        for name, count in zip(sampling.SAMPLERS, calls, strict=True):
            [drawn] = parity("sampling_lab.js", [["levelsByCall", name, levels]])
            assert len(drawn) == count and drawn[0] == levels[0] and drawn[-1] == levels[-2]


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The network as the book exports it."""
    folder = tmp_path_factory.mktemp("model")
    command = [sys.executable, "-m", "fewsteps.cli", "export", "mnist", "--out", folder]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def ideals():
    """What the power of the network's predictions should be, not told the class and told it."""
    return best.ideals("mnist")


@pytest.mark.parametrize("name", sampling.SAMPLERS)
def test_whole_trajectories_match_torch(name, model, ideals, capsys):
    """TDAS-3, BEST-4: every state and prediction of a run, both rows, by onnxruntime-web against the library."""
    if not ORT.is_dir():
        pytest.skip("no node_modules (make setup brings it): that the page's samplers are torch's was NOT tested")
    labs = [
        widgets.SamplingLab(sampler=name, steps=steps, lam=lam, r=r, seed=seed, label=label)
        for steps, lam, r, seed, label in ((20, 0.8, 0.2, 3, -1), (9, 1.2, 0.4, 42, 5))
    ]
    labs += [
        widgets.SamplingLab(**ideals, second="corrected", sampler=name, steps=steps, seed=seed, label=label)
        for steps, seed, label in ((7, 3, -1), (9, 42, -2))
    ]
    runs = [{**lab.setting, **{key: getattr(lab, key) for key in SETTINGS}} for lab in labs]
    for run, lab in zip(runs, labs, strict=True):
        run["powers"] = base64.b64encode(lab.powers or b"").decode()
    job = json.dumps({"widgets": str(HERE), "ort": str(ORT), "model": str(model), "runs": runs})
    done = subprocess.run([NODE, str(TESTS / "sampling_parity.mjs")], input=job, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    worst = 0.0
    for lab, page in zip(labs, said["runs"], strict=True):
        steps = list(lab.walk())
        assert len(steps) == len(page["x"]) == lab.steps and page["nfe"] == steps[-1].nfe
        np.testing.assert_allclose(page["levels"], [step.t for step in steps], rtol=1e-12)
        for step, x, mean in zip(steps, page["x"], page["mean"], strict=True):
            worst = max(
                worst,
                *(float(np.abs(numbers(a) - b.numpy().ravel()).max()) for a, b in ((x, step.x), (mean, step.x0_hat))),
            )
    with capsys.disabled():
        spent = 1000 * said["seconds"]
        print(f"\n{name}: largest difference {worst:.1e}; a call of 16 images takes {spent:.0f} ms of one core")
    assert worst <= TOLERANCE


SETTINGS = ("sampler", "steps", "lam", "r", "seed", "label", "second")


def test_the_second_row_is_put_right_by_its_own_gains(ideals):
    """BEST-4: the first row is that of a run without a remedy, the second has the power that it should have."""
    given = {"sampler": "ancestral", "steps": 6, "seed": 5}
    *_, plain = widgets.SamplingLab(**given, lam=1.0).walk()
    lab = widgets.SamplingLab(**given, **ideals, second="corrected", lam=0.5)
    said = list(lab._messages())
    x, mean = said[-1][1]
    assert torch.allclose(x[:8], plain.x[:8], atol=1e-5) and not torch.allclose(x[8:], plain.x[8:], atol=0.01)
    ideal = ideals["ideal"]
    last = said[-1][0]["gains"]
    assert len(last) == len(ideal.data) and 0.5 <= min(last) <= max(last) <= 2
    # The last prediction of the second row: what it was before the gain, and what that asked for.
    power = filtering.on_rings(transforms.dct2(mean[8:].double() - ideal.around).square().mean((0, 1)))
    gain, level = torch.tensor(last, dtype=torch.float64), float(schedules.karras(schedules.VE(), 6)[-2])
    wanted = denoisers.matching_gain(power / gain.square(), ideal.wanted(level), ideal.data)
    assert torch.allclose(gain, wanted, rtol=1e-3) and float(gain.max()) > 1.05


class TestBadInput:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"steps": 1}, "steps must be an integer from 2 to 60, not 1."),
            ({"steps": "many"}, "steps must be an integer from 2 to 60, not 'many'."),
            ({"lam": 0}, "lam must be a number of at least 0.5 and at most 1.5, not 0."),
            ({"r": 1.5}, "r must be a number of at least 0 and at most 1 (units of the height), not 1.5."),
            ({"seed": -1}, "seed must be an integer from 0 to 99, not -1."),
            ({"label": 10}, "label must be an integer from -2 to 9, not 10."),
            ({"sampler": "euler"}, "sampler must be one of reverse, ancestral, ddim, dpmpp_2m, heun, not 'euler'."),
            ({"view": "noise"}, "view must be one of state, mean, not 'noise'."),
            ({"second": "corrected"}, "second must be one of filter, not 'corrected'."),
            (
                {"network": "mnist-classifier"},
                "the checkpoint must hold a network under EDM's preconditioning, "
                "and mnist-classifier predicts 'class'.",
            ),
        ],
    )
    def test_is_one_sentence(self, given, words):
        with pytest.raises(ParameterError) as said:
            widgets.SamplingLab(**given)
        assert str(said.value) == words

    def test_what_does_not_fit_the_network_is_refused(self, ideals):
        """BEST-4: powers of another network's predictions, or those of one class."""
        with pytest.raises(ParameterError, match=r"label must be -1 \(any\) or -2 \(one of each\) where predictions"):
            widgets.SamplingLab(**ideals, second="corrected", label=5)
        with pytest.raises(ParameterError, match=r"must be of images \(1, 8, 8\) on VE, not \(1, 32, 32\)"):
            widgets.SamplingLab("digits", ideal=ideals["ideal"])
        with pytest.raises(ParameterError, match="told must be given beside ideal"):
            widgets.SamplingLab(told=ideals["told"])
        lab = widgets.SamplingLab(**ideals, second="corrected")
        lab.label = 5
        with pytest.raises(ParameterError, match="what power those of one class should have is not known"):
            lab.walk()

    def test_an_unknown_network_lists_those_there_are(self):
        with pytest.raises(CheckpointError, match="no checkpoint is called 'imagenet': there are"):
            widgets.SamplingLab("imagenet")

    def test_images_too_large_for_a_page_are_refused(self, monkeypatch):
        card = checkpoints.card("mnist")
        card["data"]["size"] = 128
        monkeypatch.setattr(checkpoints, "card", lambda name: card)
        with pytest.raises(
            ParameterError, match=r"^network must make images of at most 64 pixels, and mnist makes 128\.$"
        ):
            widgets.SamplingLab()

    def test_a_value_set_later_is_checked_as_well(self):
        lab = widgets.SamplingLab()
        with pytest.raises(ParameterError, match="lam must"):
            lab.lam = 3


def test_the_first_page_can_show_the_figure():
    """Its state is written into a page of prose, where bytes have no place."""
    assert widgets.SamplingLab().powers is None


def test_the_figure_names_the_weights_that_are_there():
    card = checkpoints.card("mnist")
    setting = widgets.SamplingLab().setting
    assert setting["file"] == export.file_name(card) == f"mnist-{card['weights']['sha256'][:12]}.onnx"
    size = sum((ORT / name).stat().st_size for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"))
    assert size == sampling.RUNTIME_BYTES


# Of every pixel of both rows, in the order of the images: what the page shows.
SHOWN = """
() => [...document.querySelectorAll(".fs-lab canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({ length: canvas.width * canvas.height }, (_, k) => (data[4 * k + 3] ? data[4 * k] : -1));
})
"""
# How long the page leaves its own timers waiting, until the run is over.
PULSE = """
async () => {
  const { dataset } = document.querySelector(".fs-lab");
  const gaps = [];
  for (let last = performance.now(); dataset.phase === "running"; ) {
    await new Promise((done) => setTimeout(done, 0));
    const now = performance.now();
    gaps.push(now - last);
    last = now;
  }
  return gaps.sort((a, b) => a - b);
}
"""


def shown(page):
    """Both rows of the page as bytes, (16, 32, 32)."""
    rows = []
    for values in page.evaluate(SHOWN):
        pixels = np.array(values).reshape(32, -1)
        rows.append(pixels[:, (pixels >= 0).all(0)].reshape(32, 8, 32).transpose(1, 0, 2))
    return np.concatenate(rows)


def phase(page, *wanted, step=0, seconds=120):
    """Wait until the figure is in one of these phases, and has reached a step."""
    there = "([wanted, step]) => { const d = document.querySelector('.fs-lab').dataset; "
    there += "return wanted.includes(d.phase) && d.step >= step; }"
    page.wait_for_function(there, arg=[wanted, step], timeout=1000 * seconds)


def made_by_torch(page):
    """The bytes of the finished images of the run that the page's controls describe, by the library's own sampler."""
    traits = json.loads(page.locator(".fs-lab").get_attribute("data-traits"))
    *_, end = widgets.SamplingLab(**traits).walk()
    return 255 * trained.to_images(end.x, schedules.VE())[:, 0].numpy()


@pytest.mark.browser
def test_predictions_are_put_right_in_the_page(tmp_path, visit):
    """BEST-4: the images are torch's, the filter's sliders are away, and one choice brings them back."""
    if not ORT.is_dir():
        pytest.skip("no node_modules (make setup brings it): that predictions are put right in a page was NOT tested")
    given = {**best.ideals("digits"), "sampler": "ancestral", "steps": 5, "label": -2, "seed": 4, "second": "corrected"}
    lab = widgets.SamplingLab("digits", **given)
    export.write("digits", lab_page.with_runtime(tmp_path))
    state = {key: getattr(lab, key) for key in (*SETTINGS, "view", "setting")}
    lab_page.write(tmp_path, "sampling_lab.js", state | {"powers": list(lab.powers)})
    visited, _ = lab_page.opened(visit, tmp_path)
    page = visited.page
    page.locator(".fs-go").click()
    phase(page, "done")
    *_, end = lab.walk()
    wanted = 255 * trained.to_images(end.x, schedules.VE())[:, 0].numpy()
    made = np.concatenate(lab_page.shown(page, 8))
    assert np.abs(made - wanted).max() <= 0.6 and np.abs(made[:8] - made[8:]).max() > 20
    assert page.locator("[aria-label*='at the last call']").count() == 1
    sliders, one = page.locator("input[data-name=lam]"), page.locator("input[data-name=label][data-value='3']")
    assert one.is_disabled()
    assert not sliders.is_visible() and "Put right" in page.locator(".fs-strips").text_content()
    page.get_by_label("its noise filtered (TDAS)").check()
    phase(page, "idle")
    one.check()
    assert sliders.is_visible() and "Filtered" in page.locator(".fs-strips").text_content()
    page.get_by_label("its predictions put right").check()
    phase(page, "done")  # with one of each again it is the run that came to its end
    assert page.locator("input[data-name=label][data-value='-2']").is_checked()
    page.screenshot(path=str(tmp_path / "lab.png"), full_page=True)
    assert visited.trouble == []


@pytest.mark.browser
@pytest.mark.alone
class TestInTheBrowser:
    @pytest.fixture
    def first(self, smoke_book, visit):
        """The index page, its figure drawn, and what it has asked for."""
        visited = visit(smoke_book, PAGE)
        visited.page.wait_for_selector(".fs-lab[data-draws]", timeout=20_000)
        visited.page.wait_for_load_state("networkidle")
        visited.asked = []
        visited.page.on("request", lambda request: visited.asked.append(request.url))
        return visited

    def test_images_come_step_by_step_and_are_those_of_torch(self, first):
        """Nothing is fetched before the button is pressed; then script, runtime and network, each once."""
        page = first.page
        assert not any(word in request for request in first.asked for word in ("onnx", "wasm"))
        note = page.locator(".fs-note").text_content()
        assert "17 MB" in note and page.locator(".fs-go").text_content() == "Sample"
        before = shown(page)
        page.locator(".fs-go").click()
        assert page.locator(".fs-go").text_content() == "Stop"
        seen = []
        for step in (1, 5, 10, 15):
            phase(page, "running", "done", step=step)
            seen.append(shown(page))
        phase(page, "done")
        last = shown(page)
        assert all(np.any(a != b) for a, b in zip([before, *seen], [*seen, last], strict=True))
        assert np.abs(last - made_by_torch(page)).max() <= 0.51
        files = [request.rsplit("/", 1)[-1] for request in first.asked if not request.startswith("blob:")]
        assert sorted(files) == sorted(["ort.mjs", "ort.wasm", widgets.SamplingLab().setting["file"]])
        assert first.trouble == []

    def test_the_page_stays_awake_and_stop_stops(self, first):
        page = first.page
        page.locator(".fs-go").click()
        phase(page, "running", step=2)
        begin = time.perf_counter()
        page.locator(".fs-go").click()
        phase(page, "stopped")
        assert time.perf_counter() - begin < 1
        reached = int(page.locator(".fs-lab").get_attribute("data-step"))
        assert 2 <= reached < 20 and f"Stopped after step {reached}" in page.locator(".fs-summary").text_content()
        page.wait_for_timeout(1500)
        assert page.locator(".fs-lab").get_attribute("data-step") == str(reached)
        page.locator(".fs-go").click()
        phase(page, "running", step=1)
        gaps = page.evaluate(PULSE)
        phase(page, "done")
        seconds = float(page.locator(".fs-lab").get_attribute("data-seconds"))
        # A page that computed the network itself would be deaf for a whole step at a time.
        assert gaps[-1] < 500 * seconds / 20, f"the page waited {gaps[-1]:.0f} ms"
        assert first.trouble == []

    def test_a_control_that_is_moved_ends_the_run_and_results_are_kept(self, first):
        page = first.page
        root = page.locator(".fs-lab")
        steps = page.locator("input[data-name=steps]")
        steps.evaluate("i => { i.value = 4; i.dispatchEvent(new Event('input', { bubbles: true })); }")
        page.locator(".fs-go").click()
        phase(page, "done")
        finished = shown(page)
        page.get_by_label("what the network predicts").check()
        assert root.get_attribute("data-phase") == "done"
        page.get_by_label("DDIM").check()
        phase(page, "idle")
        page.locator(".fs-go").click()
        phase(page, "running", step=1)
        page.get_by_label("VE reverse diffusion").check()
        phase(page, "done")
        assert np.array_equal(shown(page), finished)
        assert first.trouble == []

    def test_a_network_that_is_not_there_is_one_sentence(self, first):
        page = first.page
        page.route("**/*.onnx", lambda route: route.fulfill(status=404))
        page.locator(".fs-go").click()
        phase(page, "failed")
        said = page.locator(".fs-summary").text_content()
        file = widgets.SamplingLab().setting["file"]
        assert said.endswith(f"The network could not be run: /_static/models/{file} cannot be had (404).")
        assert page.locator(".fs-go").text_content() == "Sample"
        page.unroute("**/*.onnx")
        page.locator(".fs-go").click()
        phase(page, "done")

    def test_a_digit_is_the_one_that_was_chosen(self, smoke_book, visit):
        """And the site may lie below any address."""
        visited = visit(smoke_book.parent, f"/html{PAGE}")
        page = visited.page
        page.wait_for_selector(".fs-lab[data-draws]", timeout=20_000)
        page.get_by_label("DPM-Solver++(2M)").check()
        page.locator("input[data-name=label][data-value='7']").check()
        page.locator(".fs-go").click()
        phase(page, "done")
        assert np.abs(shown(page) - made_by_torch(page)).max() <= 0.51
        images = torch.from_numpy(shown(page)[:, None] / 255).float()
        said = trained.load("mnist-classifier").network(images).argmax(1)
        assert int((said == 7).sum()) >= 12
        assert visited.trouble == []

    def test_a_page_opened_as_a_file_says_why_it_cannot(self, smoke_book, browser):
        """The figure is drawn, and all but the network works."""
        context = browser.new_context()
        page = context.new_page()
        page.goto((smoke_book / PAGE[1:]).as_uri())
        page.wait_for_selector(".fs-lab[data-draws]", timeout=20_000)
        page.locator(".fs-go").click()
        phase(page, "failed")
        assert "opened as a file, and make serve shows it" in page.locator(".fs-summary").text_content()
        context.close()

    def test_every_sampler_is_quick_enough(self, first, capsys):
        """16 images, 8 and 8 side by side, at 20 network calls: at most 10 s each."""
        page = first.page
        for name in sampling.SAMPLERS:
            steps = theory.steps_for(name, 20)
            page.locator(f"input[data-name=sampler][data-value={name}]").check()
            page.locator("input[data-name=steps]").evaluate(
                "(i, v) => { i.value = v; i.dispatchEvent(new Event('input', { bubbles: true })); }", steps
            )
            phase(page, "idle")
            page.locator(".fs-go").click()
            phase(page, "done")
            seconds = float(page.locator(".fs-lab").get_attribute("data-seconds"))
            with capsys.disabled():
                print(f"\n{name}: {steps} steps, {theory.calls_of(name, steps)} NFE, 16 images in {seconds:.1f} s")
            assert seconds <= SECONDS

    def test_with_a_kernel_torch_computes(self, jupyterlab):
        """The same figure in JupyterLab: images come from Python as they are made, and stop stops."""
        page = jupyterlab(
            "from fewsteps.widgets import SamplingLab\nlab = SamplingLab(steps=12, seed=5)\nlab",
            "lab.walk  # a cell after it, so that the prompts tell when all has run",
        )
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        assert "in the kernel" in page.locator(".fs-note").text_content()
        page.locator(".fs-go").click()
        phase(page, "running", step=1)
        phase(page, "done")
        assert np.abs(shown(page) - made_by_torch(page)).max() <= 0.51
        slider = page.locator("input[data-name=steps]")
        slider.evaluate("i => { i.value = 60; i.dispatchEvent(new Event('input', { bubbles: true })); }")
        phase(page, "idle")
        page.locator(".fs-go").click()
        phase(page, "running", step=3)
        page.locator(".fs-go").click()
        phase(page, "stopped")
        reached = page.locator(".fs-lab").get_attribute("data-step")
        page.wait_for_timeout(1000)
        assert page.locator(".fs-lab").get_attribute("data-step") == reached
        assert not any("onnx" in request or "wasm" in request for request in asked)

"""Chapter 09's figure: its arithmetic under Node against the samplers, and its page in Chromium."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import lab_page
from fewsteps import samplers, widgets
from fewsteps import schedules as sch
from fewsteps.errors import ParameterError
from fewsteps.schedules import PixelAware, image_scale
from fewsteps.widgets import pixel
from test_front_end import run

RNG = np.random.default_rng(9)
T, GAMMA, COUNT = 12, 6.0, 20
LEVELS = np.concatenate(([sch.PIXEL_MIN], RNG.uniform(0.02, 1, 7)))
WHICH = RNG.integers(0, len(LEVELS), COUNT)
NOISE, ERRORS = RNG.normal(size=(2, T, COUNT))
X0 = torch.from_numpy(LEVELS[WHICH])


def f64(values):
    return {"f64": np.asarray(values, dtype=float).ravel().tolist()}


def law(name):
    given = [f64(LEVELS), GAMMA, T] if name == "pixelLaw" else [f64(LEVELS), T]
    [entry] = run("pixel.js", [[name, *given]])
    return np.array(entry["result"])


def forward(table):
    [entry] = run("pixel.js", [["forwardStates", f64(WHICH), f64(LEVELS), f64(NOISE), f64(table), T]])
    return np.array(entry["result"]).reshape(T + 1, COUNT)


def back(states, table, reading, factor, size):
    given = [f64(WHICH), f64(LEVELS), f64(states), f64(NOISE), f64(table), T, reading, factor, size, f64(ERRORS)]
    [entry] = run("pixel.js", [["backStates", *given]])
    return np.array(entry["result"]).reshape(T + 1, COUNT)


def trajectory():
    rows = iter(torch.from_numpy(NOISE))
    return samplers.forward_path(X0, GAMMA, T, lambda shape: next(rows).reshape(shape))


def test_laws_are_the_schedules():
    """PX-1, PX-2: every level's alpha-bar at every step, of PixelAware and of DDPM."""
    schedule, wide = PixelAware(torch.from_numpy(LEVELS), GAMMA), len(LEVELS)
    wanted = np.stack([schedule.alpha_bar(i / T).log().numpy() for i in range(T + 1)])
    np.testing.assert_allclose(law("pixelLaw").reshape(T + 1, wide), wanted, rtol=1e-12)
    ddpm = sch.Discrete.from_vp(sch.VPLinear(), T).alpha_bars.numpy()
    np.testing.assert_allclose(np.exp(law("ddpmLaw")).reshape(T + 1, wide), ddpm[:, None] * np.ones(wide), rtol=1e-9)


def test_the_way_there_is_the_samplers():
    """PX-1, Eq. 2 and 9: state by state."""
    np.testing.assert_allclose(forward(law("pixelLaw")), trajectory().states, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 0.03])
@pytest.mark.parametrize("form", pixel.FORMS)
def test_the_way_back_is_the_samplers(form, size):
    """PX-7, PX-8, Algorithm 1: state by state, with noises of either kind, either factor, right and wrong."""
    reading, factor = pixel.FORMS[form]
    path = trajectory()
    given = path.targets(reading) + size * torch.from_numpy(ERRORS)
    wanted = samplers.reverse_path(path.states[-1], image_scale(X0, GAMMA), given, factor=factor)
    found = back(path.states, law("pixelLaw"), reading, factor, size)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert (np.abs(found[0] - X0.numpy()).max() < 1e-9) == (form == "exact" and not size)


def test_ddpm_comes_back_as_well():
    """PX-10: its trajectory has its own law, by a plain loop, and the noise of each step undoes it."""
    table = law("ddpmLaw")
    bars = np.exp(table.reshape(T + 1, -1)[:, 0])
    there, x = forward(table), X0.numpy()
    for j in range(1, T + 1):
        alpha = bars[j] / bars[j - 1]
        x = np.sqrt(alpha) * x + np.sqrt(1 - alpha) * NOISE[j - 1]
        np.testing.assert_allclose(there[j], x, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(back(there, table, "increment", "printed", 0), there, rtol=1e-8, atol=1e-9)


def test_what_errors_grow_to():
    """PX-8: the sum of squares of `amplification` at the end; halfway, what errors that were put in became."""
    shares = np.bincount(WHICH, minlength=len(LEVELS)) / COUNT
    [entry] = run("pixel.js", [["grownErrors", f64(shares), f64(law("pixelLaw")), T]])
    grown = np.array(entry["result"])
    squares = samplers.amplification(image_scale(X0, GAMMA), T, "printed").square().sum(0)
    assert grown[0] == pytest.approx(float(squares.mean().sqrt()), rel=1e-9) and grown[T] == 0
    path, half = trajectory(), T // 2
    errors = torch.randn(T, 4000, COUNT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    some = path.states[-1].expand(4000, -1)
    away = samplers.reverse_path(some, image_scale(X0, GAMMA), path.increments[:, None] + errors, factor="printed")
    found = (away[half] - path.states[half]).square().mean().sqrt()
    assert grown[half] == pytest.approx(float(found), rel=0.02)


def test_where_it_breaks_and_which_pixels_are_shown():
    calls = [["brokenAt", errors] for errors in ([0, 0.3, 0.05, 0.2, 0.01], [0.0, 0.1], [9, 0])]
    assert [entry["result"] for entry in run("pixel_lab.js", calls)] == [3, -1, 0]
    assert run("pixel_lab.js", [["levelsOf", [0.06, 0.44, 0, 0.4, 0.1]]])[0]["result"] == {
        "dark": 0,
        "middle": 1,
        "bright": 4,
    }


def test_bad_input_is_one_sentence():
    with pytest.raises(ParameterError, match="photo must be an integer from 0 to 3, not 4"):
        widgets.PixelLab(photo=4)


SUM = "() => [...document.querySelectorAll('canvas')].map((c) => c.toDataURL())"
READY = "n => document.querySelector('.fs-lab').dataset.draws !== n"


@pytest.mark.browser
def test_the_page_walks_as_the_library_does(tmp_path, visit):
    """PX-8: in every form and with errors, both ends of the way back; the player goes there and back, and pauses."""
    figure = widgets.PixelLab()
    state = {
        name: getattr(figure, name) for name in ("names", "size", "photo", "seed", "t", "gamma", "T", "form", "error")
    }
    lab_page.write(tmp_path, "pixel_lab.js", state | {"photos": list(figure.photos)})
    visited = visit(tmp_path, "/index.html")
    page, root = visited.page, visited.page.locator(".fs-lab")
    page.wait_for_selector(".fs-lab[data-draws]")

    def changed(act):
        drawn = root.get_attribute("data-draws")
        act()
        page.wait_for_function(READY, arg=drawn)

    def moved(name, value):
        setting = "(i, v) => { i.value = v; i.dispatchEvent(new Event('input', { bubbles: true })); }"
        changed(lambda: page.locator(f"input[data-name={name}]").evaluate(setting, value))

    def shown():
        lab = widgets.PixelLab(**json.loads(root.get_attribute("data-traits")))
        wanted = float((lab.back()[0] - lab.image()).square().mean().sqrt())
        return float(root.get_attribute("data-pixel")), wanted

    assert shown()[0] == pytest.approx(shown()[1], rel=1e-6) and shown()[0] > 1
    moved("error", -6)
    assert shown()[0] < 1e-6 > shown()[1]
    assert "of 200" in page.locator(".fs-control output").first.text_content()
    changed(page.locator("input[data-name=T][data-value='50']").check)
    changed(page.get_by_label("a digit").check)
    moved("gamma", 7.5)
    for form in ("printed", "corrected", "exact"):
        changed(page.locator(f"input[data-name=form][data-value={form}]").check)
        for power in (-2, -6):
            moved("error", power)
            if form != "exact" or power > -6:
                assert shown()[0] == pytest.approx(shown()[1], rel=1e-6), (form, power)
    moved("error", -1)
    assert "further than 0.1 away" in page.locator(".fs-summary").text_content()

    pictures = page.evaluate(SUM)
    moved("t", 0.5)
    assert all(a != b for a, b in zip(pictures, page.evaluate(SUM), strict=True))
    page.locator("input[data-name=t]").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => document.querySelector('.fs-lab').dataset.i === '24'")  # one step of 50
    page.get_by_role("button", name="Play").press("Enter")
    for i in (45, 50, 10, 0, 3):  # up to the end, down to the picture, and up again
        page.wait_for_function("i => Math.abs(document.querySelector('.fs-lab').dataset.i - i) <= 1", arg=i)
    page.get_by_role("button", name="Pause").press("Enter")
    assert root.get_attribute("data-playing") == "false"
    here = root.get_attribute("data-i")
    page.wait_for_timeout(400)
    assert root.get_attribute("data-i") == here
    assert visited.trouble == []

"""Chapter 08's figure: networks side by side from the same noise, by torch and in Chromium."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import lab_page
from fewsteps import checkpoints, export, samplers, schedules, spectra, trained, widgets
from fewsteps.errors import ParameterError
from fewsteps.widgets.sampling import gaussians
from fewsteps.widgets.slim import COUNT
from lab_page import ORT
from test_sampling_lab import parity, phase

NETWORKS = {"large": "mnist", "small": "fashion"}
GATES = [
    {
        "layer": layer,
        "times": [50.0, 5.0, 0.5, 0.05],
        "mean": [[0.1 * k, 0.5, 0.25, 0.9] for k in range(4)],
        "spread": [[0.01] * 4] * 4,
    }
    for layer in ("down 1", "up 1")
]
SPECTRUM = ([k / 64 for k in range(1, 33)], [0.1 / k**2 for k in range(1, 33)])


def lab(**given):
    given = {"networks": NETWORKS, "gates": GATES, "spectrum": SPECTRUM, "macs": {"large": 20_000_000}} | given
    return widgets.SlimLab(**given)


def test_both_networks_walk_from_the_same_noise():
    """SD-8: DDIM of the library itself, from the page's own numbers."""
    figure = lab(steps=4, seed=9, label=2)
    for called, name in NETWORKS.items():
        model, schedule = trained.load(name), schedules.VE()
        z = torch.from_numpy(gaussians(COUNT * 1024, 9)).reshape(COUNT, 1, 32, 32).float()
        with torch.inference_mode():
            wanted = samplers.last(
                samplers.ddim(
                    model.denoiser(schedule),
                    schedule.t_max * z,
                    schedules.karras(schedule, 4, rho=7.0),
                    noise=samplers.white_noise(0),
                    cond=torch.full((COUNT,), 2),
                )
            )
        steps = list(figure.walk(called))
        assert len(steps) == 4 and all(seconds > 0 for _, seconds in steps)
        torch.testing.assert_close(steps[-1][0].x, wanted)


def test_the_page_counts_power_as_python_does():
    """SD-1: the same rings, and the same means over them."""
    images = np.random.default_rng(0).normal(size=(3, 2, 16, 16))
    [page] = parity("sampling.js", [["ringPower", {"f64": images.ravel().tolist()}, 16]])
    np.testing.assert_allclose(page, spectra.radial_power(torch.from_numpy(images)), rtol=1e-10)


def test_the_gates_that_are_read_are_those_at_the_nearest_noise():
    assert parity("slim_lab.js", [["nearest", [50.0, 5.0, 0.5], at] for at in (1000.0, 16.0, 15.0, 0.6)]) == [
        0,
        0,
        1,
        2,
    ]


def test_the_figure_names_the_weights_that_are_there():
    said = lab().setting["networks"]
    assert [entry["file"] for entry in said] == [export.file_name(checkpoints.card(name)) for name in NETWORKS.values()]
    assert said[0]["macs"] == 20_000_000 and said[1]["macs"] is None
    assert '"file": "mnist-' in json.dumps(lab().setting)  # by which the book finds what it has to export


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"networks": {"one": "mnist"}}, "networks must name two or 3 checkpoints, not 1"),
        ({"networks": {"one": "mnist", "two": "cifar10"}}, "networks must make images of one size"),
        ({"networks": {"one": "mnist", "two": "mnist-ncsn"}}, "EDM's preconditioning"),
        ({"gates": []}, "gates must hold at least one layer"),
        ({"layer": "down 9"}, "layer must be one of down 1, up 1, not 'down 9'"),
        ({"noise": 0.01}, "noise must be a number of at least 0.05 and at most 50"),
        ({"steps": 61}, "steps must be an integer from 2 to 60"),
        ({"label": 10}, "label must be an integer from -1 to 9"),
    ],
)
def test_bad_input_is_one_sentence(given, words):
    with pytest.raises(ParameterError, match=words):
        lab(**given)


@pytest.mark.browser
def test_networks_run_side_by_side_in_the_page(tmp_path, visit):
    """SD-8: nothing is fetched before the button; images are torch's; the time of each network is told."""
    if not ORT.is_dir():
        pytest.skip("no node_modules (make setup brings it): that networks run side by side was NOT tested")
    networks = {"large": "digits", "small": "digits"}  # one small file to export; the page loads it twice
    figure = lab(networks=networks, steps=3, seed=5, label=4)
    models = lab_page.with_runtime(tmp_path)
    command = [sys.executable, "-m", "fewsteps.cli", "export", "digits", "--out", str(models)]
    subprocess.run(command, check=True, capture_output=True)
    traits = ("setting", "layer", "noise", "steps", "seed", "label")
    lab_page.write(tmp_path, "slim_lab.js", {name: getattr(figure, name) for name in traits})
    visited, asked = lab_page.opened(visit, tmp_path)
    page = visited.page
    page.wait_for_timeout(300)
    assert not asked
    page.locator(".fs-go").click()
    phase(page, "done")
    assert {entry["file"] for entry in figure.setting["networks"]} <= set(asked)
    for made, called in zip(lab_page.shown(page, COUNT), networks, strict=True):
        *_, (end, _) = figure.walk(called)
        assert np.abs(made - 255 * trained.to_images(end.x, schedules.VE())[:, 0].numpy()).max() <= 0.51
    words = page.locator(".fs-strips figcaption").all_text_contents()
    assert words[0].startswith("large: 0.19 million parameters, 20 million multiply-adds an image; ")
    assert all("ms per image and call here" in said for said in words)
    assert "small" in page.locator(".fs-summary").text_content()
    page.locator("input[data-name=noise]").evaluate(
        "i => { i.value = Math.log10(0.5); i.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    page.wait_for_function("() => document.querySelector('.fs-summary').textContent.includes('LL 0.20 ± 0.01')")
    assert page.locator(".fs-lab").get_attribute("data-phase") == "done"
    assert visited.trouble == []

"""The front end's mathematics under Node, number by number against Python."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fewsteps import schedules as sch
from fewsteps import spectra, widgets, wiener
from fewsteps.figures import readable
from fewsteps.widgets.bundle import HERE, bundle

TESTS = Path(__file__).parent
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
RNG = np.random.default_rng(20261121)


def run(module, calls):
    """Call functions of a front-end module in one Node process."""
    assert NODE, "node is missing; make setup brings it"
    job = json.dumps({"module": str(HERE / module), "calls": calls})
    done = subprocess.run(
        [NODE, str(TESTS / "parity.mjs")], input=job, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def agree(module, calls, expected):
    """Every result within 1e-9 relative of what Python says."""
    results = [np.asarray(entry["result"], dtype=float) for entry in run(module, calls)]
    for call, mine, theirs in zip(calls, results, expected, strict=True):
        np.testing.assert_allclose(mine, np.asarray(theirs, dtype=float), rtol=1e-9, atol=0, err_msg=str(call)[:200])


def test_fft_matches_torch():
    """SD-1: the page's DFT, forward and back, against torch's, on random complex images."""
    for n in (1, 2, 8, 32):
        image = RNG.normal(size=(2, n, n))
        job = [
            ["fft2", {"f64": image[0].ravel().tolist()}, {"f64": image[1].ravel().tolist()}, n, back]
            for back in (False, True)
        ]
        for entry, transform in zip(run("fft.js", job), (np.fft.fft2, np.fft.ifft2), strict=True):
            expected = transform(image[0] + 1j * image[1], norm="ortho")
            mine = np.array(entry["arrays"][0]) + 1j * np.array(entry["arrays"][1])
            assert np.abs(mine.reshape(n, n) - expected).max() < 1e-12 * max(1, np.abs(expected).max())
    [entry] = run("fft.js", [["squaredRadius", 16]])
    assert np.array_equal(np.array(entry["result"]).reshape(16, 16), ((spectra.radius((16, 16)) * 16) ** 2).round())


def test_wiener_matches_python():
    """SD-1: both responses in all four forms."""
    power = np.exp(RNG.normal(size=40) * 5)
    shares = RNG.uniform(1e-4, 1 - 1e-4, size=40)
    calls, expected = [], []
    for s, ab in zip(power, shares, strict=True):
        tensor = torch.tensor(s, dtype=torch.float64)
        for form in wiener.FORMS:
            gain = wiener.reconstruction_response(tensor, float(ab), form=form)
            calls.append(["noiseResponse", s, ab, form])
            expected.append(wiener.noise_response(tensor, float(ab), form=form))
            if form in ("correct", "squared"):  # the others cross zero, where a relative error means nothing
                calls.append(["reconstructionResponse", s, ab, form])
                expected.append(gain)
    agree("wiener.js", calls, expected)
    printed = [
        ["reconstructionResponse", s, ab, form]
        for s, ab in zip(power, shares, strict=True)
        for form in ("printed", "caption")
    ]
    for call, entry in zip(printed, run("wiener.js", printed), strict=True):
        gain = wiener.reconstruction_response(torch.tensor(call[1], dtype=torch.float64), call[2], form=call[3])
        assert abs(entry["result"] - float(gain)) <= 1e-9 * (1 + abs(float(gain)))


def test_power_law_of_the_page_has_the_photographs_variance():
    """SD-1: the amplitude that the page computes gives the variance it was asked for, over the grid of Python."""
    n, exponent, variance = 32, 2.3, 0.37
    radii = spectra.radius((n, n)).flatten()
    squared = ((radii * n) ** 2).round().tolist()
    [amplitude] = run("wiener.js", [["amplitudeFor", exponent, variance, squared, n]])
    power = amplitude["result"] * radii[1:] ** -exponent
    assert abs(float(power.sum()) / n**2 / variance - 1) < 1e-9
    [half] = run("wiener.js", [["halfFrequency", amplitude["result"], exponent, 0.3]])
    at = torch.tensor(amplitude["result"] * half["result"] ** -exponent, dtype=torch.float64)
    assert abs(float(wiener.reconstruction_response(at, 0.3)) - 0.5) < 1e-9


def test_schedules_match_python():
    """PX-1, PX-2, PX-11: every curve of chapter 03 on random pixels, times and gammas."""
    calls, expected = [], []
    for _ in range(60):
        x, t, gamma = RNG.uniform(sch.PIXEL_MIN, 1), RNG.uniform(0.01, 1), float(np.exp(RNG.uniform(-0.7, 4)))
        x0 = torch.tensor(x, dtype=torch.float64)
        steps = int(RNG.integers(1, 1000))
        pixel = sch.PixelAware(x0, gamma)
        printed = sch.PixelAware(x0, gamma, form="printed", steps=steps)
        calls += [
            ["pixelAlphaBar", x, t, gamma],
            ["pixelAlphaBar", x, t, gamma, steps],
            ["pixelSnr", x, t, gamma],
            ["pixelSnr", x, t, gamma, steps],
            ["timeToSnr", x, 0.01, gamma],
            ["vpLinearAlphaBar", t],
            ["cosineAlphaBar", t * 0.999],
            ["veSigma", t],
        ]
        expected += [
            pixel.alpha_bar(t),
            printed.alpha_bar(t),
            sch.pixel_snr(x0, t, gamma),
            sch.snr(printed, t, power=x0**2),
            sch.time_to_snr(x0, 0.01, gamma),
            sch.VPLinear().alpha(t) ** 2,
            sch.VPCosine().alpha(t * 0.999) ** 2,
            0.01 * 5000**t,
        ]
    agree("snr.js", calls, [float(v) for v in expected])


def test_divergence_matches_python():
    """PX-4: KL to N(0, 1) wherever it is large enough for its digits to survive the subtraction."""
    calls, expected = [], []
    for _ in range(60):
        x, alpha_bar = RNG.uniform(sch.PIXEL_MIN, 1), RNG.uniform(1e-3, 0.999)
        schedule = sch.Discrete(torch.tensor([1 - alpha_bar], dtype=torch.float64))
        calls.append(["klToStandardNormal", x, alpha_bar])
        expected.append(float(sch.kl_to_standard_normal(schedule, torch.tensor(x, dtype=torch.float64), 1.0)))
    agree("snr.js", calls, expected)


@pytest.mark.parametrize("steps", [1, 2, 500, 1000])
def test_ddpm_matches_python(steps):
    """PX-2: the cumulative product of Fig. 2's betas."""
    agree("snr.js", [["linearAlphaBar", steps]], [sch.Discrete.linear(steps).alpha_bars])


@pytest.mark.parametrize("steps", [2, 3, 4, 9])
def test_progressive_matches_python(steps):
    """PD-1: the special schedule, smallest tie."""
    agree("snr.js", [["progressiveAlphaBar", steps]], [sch.progressive(steps).alpha_bars])


@pytest.mark.parametrize("entry", ["wiener_lab.js", "snr_lab.js"])
def test_bundles_are_self_contained(entry, tmp_path):
    """One module per laboratory: no import is left, no name is declared twice, and it has a render function."""
    source = bundle(entry)
    assert not re.search("^import ", source, re.MULTILINE)
    assert source.count("export ") == 1
    assert len(source.encode()) < 40_000, "it is stored in the page once per figure"
    (tmp_path / "lab.mjs").write_text(source)
    code = "const m = await import(process.argv[1]); if (typeof m.default.render !== 'function') process.exit(3)"
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code, str(tmp_path / "lab.mjs")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_noise_of_the_page_is_standard_normal():
    """The seeded numbers that every picture uses: moments within their standard errors, and repeatable."""
    first, again = (np.array(entry["result"]) for entry in run("kit.js", [["gaussians", 40001, 7]] * 2))
    assert np.array_equal(first, again) and len(first) == 40001
    error = 5 / np.sqrt(len(first))
    assert abs(first.mean()) < error and abs(first.var() - 1) < 1.5 * error
    assert abs((first**4).mean() - 3) < 10 * error
    assert abs(np.mean(first[:-1] * first[1:])) < error


def test_numbers_are_written_alike():
    """The page's text and the notebooks' tables write a number in the same way."""
    values = [0.0, 1.0, -0.05, 0.000123, 9999.0, 10000.0, 123456.0, -2.5e-9, 0.0999, 99.5, 1234.0]
    for digits in (2, 3):
        pages = [entry["result"] for entry in run("kit.js", [["readable", v, digits] for v in values])]
        assert pages == [readable(v, digits) for v in values]


@pytest.mark.parametrize("form", ["correct", "squared"])
def test_the_laboratory_computes_in_python_what_its_page_shows(form):
    """SD-1: `WienerLab.response`, whose power law has the photograph's variance, against the page's two functions."""
    lab = widgets.WienerLab(size=32, alpha_bar=0.3, exponent=2.4, photo=1, form=form)
    pixels = np.frombuffer(lab.photos, np.uint8).reshape(-1, 32, 32, 3)[1] / 127.5 - 1
    variance = float(pixels.var((0, 1)).mean())
    squared = ((spectra.radius((32, 32)).flatten() * 32) ** 2).round().tolist()
    [amplitude] = run("wiener.js", [["amplitudeFor", lab.exponent, variance, squared, 32]])
    frequency = torch.tensor([0.03, 0.1, 0.4], dtype=torch.float64)
    power = [amplitude["result"] * float(f) ** -lab.exponent for f in frequency]
    shown = [entry["result"] for entry in run("wiener.js", [["reconstructionResponse", p, 0.3, form] for p in power])]
    # The page has the photograph in bytes and Python has it before rounding, which moves its variance a little.
    np.testing.assert_allclose(lab.response(frequency), shown, rtol=1e-3)

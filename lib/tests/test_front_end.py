"""The front end's mathematics under Node, number by number against Python."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fewsteps import filters, spectra, theory, widgets, wiener
from fewsteps import schedules as sch
from fewsteps.errors import CheckpointError, ParameterError
from fewsteps.figures import readable
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.few_step import WHERE

TESTS = Path(__file__).parent
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
NAMES = tuple(theory.RIVALS)
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


def law_of(lab):
    """The law that the sampler itself gives, or None where it refuses the filter."""
    try:
        return lab.law(None)
    except ParameterError:
        return None


@pytest.mark.parametrize("name", NAMES)
def test_laws_match_propagate(name):
    """TDAS-7, PDS-3: each sampler's recursion in the page against one run of the sampler itself, filtered and not.

    What the page refuses, Python refuses, and the other way round.
    """
    cases, calls = [], []
    for T, where, drift, lam in itertools.product((2, 7, 40), WHERE, (False, True), (0.8, 1.3)):
        lab = widgets.FewStepLab(sampler=name, T=T, exponent=1.5, where=where, drift=drift, lam=lam, r=0.3)
        data, steps = lab.data(), lab.steps()
        schedule = data.schedule(theory.RIVALS[name].family)
        times = sch.geometric(schedule, steps)
        v, count, mask = (t.tolist() for t in (data.variance, data.rings.count, lab.filter().space.exact[0]))
        law = law_of(lab)
        at = {place: lab.filter().acts(place) for place in ("prior", "predictor", "corrector")}
        if law is None:
            law, at = lab.law(), dict.fromkeys(at, False)
        cases.append((lab, law, law_of(lab) is None))
        scales = [schedule.alpha(times).tolist(), schedule.sigma(times).tolist()]
        calls += [
            ["placement", name, where, drift],
            ["callsOf", name, steps],
            ["stepsFor", name, law.nfe],
            ["scales", "vp" if isinstance(schedule, sch.VPLinear) else "ve", 100.0, 0.02, steps],
            ["propagate", name, v, count, *scales, mask, at, drift],
            ["zoneMask", lab.setting["squared"], 64, lam, 0.3],
        ]
    results = [entry["result"] for entry in run("law.js", calls)]
    for k, (lab, law, refused) in enumerate(cases):
        place, nfe, steps, scales, variance, mask = results[6 * k : 6 * k + 6]
        given = calls[6 * k + 4]
        assert refused == ("refused" in place), (name, lab.where, lab.drift)
        assert nfe == law.nfe == theory.calls_of(name, lab.steps())
        assert steps == lab.steps() == theory.steps_for(name, nfe)
        np.testing.assert_allclose(scales["alphas"], given[4], rtol=1e-9)
        np.testing.assert_allclose(scales["sigmas"], given[5], rtol=1e-9)
        np.testing.assert_allclose(mask, given[6], rtol=1e-15)
        np.testing.assert_allclose(variance, law.variance[0], rtol=1e-9, err_msg=f"{name} {lab.T} {lab.where}")


def test_distances_and_kappa_match_python():
    """TDAS-7, TDAS-12: W2, KL, kappa, the zone mask and the power law of the page against the library."""
    ring = theory.rings(16)
    p, q = (torch.tensor(RNG.uniform(0.1, 2, len(ring.count))) for _ in range(2))
    a, b = (theory.Law(torch.zeros_like(v), v) for v in (p, q))
    total = float((q * ring.count).sum())
    given = [v.tolist() for v in (p, q, ring.count)]
    expected = [
        (theory.frechet(a, b, weights=ring.count) / total) ** 0.5,
        theory.kl(a, b, weights=ring.count) / 256,
    ]
    agree("law.js", [["relativeW2", *given], ["meanKl", *given]], expected)
    law = theory.power_law(ring, 2.3, 0.4)
    agree("law.js", [["powerLaw", ring.frequency.tolist(), given[2], 2.3, 0.4]], [law])
    place = torch.searchsorted(ring.squared, spectra.square_distance((16, 16)))
    radii = (ring.squared / 2).sqrt() / 16
    agree("law.js", [["kappa", given[0], given[2]]], [spectra.kappa(p[place], radii)])
    mask = filters.zone_mask((16, 16), 0.7, 0.35)
    [mine] = run("law.js", [["zoneMask", ring.squared.tolist(), 16, 0.7, 0.35]])
    assert np.array_equal(np.array(mine["result"])[place], mask)


def test_budgets_are_kept():
    """Network calls paid for never exceed those asked for, and steps and calls are each other's inverse."""
    asked = [(name, nfe) for name in NAMES for nfe in (7, 10, 51, 200, 1000)]
    steps = [entry["result"] for entry in run("law.js", [["stepsFor", *pair] for pair in asked])]
    calls = [
        entry["result"] for entry in run("law.js", [["callsOf", a[0], s] for a, s in zip(asked, steps, strict=True)])
    ]
    again = [
        entry["result"] for entry in run("law.js", [["stepsFor", a[0], c] for a, c in zip(asked, calls, strict=True)])
    ]
    assert again == steps
    assert all(c <= a[1] for a, c in zip(asked, calls, strict=True))


@pytest.mark.parametrize(
    "entry",
    [
        "wiener_lab.js",
        "bias_lab.js",
        "snr_lab.js",
        "few_step_lab.js",
        "steps_lab.js",
        "sampling_lab.js",
        "tdas_lab.js",
        "pds_lab.js",
        "board_lab.js",
        "errata_lab.js",
        "slim_lab.js",
        "semantic_lab.js",
        "pixel_lab.js",
        "one_pass_lab.js",
    ],
)
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


def test_the_gallerys_laboratory_shows_what_the_sampler_does():
    """Its last prediction is the finished image, its levels fall, and the page's summary is the mean of logarithms."""
    lab = widgets.StepsLab(("digits",), steps=6)
    run_of = lab.runs["digits"]
    assert np.allclose(run_of["share"][-1], 1, atol=1e-3)
    assert run_of["level"] == sorted(run_of["level"], reverse=True) and len(run_of["clean"]) == 6
    lab.step = 2
    frequency, share = lab.spectrum()
    assert share == run_of["share"][1] and len(frequency) == len(share)
    [low, high] = run("steps_lab.js", [["factor", share, 0, 0.25], ["factor", share, 0.75, 1]])
    count = len(share)
    assert low["result"] == pytest.approx(np.exp(np.log(share[: -(-count // 4)]).mean()))
    assert high["result"] == pytest.approx(np.exp(np.log(share[count * 3 // 4 :]).mean()))


def test_the_gallerys_laboratory_refuses_what_is_not_there():
    with pytest.raises(ParameterError, match="at least one checkpoint"):
        widgets.StepsLab(())
    with pytest.raises(CheckpointError, match="no checkpoint is called 'imagenet'"):
        widgets.StepsLab(("imagenet",))
    with pytest.raises(ParameterError, match="network must be one of digits"):
        widgets.StepsLab(("digits",), steps=2, network="mnist")

"""The frequency-bias toy: its data, its measures, its networks, and the table that ships with it."""

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from fewsteps import results, widgets
from fewsteps.denoisers import Empirical, FromEps, FromX0
from fewsteps.errors import ParameterError
from fewsteps.experiments.frequency_bias import Setting, magnitudes, recovered, row, sample, signals, train
from fewsteps.networks import SignalNet
from fewsteps.schedules import Discrete
from fewsteps.widgets.bundle import bundle
from test_front_end import run
from tool_module import tool_module

ROOT = Path(__file__).resolve().parents[2]
SMALL = Setting(width=8, length=12, iterations=20, batch=16, seeds=2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def wave(k, amplitude=1.0, phase=0.0, length=32):
    """One signal in the shape that the measures take, (1, 1, length)."""
    return (amplitude * torch.cos(2 * math.pi * k * torch.arange(length) / length + phase))[None, None]


@pytest.mark.parametrize("majority", [3, 5])
@pytest.mark.parametrize("phase", ["fixed", "random"])
def test_signals_have_two_frequencies_in_the_papers_shares(majority, phase):
    """SD-2: clean cosines of amplitude 1, four in five of them the majority, and phases only where asked for."""
    setting = Setting(majority=majority, phase=phase, seeds=4)
    x = signals(setting, 2000, generator())
    assert x.shape == (2000, 4, 32)
    shares = [recovered(x, k) for k in (majority, setting.minority)]
    torch.testing.assert_close(sum(shares), torch.ones(4))
    assert ((shares[0] - 0.8).abs() < 4 * math.sqrt(0.8 * 0.2 / 2000)).all()
    torch.testing.assert_close(magnitudes(x).amax(-1), torch.ones(2000, 4))
    if phase == "fixed":
        torch.testing.assert_close(x[..., 0], torch.ones(2000, 4))
    else:
        # The phase is uniform: the first sample is a cosine of it, with mean 0 and variance 1/2.
        assert abs(float(x[..., 0].mean())) < 4 * math.sqrt(0.5 / 8000)
        assert abs(float(x[..., 0].var()) - 0.5) < 0.05


@pytest.mark.parametrize("length", [12, 31, 32])
def test_a_clean_signal_has_magnitude_one_at_its_frequency(length):
    """SD-2: also at frequency 0 and at the highest, where a naive factor would give 2."""
    for k in range(length // 2 + 1):
        spectrum = magnitudes(wave(k, length=length))[0, 0]
        expected = torch.zeros(length // 2 + 1)
        expected[k] = 1
        torch.testing.assert_close(spectrum, expected, atol=1e-5, rtol=0)


CASES = {
    "clean": (wave(3), True),
    "any phase": (wave(3, phase=1.3), True),
    "other frequency": (wave(5), False),
    "too weak": (wave(3, 0.45), False),
    "just strong enough": (wave(3, 0.55), True),
    "too strong": (wave(3, 1.6), False),
    "half and half": (wave(3, 0.7) + wave(5, 0.7), False),
    "a fifth of the power elsewhere": (wave(3, 0.9) + wave(5, 0.44), True),
    "a little more than a fifth": (wave(3, 0.9) + wave(5, 0.46), False),
    "offset": (wave(3) + 0.6, False),
    "nothing": (wave(3, 0.0), False),
}


@pytest.mark.parametrize("name", CASES)
def test_what_counts_as_recovered(name):
    """SD-2: 80 % of the power at the frequency, and an amplitude between 1/2 and 3/2."""
    x, expected = CASES[name]
    assert bool(recovered(x, 3)) is expected


def test_the_page_counts_as_python_does():
    """SD-2: the laboratory colours its eight signals by the same rule, on the cases and on every signal shipped."""
    calls, expected = [], []
    for x, _ in CASES.values():
        for k in (3, 5):
            calls.append(["isCosine", x.flatten().tolist(), k])
            expected.append(bool(recovered(x, k)))
    for entry in results.read("frequency_bias")["rows"][::7]:
        for signal in entry["signals"]:
            calls.append(["isCosine", signal, 3])
            expected.append(bool(recovered(torch.tensor(signal)[None, None], 3)))
    assert [entry["result"] for entry in run("bias_lab.js", calls)] == expected
    words = run("bias_lab.js", [["inPercent", [0.1, 0.2, 0.3]], ["inPercent", [0, 0]]])
    assert [entry["result"] for entry in words] == ["20 % (10 to 30 %)", "0 % (the same in all)"]


def test_recovered_is_per_seed():
    """SD-2: one number for each network, over its own signals."""
    x = torch.cat((torch.cat((wave(3), wave(5)), 1), torch.cat((wave(3), wave(3)), 1)))
    assert recovered(x, 3).tolist() == [1.0, 0.5]
    assert recovered(x, 5).tolist() == [0.0, 0.5]


def test_copies_of_the_network_are_independent():
    """SD-2: no copy sees another's input, and no copy's loss moves another's weights."""
    network = SignalNet(12, 8, 3, generator=generator())
    x, t = torch.randn(5, 3, 12, generator=generator(1)), torch.rand(5, generator=generator(2))
    other = x.clone()
    other[:, 1] += 1
    changed = (network(x, t) != network(other, t)).flatten(2).any(-1).any(0)
    assert changed.tolist() == [False, True, False]
    network(x, t)[:, 1].square().sum().backward()
    for name, weights in network.named_parameters():
        moved = weights.grad.flatten(1).abs().sum(1) > 0
        assert moved.tolist() == [False, True, False], name
    assert len({float(w.sum()) for w in network.inward.detach()}) == 3


def test_training_can_be_repeated_and_learns():
    """SD-2: one seed, one network; another seed, another; and the loss falls."""
    x, t = torch.randn(4, 2, 12, generator=generator()), 300.0
    first, again, other = (train(SMALL, s).mean(x, t) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    setting = replace(SMALL, prediction="x0", width=32, rate=3e-3)
    x0, eps = signals(setting, 256, generator(5)), torch.randn(256, 2, 12, generator=generator(6))
    schedule = Discrete.linear(1000)
    noisy = schedule.alpha(300.0) * x0 + schedule.sigma(300.0) * eps
    models = [train(replace(setting, iterations=n)) for n in (1, 150)]
    before, after = (float((model.mean(noisy, 300.0) - x0).detach().square().mean()) for model in models)
    assert after < before / 2


def test_progress_wraps_the_iterations():
    """SD-2: the bar of the page sees as many as were asked for."""
    seen = []
    train(SMALL, progress=lambda steps: (seen.append(k) or k for k in steps))
    assert seen == list(range(SMALL.iterations))


def test_a_prediction_becomes_a_mean_as_it_was_trained():
    """SD-2: said eps gives (x - sigma eps) / alpha, said x0 is the mean, for weights drawn alike."""
    x, t = torch.randn(4, 2, 12, generator=generator()), 400.0
    models = {p: train(replace(SMALL, prediction=p)) for p in ("eps", "x0")}
    assert isinstance(models["eps"], FromEps) and isinstance(models["x0"], FromX0)
    schedule = models["eps"].schedule
    for p, model in models.items():
        said = model.network(x, torch.full((4,), t / 1000))
        expected = (x - schedule.sigma(t) * said) / schedule.alpha(t) if p == "eps" else said
        torch.testing.assert_close(model.mean(x, t), expected, atol=1e-5, rtol=1e-4)


def test_the_sampler_keeps_the_shares():
    """SD-2: with the exact denoiser of the data nothing is lost, so what networks lose is their own."""
    setting = Setting(seeds=1)
    data = torch.cat((wave(3),) * 4 + (wave(5),))
    x = sample(Empirical(Discrete.linear(1000), data), setting, clip=False, count=1000)
    assert abs(float(recovered(x, 3)) - 0.8) < 4 * math.sqrt(0.16 / 1000)
    assert abs(float(recovered(x, 5)) - 0.2) < 4 * math.sqrt(0.16 / 1000)


def test_clipping_bounds_what_is_made():
    """SD-2: the last step is the mean itself, so with clipping no value leaves the range of the data."""
    model = train(SMALL)
    assert float(sample(model, SMALL, clip=False, count=8).abs().max()) > 1
    clipped = sample(model, SMALL, clip=True, count=8)
    assert clipped.shape == (8, 2, 12) and float(clipped.abs().max()) <= 1


@pytest.fixture(scope="module")
def table():
    return results.read("frequency_bias")["rows"]


def tool():
    """The tool as a module."""
    return tool_module("sweep_toy")


def test_the_table_holds_every_setting_once_with_and_without_clipping(table):
    """SD-2: clipping was decided in advance: both outcomes of every run are shipped."""
    names = ("clip", *asdict(Setting()))
    found = sorted(json.dumps([r[name] for name in names]) for r in table)
    wanted = sorted(json.dumps([clip, *asdict(s).values()]) for s in tool().settings() for clip in (False, True))
    assert found == wanted


def test_a_rerun_has_the_form_of_the_table(table):
    """SD-2: the shortest setting, run briefly, gives the same keys and lengths, and shares between 0 and 1."""
    smallest = min(tool().settings(), key=lambda s: (s.width, s.length))
    setting = replace(smallest, iterations=5)
    made = row(setting, sample(train(setting), setting, clip=True, count=10), clip=True)
    shipped = next(r for r in table if all(r[k] == v for k, v in asdict(smallest).items()) and r["clip"])
    assert list(made) == list(shipped)
    for key, value in shipped.items():
        assert type(made[key]) is type(value), key
        if isinstance(value, list):
            assert len(made[key]) == len(value), key
    assert json.loads(json.dumps(made)) == made


def test_the_table_is_consistent_with_itself(table):
    """SD-2: no signal is two things at once, what is clipped stays in range, and nothing is not a number."""
    for r in table:
        assert r["samples"] == 300 and r["seeds"] == 5 and r["iterations"] in (4000, 16000)
        assert len(r["mean_magnitude"]) == r["length"] // 2 + 1
        for m, rare in zip(r["majority_recovered"], r["minority_recovered"], strict=True):
            assert min(m, rare) >= 0 and m + rare <= 1 + 1e-4
        if r["clip"]:
            assert max(abs(v) for signal in r["signals"] for v in signal) <= 1
            assert max(r["spread"]) <= 1
        numbers = [*r["spread"], *r["mean_magnitude"], *(v for signal in r["signals"] for v in signal)]
        assert all(math.isfinite(v) for v in numbers)


def test_the_verdict_of_the_chapter_holds_in_the_table(table):
    """SD-2: what chapter 02 says in words, so that a new table cannot leave the words behind."""

    longer = [r for r in table if r["iterations"] == 16000]
    table = [r for r in table if r["iterations"] == 4000]

    def rare(rows=table, **wanted):
        chosen = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
        return [v for r in chosen for v in r["minority_recovered"]]

    paper = {"prediction": "eps", "phase": "fixed", "length": 32}
    for majority in (3, 5):  # whichever of the two is rare
        assert max(rare(**paper, width=64, majority=majority)) < 0.1
        assert min(rare(**paper, width=1024, majority=majority)) > 0.15
    for width in (16, 64, 256, 1024):
        assert max(rare(prediction="x0", phase="fixed", length=32, width=width)) < 0.1
        assert max(rare(phase="random", length=32, width=width)) < 0.1
    short = [r for r in table if r["length"] == 64 and r["width"] == 64 and r["clip"]]
    assert (
        max(v for r in short for v in r["majority_recovered"]) < 0.3 and min(rare(length=64, width=64, clip=True)) > 0.1
    )
    assert max(rare(length=128, width=64)) == 0
    # four times the training gives back all but what the narrow network loses predicting the noise
    assert max(rare(longer, width=64, prediction="eps")) < 0.1
    assert min(rare(longer, prediction="x0")) > 0.15
    assert min(rare(longer, phase="random")) > 0.1
    keys = ("width", "prediction", "phase", "clip", "length")
    for a in table:
        twins = [b for b in table if b["majority"] == 5 and all(a[k] == b[k] for k in keys)]
        for key in ("majority_recovered", "minority_recovered"):
            assert max(a[key]) >= min(twins[0][key]) and max(twins[0][key]) >= min(a[key]), (a["width"], key)


BAD = {
    "Setting(majority=4)": "majority must be one of 3, 5, not 4.",
    "Setting(majority='3')": "majority must be one of 3, 5, not '3'.",
    "Setting(prediction='v')": "prediction must be one of eps, x0, not 'v'.",
    "Setting(phase='none')": "phase must be one of fixed, random, not 'none'.",
    "Setting(length=11)": "length must be an integer of at least 12, not 11.",
    "Setting(iterations=0)": "iterations must be an integer of at least 1, not 0.",
    "train(Setting(width=0))": "width must be an integer of at least 1, not 0.",
    "train(Setting(width=2.5))": "width must be an integer of at least 1, not 2.5.",
    "train(Setting(), -1)": "seed must be an integer from 0 to 9223372036854775807, not -1.",
}


def test_bad_settings_are_refused_in_one_sentence():
    """SD-2: before anything is trained; in a fresh interpreter, where the tests' type checks do not come first."""
    program = f"""
import json
from fewsteps.errors import ParameterError
from fewsteps.experiments.frequency_bias import Setting, train
said = {{}}
for code in {list(BAD)!r}:
    try:
        eval(code)
    except ParameterError as error:
        said[code] = str(error)
print(json.dumps(said))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == BAD


def test_the_laboratory_shows_rows_of_the_table(table):
    """SD-2: every position of its controls is one row, and no position lies outside."""
    lab = widgets.BiasLab(width=1024, majority=5, prediction="x0", phase="random", clip=True)
    assert lab.row() == next(r for r in table if [r[k] for k in ("length", "clip")] == [32, True] and r == lab.row())
    assert [lab.row()[k] for k in ("width", "majority", "prediction", "phase", "clip")] == lab.rows[
        [r["key"] for r in lab.rows].index([1024, 5, "x0", "random", True])
    ]["key"]
    assert len(lab.rows) == len({json.dumps(r["key"]) for r in lab.rows}) == 4 * 2 * 2 * 2 * 2
    assert len(json.dumps(lab.rows)) < 120_000, "it is stored in the page"
    for name, value in (("width", 128), ("majority", 4), ("prediction", "v"), ("phase", "no"), ("clip", 3)):
        with pytest.raises(ParameterError, match=f"^The '{name}' trait of a BiasLab"):
            widgets.BiasLab(**{name: value})
    source = bundle("bias_lab.js")
    assert len(source.encode()) < 40_000 and source.count("export ") == 1

"""What is left of a class under noise: readers against laws whose answer is known, intervals and verdicts by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from fewsteps import data, samplers, schedules, trained
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import meaning
from fewsteps.experiments.meaning import Left


def two_classes(count=400):
    """Images of one pixel, -a or a in [-1, 1], as (images in [0, 1], labels)."""
    labels = torch.arange(count) % 2
    return (0.2 + 0.6 * labels.float())[:, None, None, None], labels


def test_all_images_weighed_are_bayes_on_two_points():
    """PD-1: the best reader of a sign under noise is right with probability Phi(a alpha / sigma)."""
    images, labels = two_classes(4000)
    reader = meaning.by_images(images[:2], labels[:2])
    for snr in (10.0, 1.0, 0.1):
        share = float(meaning.hits(reader, images, labels, snr, seeds=(0, 1)).mean())
        wanted = float(torch.special.ndtr(torch.tensor(0.6 * math.sqrt(snr))))
        assert share == pytest.approx(wanted, abs=4 * math.sqrt(wanted * (1 - wanted) / 8000))


def test_nothing_is_lost_without_noise_and_nothing_is_left_of_it():
    """PD-1: on real digits, by every reader."""
    known, unseen = (data.load("digits", split, 8) for split in ("train", "test"))
    images, labels = unseen.images[:120], unseen.labels[:120]
    model, classifier = trained.load("digits"), trained.load("digits-classifier").network
    clean = meaning.seen(classifier, images, labels)
    end = float(meaning.ratios(schedules.stepped(2, "common"))[-1])
    with torch.no_grad():
        for reader, least in (
            (meaning.by_mean(model, classifier), 0.97),
            (meaning.by_images(known.images, known.labels), 0.93),
            (meaning.by_draw(model, classifier, 3), 0.9),
        ):
            first, last = meaning.curve(reader, images, labels, (1e4, end), (0,), clean)
            assert first.value >= least and first.low <= first.value <= first.high
            assert last.value < 0.12 and last.accuracy < 0.25


def test_what_is_left_by_hand():
    """PD-1: accuracy above guessing over that of clean images; resampled images are the same in both."""
    labels = torch.tensor([0] * 50 + [1] * 50)
    clean = torch.tensor([1.0] * 90 + [0.0] * 10).double()
    now = torch.tensor([1.0] * 70 + [0.0] * 30).double()
    found = meaning.left(now, clean, labels, 0.3, draws=2000)
    assert found.value == pytest.approx((0.7 - 0.5) / (0.9 - 0.5)) and found.accuracy == pytest.approx(0.7)
    assert found.low < found.value < found.high
    assert meaning.percent(Left(0.1, 0.5, 0.914, -0.021, 0.96)) == "91% (−2% to 96%)"
    same = meaning.left(clean, clean, labels, 0.3)
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1))  # or the images' own spread would count


def entry(snr, low, high):
    return Left(snr, 0.5, (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((0.92, 0.98), (-0.05, 0.03), "holds"),
        ((0.80, 0.88), (-0.05, 0.03), "does not hold"),
        ((0.86, 0.94), (-0.05, 0.03), "cannot be told"),
        ((0.92, 0.98), (0.15, 0.20), "does not hold"),
        ((0.92, 0.98), (0.05, 0.20), "cannot be told"),
    ],
)
def test_the_verdict_is_of_the_last_two_steps(before, after, verdict):
    """PD-1."""
    process = schedules.stepped(2, "special")
    one, two = meaning.ratios(process)
    found = [entry(100, 1, 1), entry(one * (1 + 1e-6), *before), entry(two, *after)]
    judged = meaning.judge(found, process)
    assert judged.verdict == verdict and judged.before.snr == pytest.approx(one)
    with pytest.raises(ParameterError, match=r"found must hold the signal-to-noise ratio 4\.3"):
        meaning.judge(found[:2], process)


def test_the_better_reader_counts_at_every_ratio():
    found = meaning.best(
        {"a": [entry(1, 0.7, 0.9), entry(0.1, 0.1, 0.3)], "b": [entry(1, 0.5, 0.7), entry(0.1, 0.4, 0.5)]}
    )
    assert [(e.snr, e.value) for e in found] == [(1, pytest.approx(0.8)), (0.1, pytest.approx(0.45))]


def test_every_schedule_is_judged_on_every_data_set():
    """PD-1: by the better reader, in the table's words."""
    kept = [entry(snr, 0.95 if snr > 0.2 else 0.0, 1.0 if snr > 0.2 else 0.05) for snr in meaning.grid(9)]
    blind = [entry(snr, 0, 0) for snr in meaning.grid(9)]
    columns, lines, notes = meaning.table({"made up": {"mean": kept, "images": blind}})
    assert [line[:2] for line in lines] == [["made up", called] for called in meaning.processes()]
    said = {line[1]: line[-1] for line in lines}
    assert said["special, T = 2"] == "holds" and said["common, T = 2"] == "does not hold"
    assert all(len(line) == len(columns) for line in lines)
    assert notes.startswith("- **made up**: half of the class is gone at an SNR of ")


def test_half_is_found_between_two_ratios():
    found = [entry(10, 0.9, 0.9), entry(1, 0.75, 0.75), entry(0.01, 0.25, 0.25)]
    assert meaning.halfway(found) == pytest.approx(0.1)
    assert meaning.halfway(found[:2]) is None


def test_ratios_are_those_of_the_schedule():
    """PD-1: alpha_bar over 1 - alpha_bar; steps that two schedules share are asked for once."""
    process = schedules.stepped(4, "special")
    wanted = [float((process.alpha(t) / process.sigma(t)) ** 2) for t in range(1, 5)]
    assert meaning.ratios(process) == pytest.approx(wanted)
    at = meaning.grid(5)
    assert all(b / a < 1 - 1e-5 for a, b in pairwise(at))
    for each in meaning.processes().values():
        assert all(min(abs(snr / a - 1) for a in at) < 1e-4 for snr in meaning.ratios(each))


def test_exact_draws_refine_where_the_state_says_the_class():
    """PD-2: two far points are told by x_1, and every walk stays; near ones are not, and half are decided anew."""
    images, labels = torch.tensor([0.0, 1.0]).repeat_interleave(64).reshape(2, 1, 8, 8), torch.tensor([0, 1])
    for kind, low, high in (("special", 1.0, 1.0), ("common", 0.9, 1.0)):
        first, last = meaning.refined(images, labels, schedules.stepped(2, kind), 200, samplers.white_noise(0))
        assert low <= float((first == last).double().mean()) <= high and 0.3 < float(first.double().mean()) < 0.7
    faint = 0.5 + 0.02 * (images - 0.5)
    first, last = meaning.refined(faint, labels, schedules.stepped(2, "common"), 400, samplers.white_noise(0))
    assert 0.4 < float((first == last).double().mean()) < 0.6


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, y: meaning.hits(lambda *_: y, x, y, 0.0), ParameterError, "snr must be a number above 0, not 0"),
        (lambda x, y: meaning.hits(lambda *_: y, x, y, 1.0, ()), ParameterError, "seeds must hold at least one"),
        (lambda x, y: meaning.hits(lambda *_: y, x, y[:3], 1.0), ShapeError, r"must be \(N, C, H, W\) and \(N,\)"),
        (lambda x, y: meaning.by_images(x, y[:3]), ShapeError, r"must be \(N, C, H, W\) and \(N,\)"),
        (lambda x, y: meaning.by_draw(trained.load("digits"), None, 0), ParameterError, "steps must be an integer of"),
    ],
)
def test_bad_input_is_one_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call(*two_classes(8))

"""What is left of an image's class under noise: at which step of a schedule the meaning is lost.

The paper takes a signal-to-noise ratio of .1 for the place where semantics are destroyed. Here the class of an image is
its meaning, which can be counted: readers say the class from x_t alone, and what they get right above guessing is what
is left. Three readers err in different ways. A classifier on the posterior mean is nearly the best that can be done
where the denoiser is good; a classifier on a DRAW of x0 given x_t is what a generator makes of x_t that is told nothing
else; and all training images, each weighed by how likely it is to have become x_t, need no network at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fewsteps import figures, results, samplers, schedules
from fewsteps.denoisers import Empirical
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number
from fewsteps.samplers.walk import Noise
from fewsteps.schedules import VE, Discrete, VPLinear
from fewsteps.trained import Trained, to_images

Reader = Callable[[Tensor, float, Noise], Tensor]
"""From x_t (B, C, H, W) in [-1, 1] under VPLinear, the time t and noise to classes (B,)."""
BATCH = 250
STEPS = 20  # of a draw
TOLERANCE = 0.1
"""How much may be gone, or left, where the claim says none: this project's choice, as the paper names none."""
DRAWS = 500
THRESHOLD = 0.1  # the signal-to-noise ratio at which semantics die, says the paper
READERS = {
    "mean": "classifier on the posterior mean",
    "draw": "classifier on a draw of x₀",
    "images": "all training images, weighed",
}


def by_mean(model: Trained, classifier: Any) -> Reader:
    """A classifier that looks at the posterior mean of a denoiser, which is told no class.

    Notes
    -----
    Source: PD-1, section 3.1.
    """
    denoiser = model.denoiser(VPLinear())

    def read(x: Tensor, t: float, noise: Noise) -> Tensor:
        return classifier(to_images(denoiser.mean(x, t), VPLinear())).argmax(1)

    return read


def by_draw(model: Trained, classifier: Any, steps: int = STEPS) -> Reader:
    """A classifier that looks at x0 drawn given x_t, by DDPM from there on: what a generator can do without z_T.

    Parameters
    ----------
    model : Trained
    classifier : fewsteps.networks.Classifier
    steps : int
        Network calls of a draw.

    Notes
    -----
    Source: PD-2, section 3.2 (z_T is redundant where x_t holds the semantics).
    """
    integer("steps", steps, least=1)
    schedule = VPLinear()
    denoiser = model.denoiser(schedule)

    def read(x: Tensor, t: float, noise: Noise) -> Tensor:
        ratio = float(schedule.sigma(t) / schedule.alpha(t))
        levels = schedules.karras(VE(min(0.01, ratio / 2), ratio), steps)[:-1]
        times = torch.cat((torch.tensor([t]).double(), schedule.time(levels)[1:], torch.zeros(1).double()))
        drawn = samplers.last(samplers.ddpm(denoiser, x, times, noise=noise))
        return classifier(to_images(drawn, schedule)).argmax(1)

    return read


def by_images(images: Tensor, labels: Tensor) -> Reader:
    """The class that is likeliest if the data were exactly these images.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        In [0, 1].
    labels : Tensor, shape (N,)

    Raises
    ------
    ShapeError
        If there is not one label for every image.

    Notes
    -----
    Source: PD-1; TDAS-1 (the empirical law).
    """
    _require_labels(images, labels)
    law = Empirical(VPLinear(), 2 * images - 1)
    onehot = torch.nn.functional.one_hot(labels).to(images)

    def read(x: Tensor, t: float, noise: Noise) -> Tensor:
        return (law.shares(x, t).to(onehot) @ onehot).argmax(1)

    return read


def hits(reader: Reader, images: Tensor, labels: Tensor, snr: float, seeds: Sequence[int] = (0,)) -> Tensor:
    """How often the class of every image is told right, (N,): the mean over seeds of the noise.

    Parameters
    ----------
    reader : callable
    images : Tensor, shape (N, C, H, W)
        In [0, 1].
    labels : Tensor, shape (N,)
    snr : float
        alpha^2 / sigma^2 of x_t, for images in [-1, 1] as the paper has it.
    seeds : sequence of int

    Raises
    ------
    ParameterError
        If the ratio is not positive, or there is no seed.
    ShapeError
        If there is not one label for every image.

    Notes
    -----
    Source: PD-1, appendix A.
    """
    _require_labels(images, labels)
    number("snr", snr, above=0)
    if not seeds:
        raise ParameterError("seeds must hold at least one seed.")
    schedule = VPLinear()
    t = min(float(schedule.time(snr**-0.5)), schedule.t_max)
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    found = torch.zeros(len(images), dtype=torch.float64)
    for seed in seeds:
        noise = samplers.white_noise(seed)
        for rows in torch.arange(len(images)).split(BATCH):
            x = alpha * (2 * images[rows] - 1) + sigma * noise(tuple(images[rows].shape))
            found[rows] += (reader(x, t, noise) == labels[rows]).double() / len(seeds)
    return found


@dataclass(frozen=True)
class Left:
    """What is left of the class at one noise level.

    Attributes
    ----------
    snr : float
    accuracy : float
        Of the reader.
    value, low, high : float
        Accuracy above guessing, over the classifier's on clean images, with its 95 % interval over images: 1 where
        nothing is lost, 0 where nothing is left.
    """

    snr: float
    accuracy: float
    value: float
    low: float
    high: float


def left(now: Tensor, clean: Tensor, labels: Tensor, snr: float, draws: int = DRAWS) -> Left:
    """What is left, from the :func:`hits` at a noise level and those on clean images; the interval resamples images.

    Parameters
    ----------
    now, clean : Tensor, shape (N,)
    labels : Tensor, shape (N,)
        Who does not look says the most frequent one.
    snr : float
    draws : int
        Of the bootstrap; the same images in both, so that easy ones do not count as noise.

    Notes
    -----
    Source: PD-1, section 3.1.
    """
    guess = float(labels.bincount().max()) / len(labels)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(len(now), (integer("draws", draws, least=2), len(now)), generator=generator)
    ratios = (now[rows].mean(1) - guess) / (clean[rows].mean(1) - guess)
    value = float((now.mean() - guess) / (clean.mean() - guess))
    low, high = ratios.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Left(snr, float(now.mean()), value, min(low, value), max(high, value))


def ratios(process: Discrete) -> list[float]:
    """Signal-to-noise ratios of the steps 1 .. T.

    Notes
    -----
    Source: PD-1, appendix A.
    """
    bars = process.alpha_bars[1:]
    return (bars / (1 - bars)).tolist()


def curve(
    reader: Reader, images: Tensor, labels: Tensor, at: Sequence[float], seeds: Sequence[int], clean: Tensor
) -> list[Left]:
    """What is left at every signal-to-noise ratio of a list, for one reader.

    Parameters
    ----------
    reader, images, labels, seeds
        As for :func:`hits`.
    at : sequence of float
    clean : Tensor, shape (N,)
        Whether the class of every clean image is told right, see :func:`seen`: one standard for all readers.

    Notes
    -----
    Source: PD-1.
    """
    return [left(hits(reader, images, labels, snr, seeds), clean, labels, snr) for snr in at]


def seen(classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
    """Whether a classifier is right on every clean image, (N,).

    Notes
    -----
    Source: PD-1.
    """
    _require_labels(images, labels)
    return torch.cat([classifier(part).argmax(1) for part in images.split(BATCH)]).eq(labels).double()


@dataclass(frozen=True)
class Judged:
    """Whether all meaning is lost in the last step of a schedule.

    Attributes
    ----------
    verdict : {"holds", "does not hold", "cannot be told"}
    before, after : Left
        One step before the end, and at the end.
    """

    verdict: str
    before: Left
    after: Left


def judge(found: Sequence[Left], process: Discrete, tolerance: float = TOLERANCE) -> Judged:
    """Whether the last step of a schedule is where the meaning goes.

    Parameters
    ----------
    found : sequence of Left
        At the ratios of the schedule's last two steps at least.
    process : Discrete
    tolerance : float
        At T - 1 at most so much is gone, at T at most so much is left.

    Returns
    -------
    Judged
        It holds where both intervals lie within, it does not where one lies outside.

    Raises
    ------
    ParameterError
        If the ratios of the two steps are not among those found.

    Notes
    -----
    Source: PD-1, section 3.1: the semantic information is destroyed in the last step.
    """
    number("tolerance", tolerance, above=0, below=1)
    pair = []
    for snr in ratios(process)[-2:]:
        near = [entry for entry in found if math.isclose(entry.snr, snr, rel_tol=1e-4)]
        if not near:
            raise ParameterError(f"found must hold the signal-to-noise ratio {snr:.4g} of the schedule.")
        pair.append(near[0])
    before, after = pair
    if before.low >= 1 - tolerance and after.high <= tolerance:
        return Judged("holds", before, after)
    if before.high < 1 - tolerance or after.low > tolerance:
        return Judged("does not hold", before, after)
    return Judged("cannot be told", before, after)


def refined(images: Tensor, labels: Tensor, process: Discrete, count: int, noise: Noise) -> tuple[Tensor, Tensor]:
    """The two-stage sampler with exact draws of x0: class of the first drawing of each walk, and of the last.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        In [0, 1]: all that the data are.
    labels : Tensor, shape (N,)
    process : Discrete
    count : int
        Walks.
    noise : callable

    Returns
    -------
    (Tensor, Tensor), shape (count,)

    Notes
    -----
    No generator can do better than draw x0 as it is distributed given x_t. Where first and last class differ, the
    steps after the first did not refine but decide anew.

    Source: PD-2, section 3.2.
    """
    _require_labels(images, labels)
    clean = 2 * images - 1
    law = Empirical(process, clean)
    times = torch.arange(process.steps, -1, -1, dtype=torch.float64)
    run = samplers.ddgan(law, (integer("count", count, least=1), *images.shape[1:]), times, noise=noise)
    drawn = [step.x0_hat for step in run]
    first, last = (labels[torch.cdist(x.flatten(1), clean.flatten(1)).argmin(1)] for x in (drawn[0], drawn[-1]))
    return first, last


def halfway(found: Sequence[Left]) -> float | None:
    """The signal-to-noise ratio at which half of the meaning is left, between two that were read; None outside.

    Notes
    -----
    Source: PD-1, for the threshold of .1.
    """
    ordered = sorted(found, key=lambda entry: -entry.snr)
    for one, other in pairwise(ordered):
        if one.value >= 0.5 > other.value:
            share = (one.value - 0.5) / (one.value - other.value)
            return math.exp((1 - share) * math.log(one.snr) + share * math.log(other.snr))
    return None


def best(found: Mapping[str, Sequence[Left]]) -> list[Left]:
    """At every ratio the reader who is left with most: what is in x_t is at least what anybody reads out of it.

    Parameters
    ----------
    found : mapping of str to sequences of Left
        By reader. Where readers were asked at different ratios, those that were asked there count.

    Notes
    -----
    Source: PD-1, section 3.1.
    """
    every = sorted((entry for entries in found.values() for entry in entries), key=lambda entry: -entry.snr)
    kept: list[Left] = []
    for entry in every:
        if kept and math.isclose(kept[-1].snr, entry.snr, rel_tol=1e-4):
            kept[-1] = max(kept[-1], entry, key=lambda one: one.value)
        else:
            kept.append(entry)
    return kept


def table(
    found: Mapping[str, Mapping[str, Sequence[Left]]], tolerance: float = TOLERANCE
) -> tuple[list[str], list[list[str]], str]:
    """Every schedule judged on every data set, by the best of the readers, and where the threshold lies.

    Parameters
    ----------
    found : mapping of str to mappings
        By data set and reader.
    tolerance : float
        As for :func:`judge`.

    Returns
    -------
    columns : list of str
    lines : list of list of str
    notes : str
        Where half of the class is gone, a line for every data set.

    Notes
    -----
    Source: PD-1, section 3.1.
    """
    columns = ["data", "schedule", "SNR at T − 1", "left at T − 1", "left at T", "all meaning is lost in the last step"]
    lines, notes = [], []
    for name, readers in found.items():
        every = best(readers)
        for called, process in processes().items():
            one = judge(every, process, tolerance)
            both = (percent(one.before), percent(one.after))
            lines.append([name, called, figures.readable(one.before.snr), *both, one.verdict])
        half, near = halfway(every), min(every, key=lambda entry: abs(entry.snr - THRESHOLD))
        gone = "nowhere here" if half is None else f"at an SNR of {figures.readable(half)}"
        notes.append(
            f"- **{name}**: half of the class is gone {gone}; at {THRESHOLD:g}, {near.value:.0%} of it is left."
        )
    return columns, lines, "\n".join(notes)


def measured() -> list[dict[str, Any]]:
    """Rows of ``tools/measure_meaning.py``; none before it has run.

    Raises
    ------
    DataError
        If the table is damaged.
    """
    return results.read("class_under_noise")["rows"] if (results.FOLDER / "class_under_noise.json").exists() else []


def entries(row: Mapping[str, Any]) -> list[Left]:
    """What a row of that table says."""
    return [Left(**entry) for entry in row["left"]]


def grid(count: int, low: float = 1e-4, high: float = 100.0) -> list[float]:
    """Signal-to-noise ratios in even ratios, and those of the schedules that the paper compares.

    Notes
    -----
    Source: PD-1.
    """
    even = torch.logspace(math.log10(high), math.log10(low), integer("count", count, least=2)).double().tolist()
    steps = {float(f"{snr:.6g}") for process in processes().values() for snr in ratios(process)}  # some have it twice
    return sorted({*even, *steps}, reverse=True)


def processes() -> dict[str, Discrete]:
    """The common and the special schedule of two and of four steps, by what they are called."""
    return {
        f"{kind}, T = {steps}": schedules.stepped(steps, kind) for steps in (2, 4) for kind in ("special", "common")
    }


def percent(entry: Left) -> str:
    """What is left with its interval, as in "91% (88% to 94%)"."""
    return f"{entry.value:.0%} ({entry.low:.0%} to {entry.high:.0%})".replace("-", "−")


def _require_labels(images: Tensor, labels: Tensor) -> None:
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise ShapeError(
            f"images and labels must be (N, C, H, W) and (N,), not {tuple(images.shape)} and {tuple(labels.shape)}."
        )

"""From sampled images to rows of numbers, each with its extractor, counts, seeds, interval, reference and floor.

In two stages, so that images can be made anywhere: :func:`observe` turns images into what is measured on, a few hundred
bytes per image, parts of which merge in their order; :func:`evaluate` turns that into rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, metrics, spectra
from fewsteps.errors import DataError
from fewsteps.experiments import references
from fewsteps.experiments.references import Reference
from fewsteps.experiments.sampling import Drawn, Plan
from fewsteps.files import digest
from fewsteps.metrics import Extractor, Number

SURE = 0.9
NEIGHBOURS = 1000  # samples whose manifold is compared: precision and recall depend on the count, so it is fixed


@dataclass(frozen=True, eq=False)
class Observed:
    """What is kept of images that were sampled.

    Attributes
    ----------
    features : dict of str to Tensor, shape (N, d)
        By feature network, in half precision, as the references keep them.
    logits : dict of str to Tensor, shape (N, classes)
        Of those feature networks that classify.
    power : float64 Tensor, shape (N, rings)
        Radial spectrum of every image.
    nfe : int
        Network calls per image.
    labels : Tensor, shape (N,), or None
        The classes that were asked for.
    """

    features: dict[str, Tensor]
    logits: dict[str, Tensor]
    power: Tensor
    nfe: int
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.power)


def observe(
    plan: Plan,
    drawn: Drawn,
    *,
    folder: Path = checkpoints.FOLDER,
    reference_folder: Path = references.FOLDER,
) -> Observed:
    """What every feature network with a reference makes of images.

    Raises
    ------
    DataError
        If there is no reference for these images.
    """
    features, logits = {}, {}
    for name, where, _ in _known(plan, folder, reference_folder):
        extractor = references.feature_network(name, where)
        # The reference keeps its features in half precision; so do the samples, or rounding would tell the two apart.
        features[name] = metrics.features(extractor, drawn.images).half()
        if extractor.logits is not None:
            logits[name] = metrics.logits(extractor, drawn.images)
    power = torch.cat([spectra.radial_powers(part.double()) for part in drawn.images.split(1000)])
    return Observed(features, logits, power, drawn.nfe, drawn.labels)


def merge(parts: Sequence[Observed]) -> Observed:
    """All of them, in their order."""
    first = parts[0]
    return Observed(
        {name: torch.cat([part.features[name] for part in parts]) for name in first.features},
        {name: torch.cat([part.logits[name] for part in parts]) for name in first.logits},
        torch.cat([part.power for part in parts]),
        first.nfe,
        None if first.labels is None else torch.cat([part.labels for part in parts if part.labels is not None]),
    )


def _known(plan: Plan, folder: Path, reference_folder: Path) -> list[tuple[str, Path, Reference]]:
    """Feature networks with a reference for a plan's images, where their weights lie, and the reference."""
    source = checkpoints.card(plan.checkpoint, folder)["data"]
    known = references.networks_for(source["name"], source["size"], reference_folder)
    if not known:
        raise DataError(
            f"there is no reference for {source['name']} at {source['size']} px: python tools/measure_statistics.py "
            "makes one where the data set and a classifier of it are at hand."
        )
    found = []
    for name in known:
        where = folder if name in checkpoints.names(folder) else checkpoints.FOLDER
        reference = references.read(source["name"], source["size"], name, reference_folder)
        if reference.said["network"] != references.fingerprint(name, where):
            raise DataError(
                f"the statistics of {source['name']} were taken with other weights of {name}: "
                f"python tools/measure_statistics.py {name} takes them again."
            )
        found.append((name, where, reference))
    return found


def evaluate(
    plan: Plan,
    drawn: Sequence[Drawn | Observed],
    seeds: Sequence[int],
    *,
    folder: Path = checkpoints.FOLDER,
    reference_folder: Path = references.FOLDER,
) -> dict[str, Any]:
    """Measure the images of one plan.

    Parameters
    ----------
    plan : Plan
    drawn : sequence of Drawn or Observed
        Images, or what was kept of them; all seeds one after the other.
    seeds : sequence of int
    folder, reference_folder : Path
        Of checkpoints and references.

    Returns
    -------
    dict
        ``plan``, ``nfe`` (network calls per image), ``count``, and ``rows``: for every feature network with a
        reference, Fréchet distances to training and test images, kernel distance, precision, recall, inception score,
        share of images that the classifier is sure of, and, where classes were asked for, that it gives the class
        asked for; and the error of the spectrum.

    Raises
    ------
    DataError
        If there is no reference for these images.
    """
    on = {"folder": folder, "reference_folder": reference_folder}
    seen = merge([part if isinstance(part, Observed) else observe(plan, part, **on) for part in drawn])
    said: list[Number] = []
    shares: dict[str, list[float]] = {}
    for place, (name, where, reference) in enumerate(_known(plan, **on)):
        extractor = references.feature_network(name, where)
        ledger = _Ledger(extractor.name, extractor.resize, (min(seeds), max(seeds)), len(seen), reference)
        ledger.features(extractor, seen.features[name].float())
        if name in seen.logits and "real" in reference.said:
            shares[extractor.name] = ledger.scores(seen.logits[name])
            if seen.labels is not None and "accuracy" in reference.said:
                ledger.obeyed(seen.logits[name], seen.labels)
        if place == 0:
            ledger.spectrum(seen.power)
        said += ledger.numbers
    rows = [number.row() for number in said]
    for row in rows:
        if row["metric"] == "confident":
            row["classes"] = shares[row["extractor"]]
    return {"plan": plan.described(), "nfe": seen.nfe, "count": len(seen), "rows": rows}


class _Ledger:
    """The numbers of one set of samples beside one reference."""

    def __init__(self, extractor: str, resize: str, seeds: tuple[int, int], count: int, reference: Reference) -> None:
        self.extractor, self.resize, self.seeds, self.count = extractor, resize, seeds, count
        self.reference = reference
        self.numbers: list[Number] = []
        self.generator = torch.Generator().manual_seed(0)

    def enter(
        self,
        metric: str,
        value: float,
        ends: tuple[float, float],
        floor: float,
        floor_count: int,
        *,
        reference: str | None = None,
        real: int | None = None,
        count: int | None = None,
        extractor: str | None = None,
    ) -> None:
        """Add a number; by default it is of all samples, against all training images."""
        self.numbers.append(
            Number(
                metric=metric,
                value=value,
                low=min(value, ends[0]),
                high=max(value, ends[1]),
                count=count or self.count,
                seeds=self.seeds,
                extractor=extractor or self.extractor,
                resize=self.resize,
                reference=reference or self.reference.train.sha256(),
                floor=floor,
                floor_count=floor_count,
                reference_count=real or self.reference.train.count,
            )
        )

    def features(self, extractor: Extractor, vectors: Tensor) -> None:
        """Distances, precision and recall."""
        near, far = self.reference.train_features, self.reference.test_features
        for suffix, against, real in (("", self.reference.train, far), (" (test)", self.reference.test, near)):
            found = metrics.frechet_interval(vectors, against, generator=self.generator, draws=100)
            # The floor: as many real images of the other split as there are samples, as far as they go.
            real = real[: len(vectors)]
            floor = metrics.frechet(metrics.Moments.of(real), against)
            ends = (found.low, found.high)
            self.enter(
                extractor.distance_name + suffix, found.value, ends, floor, len(real),
                reference=against.sha256(), real=against.count,
            )  # fmt: skip

        # A manifold of more points is wider, so samples and real images are compared at one count.
        # Drawn, as classes may come in turn and every tenth image be of one.
        drawn = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:NEIGHBOURS]
        some = vectors[drawn.sort().values]
        far = far[: len(some)]
        about: dict[str, Any] = {"reference": digest(near.numpy().tobytes()), "real": len(near), "count": len(some)}
        value, ends = self._kernel(near, some)
        self.enter(f"KD-{self.extractor}", value, ends, self._kernel(near, far)[0], len(far), **about)
        here, best = metrics.precision_recall(near, some), metrics.precision_recall(near, far)
        ends = metrics.wilson(here.precision, len(some))
        self.enter("precision", here.precision, ends, best.precision, len(far), **about)
        # With the samples' manifold taken as it is: how it would move with other samples is not in this interval.
        self.enter("recall", here.recall, metrics.wilson(here.recall, len(near)), best.recall, len(far), **about)

    def _kernel(self, near: Tensor, some: Tensor) -> tuple[float, tuple[float, float]]:
        """Kernel distance, and an interval from ten groups of the samples, which share no image."""
        size = min(len(some), len(near), 500)
        value = metrics.kernel_distance(near, some, subsets=20, size=size, generator=self.generator).value
        groups = [part for part in some.chunk(10) if len(part) > 1]
        each = torch.tensor(
            [
                metrics.kernel_distance(near, part, subsets=1, size=len(part), generator=self.generator).value
                for part in groups
            ]
        )
        half = 1.96 * float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else 0.0
        return value, (value - half, value + half)

    def scores(self, logits: Tensor) -> list[float]:
        """What the classifier says; returns the share of each class."""
        found, real = references.scores(logits), self.reference.said["real"]
        count = self.reference.test.count
        about: dict[str, Any] = {"reference": self.reference.test.sha256(), "real": count}
        score = found["inception_score"]
        ends = _bootstrap(logits, score, self.generator)
        self.enter(f"IS-{self.extractor}", score, ends, real["inception_score"], count, **about)
        ends = metrics.wilson(found["confident"], self.count)
        self.enter("confident", found["confident"], ends, real["confident"], count, **about)
        return found["classes"]

    def obeyed(self, logits: Tensor, labels: Tensor) -> None:
        """Share of images that the classifier gives the class that was asked for; of real ones, its accuracy.

        Tables that were filled before this was measured have no such row.
        """
        share = float((logits.argmax(1) == labels).double().mean())
        ends = metrics.wilson(share, self.count)
        about: dict[str, Any] = {"reference": self.reference.test.sha256(), "real": self.reference.test.count}
        self.enter("obeyed", share, ends, self.reference.said["accuracy"], self.reference.test.count, **about)

    def spectrum(self, powers: Tensor) -> None:
        """Mean absolute log ratio of power to that of the training images, below and above half the band."""

        def error(power: Tensor) -> Tensor:
            return (power / self.reference.train_spectrum).log().abs()

        ours, real = error(powers.mean(0)), error(self.reference.test_spectrum)
        each = torch.stack([error(part.mean(0)) for part in powers.chunk(10)])
        middle = len(ours) // 2
        for name, band in (("low", slice(1, middle)), ("high", slice(middle, None))):
            value = float(ours[band].mean())
            spread = 1.96 * float(each[:, band].mean(1).std()) / math.sqrt(len(each)) if len(each) > 1 else 0.0
            self.enter(
                f"spectrum, {name} half", value, (value - spread, value + spread), float(real[band].mean()),
                self.reference.test.count, extractor="power (DCT)",
            )  # fmt: skip


def _bootstrap(logits: Tensor, score: float, generator: torch.Generator, draws: int = 100) -> tuple[float, float]:
    """Interval of an inception score: the spread of resampled ones around their own mean, which resampling shifts."""
    picks = torch.randint(len(logits), (draws, len(logits)), generator=generator)
    drawn = torch.tensor([metrics.inception_score(logits[pick], splits=1).mean for pick in picks])
    low, high = (drawn - drawn.mean()).quantile(torch.tensor([0.025, 0.975])).tolist()
    return score + low, score + high


def table(said: dict[str, Any]) -> str:
    """The rows as text."""
    lines = [
        f"{said['count']} images at {said['nfe']} NFE",
        f"{'metric':28}{'value':>10}   {'95 % interval':>20}   {'real':>8}",
    ]
    for row in said["rows"]:
        interval = f"{row['low']:.4g} - {row['high']:.4g}"
        lines.append(f"{row['metric']:28}{row['value']:10.4g}   {interval:>20}   {row['floor']:8.4g}")
    return "\n".join(lines)

"""From sampled images to rows of numbers, each with its extractor, counts, seeds, interval, reference and floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, metrics
from fewsteps.errors import DataError
from fewsteps.experiments import references
from fewsteps.experiments.references import Reference
from fewsteps.experiments.sampling import Drawn, Plan
from fewsteps.metrics import Extractor, Number

SURE = 0.9
NEIGHBOURS = 1000  # samples whose manifold is compared: precision and recall depend on the count, so it is fixed


def evaluate(
    plan: Plan,
    drawn: Sequence[Drawn],
    seeds: Sequence[int],
    *,
    folder: Path = checkpoints.FOLDER,
    reference_folder: Path = references.FOLDER,
) -> dict[str, Any]:
    """Measure the images of one plan.

    Parameters
    ----------
    plan : Plan
    drawn : sequence of Drawn
        One per seed.
    seeds : sequence of int
    folder, reference_folder : Path
        Of checkpoints and references.

    Returns
    -------
    dict
        ``plan``, ``nfe`` (network calls per image), ``count``, and ``rows``: for every feature network with a
        reference, Fréchet distances to training and test images, kernel distance, precision, recall, inception score,
        share of images that the classifier is sure of; and the error of the spectrum.

    Raises
    ------
    DataError
        If there is no reference for these images.
    """
    source = checkpoints.card(plan.checkpoint, folder)["data"]
    known = references.networks_for(source["name"], source["size"], reference_folder)
    if not known:
        raise DataError(
            f"there is no reference for {source['name']} at {source['size']} px: python tools/measure_statistics.py "
            "makes one where the data set and a classifier of it are at hand."
        )
    images = torch.cat([part.images for part in drawn])
    rows: list[dict[str, Any]] = []
    for name in known:
        reference = references.read(source["name"], source["size"], name, reference_folder)
        extractor = references.feature_network(
            name, folder if name in checkpoints.names(folder) else checkpoints.FOLDER
        )
        numbers, shares = _numbers(extractor, images, reference, (min(seeds), max(seeds)))
        rows += [
            number.row() | {"classes": shares} if number.metric == "confident" else number.row() for number in numbers
        ]
        if name == known[0]:
            rows += [number.row() for number in _spectrum(images, reference, (min(seeds), max(seeds)))]
    return {"plan": plan.described(), "nfe": drawn[0].nfe, "count": len(images), "rows": rows}


def _numbers(
    extractor: Extractor, images: Tensor, reference: Reference, seeds: tuple[int, int]
) -> tuple[list[Number], list[float]]:
    generator = torch.Generator().manual_seed(0)
    vectors = metrics.features(extractor, images)
    # The reference keeps its features in half precision; so do the samples, or the two would be told apart by rounding.
    vectors = vectors.half().float()
    logits = metrics.logits(extractor, images)
    about = dict(count=len(images), seeds=seeds, extractor=extractor.name, resize=extractor.resize)
    found = []
    for split, against, real in (
        ("train", reference.train, reference.test_features),
        ("test", reference.test, reference.train_features),
    ):
        value, low, high = metrics.frechet_interval(vectors, against, generator=generator, draws=100)
        # The floor: as many real images of the other split as there are samples, as far as they go.
        floor = metrics.frechet(metrics.Moments.of(real[: len(vectors)]), against)
        metric = extractor.distance_name + ("" if split == "train" else " (test)")
        said = dict(reference=against.sha256(), reference_count=against.count, floor=floor)
        found.append(Number(metric, value, low, high, **about, **said))

    near, far, some = reference.train_features, reference.test_features, vectors[:NEIGHBOURS]
    said = dict(reference=reference.train.sha256(), reference_count=len(near))
    size = min(len(some), len(near), len(far), 500)
    kernel, spread = metrics.kernel_distance(near, some, subsets=50, size=size, generator=generator)
    least = metrics.kernel_distance(near, far, subsets=50, size=size, generator=generator).value
    half = 1.96 * spread / math.sqrt(50)
    found.append(
        Number(
            f"KD-{extractor.name}",
            kernel,
            kernel - half,
            kernel + half,
            **about | {"count": len(some)},
            **said,
            floor=least,
        )
    )
    here, real = metrics.precision_recall(near, some), metrics.precision_recall(near, far[: len(some)])
    for name, value, floor, count in (
        ("precision", here.precision, real.precision, len(some)),
        ("recall", here.recall, real.recall, len(near)),
    ):
        low, high = wilson(value, count)
        found.append(Number(name, value, low, high, **about | {"count": len(some)}, **said, floor=floor))

    scores = references.scores(logits)
    low, high = _bootstrap(logits, generator)
    score = scores["inception_score"]
    found.append(
        Number(
            f"IS-{extractor.name}",
            score,
            min(low, score),
            max(high, score),
            **about,
            **said,
            floor=reference.said["real"]["inception_score"],
        )
    )
    low, high = wilson(scores["confident"], len(images))
    found.append(
        Number("confident", scores["confident"], low, high, **about, **said, floor=reference.said["real"]["confident"])
    )
    return found, scores["classes"]


def _spectrum(images: Tensor, reference: Reference, seeds: tuple[int, int]) -> list[Number]:
    """Mean absolute log ratio of power to that of the training images, below and above half the band."""

    def error(power: Tensor) -> Tensor:
        return (power / reference.train_spectrum).log().abs()

    ratio, real = error(references.radial_power(images.double())), error(reference.test_spectrum)
    middle = len(ratio) // 2
    each = torch.stack([error(references.radial_power(part)) for part in images.double().chunk(10)])
    said = dict(count=len(images), seeds=seeds, extractor="power spectrum (DCT)", resize="none")
    found = []
    for name, band in (("spectrum, low half", slice(1, middle)), ("spectrum, high half", slice(middle, None))):
        value = float(ratio[band].mean())
        spread = float(each[:, band].mean(1).std()) / math.sqrt(len(each)) if len(each) > 1 else 0.0
        found.append(
            Number(
                name,
                value,
                value - 1.96 * spread,
                value + 1.96 * spread,
                **said,
                floor=float(real[band].mean()),
                reference=reference.train.sha256(),
                reference_count=reference.train.count,
            )
        )
    return found


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share of `count`, both ends within [0, 1] and around the share."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def _bootstrap(logits: Tensor, generator: torch.Generator, draws: int = 100) -> tuple[float, float]:
    picks = torch.randint(len(logits), (draws, len(logits)), generator=generator)
    drawn = torch.tensor([metrics.inception_score(logits[pick], splits=1).mean for pick in picks])
    low, high = drawn.quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


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

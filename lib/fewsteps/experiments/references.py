"""What samples are compared with, shipped as statistics, so that nobody needs the data set to evaluate.

For a data set, a size and a feature network: the moments of the training images (the reference of a Fréchet distance)
and of the test images (a second one, which the feature network has not seen), a few thousand feature vectors of each
(for precision, recall and kernel distances, and for the floor), and the mean power spectrum of the training images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, data, metrics, spectra, trained
from fewsteps.errors import CheckpointError, DataError
from fewsteps.experiments import stored
from fewsteps.metrics import Extractor, Moments

FOLDER = checkpoints.FOLDER.parent / "statistics"
KEPT = 2000  # feature vectors of each split, and images that the scores of real data are taken over


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of real images in the features of one network."""

    data: str
    size: int
    extractor: str
    said: dict[str, Any]
    """Hashes, counts, the classifier's accuracy on the test images, and what the scores of those are."""
    train: Moments
    test: Moments
    train_features: Tensor
    test_features: Tensor
    train_spectrum: Tensor
    test_spectrum: Tensor
    """Mean power of the images by ring of frequencies (DCT), float64."""

    @property
    def path(self) -> str:
        """Name of the file."""
        return name_of(self.data, self.size, self.extractor)


def name_of(dataset: str, size: int, extractor: str) -> str:
    """Name of a reference's file, without ending."""
    return f"{dataset}-{size}.{extractor}"


def path_of(dataset: str, size: int, extractor: str, folder: Path = FOLDER) -> Path:
    """Where a reference lies."""
    return folder / f"{name_of(dataset, size, extractor)}.safetensors"


def feature_network(name: str, folder: Path = checkpoints.FOLDER) -> Extractor:
    """A shipped classifier as an extractor, or Inception by the name that metrics has for it.

    Raises
    ------
    CheckpointError
        If there is none of that name, it is no classifier, or Inception's weights are not to be had.
    """
    if name == metrics.INCEPTION:
        return metrics.inception()
    model = trained.load(name, folder)
    if model.predicts != "class":
        raise CheckpointError(f"{name} is no classifier: it has no features to compare images by.")
    return metrics.from_network(name, model.network, channels=model.shape[0])


def fingerprint(extractor: str, folder: Path = checkpoints.FOLDER) -> str:
    """Hash of a shipped feature network's weights; features of other weights cannot be compared. Empty for others."""
    return checkpoints.card(extractor, folder)["weights"]["sha256"] if extractor in checkpoints.names(folder) else ""


def build(dataset: str, size: int, extractor: Extractor) -> Reference:
    """Measure a data set, which must be at hand.

    Raises
    ------
    DataError
        If it is not.
    """
    moments, kept, spectra_of = [], [], []
    said: dict[str, Any] = {"network": fingerprint(extractor.name)}
    for split in ("train", "test"):
        images = data.load(dataset, split, size)
        vectors = metrics.features(extractor, images.images)
        moments.append(Moments.of(vectors))
        # Drawn, not the first: MNIST's first test images are from other writers than the rest, and further from train.
        order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:KEPT]
        kept.append(vectors[order].half())
        said[split] = {"count": len(images), "sha256": images.sha256}
        spectra_of.append(spectra.radial_power(images.images.double()))
        if split == "test" and extractor.logits is not None:
            logits = metrics.logits(extractor, images.images)
            said["real"] = scores(logits)
            if images.labels is not None and logits.shape[1] == int(images.labels.max()) + 1:
                said["accuracy"] = float((logits.argmax(1) == images.labels).double().mean())
    return Reference(dataset, size, extractor.name, said, *moments, *kept, *spectra_of)


def scores(logits: Tensor) -> dict[str, Any]:
    """What a classifier says of images: inception score, share it is sure of (above .9), share of each class."""
    chances = logits.double().softmax(1)
    return {
        "inception_score": metrics.inception_score(logits, splits=1).mean,
        "confident": float((chances.amax(1) > 0.9).double().mean()),
        "classes": (torch.bincount(chances.argmax(1), minlength=logits.shape[1]) / len(logits)).tolist(),
    }


def save(reference: Reference, folder: Path = FOLDER) -> Path:
    """Write a reference whole or not at all."""
    tensors = {"train_features": reference.train_features, "test_features": reference.test_features}
    tensors |= {"train_spectrum": reference.train_spectrum, "test_spectrum": reference.test_spectrum}
    for split, moments in (("train", reference.train), ("test", reference.test)):
        tensors |= {f"{split}/{key}": value for key, value in moments.to_arrays().items()}
    about = {"data": reference.data, "size": reference.size, "extractor": reference.extractor, "said": reference.said}
    return stored.keep(path_of(reference.data, reference.size, reference.extractor, folder), about, tensors)


def read(dataset: str, size: int, extractor: str, folder: Path = FOLDER) -> Reference:
    """A shipped reference.

    Raises
    ------
    DataError
        If there is none for these images and this network, which lists those there are; or it is damaged.
    """
    path = path_of(dataset, size, extractor, folder)
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.safetensors"))) or "none"
        raise DataError(
            f"there is no reference for {dataset} at {size} px in the features of {extractor}; there are: {there}. "
            f"python tools/measure_statistics.py {extractor} makes one."
        )
    about, tensors = stored.take(path, "restore it with git checkout.")
    train, test = (
        Moments.from_arrays({key: tensors[f"{split}/{key}"] for key in ("count", "mean", "scatter")})
        for split in ("train", "test")
    )
    vectors = (tensors[f"{split}_features"].float() for split in ("train", "test"))
    rings = (tensors[f"{split}_spectrum"] for split in ("train", "test"))
    return Reference(dataset, size, extractor, about["said"], train, test, *vectors, *rings)


def networks_for(dataset: str, size: int, folder: Path = FOLDER) -> list[str]:
    """The feature networks that there are references of, for a data set at a size."""
    stem = f"{dataset}-{size}."
    return sorted(path.stem.removeprefix(stem) for path in folder.glob(f"{stem}*.safetensors"))

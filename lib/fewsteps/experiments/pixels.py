"""What filters are made from: means and spectra of a data set, shipped so that nobody needs the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fewsteps import data
from fewsteps.errors import DataError
from fewsteps.experiments import stored
from fewsteps.experiments.references import FOLDER
from fewsteps.transforms import Basis, dct2, hartley2

KINDS = ("mean", "square", "dct", "dft")


@dataclass(frozen=True, eq=False)
class Pixels:
    """Means over the training images of a data set, in [0, 1].

    Attributes
    ----------
    data : str
    size, count : int
    sha256 : str
        Of the images.
    mean, square : float64 Tensor, shape (C, H, W)
        Of x and of x^2.
    dct, dft : float64 Tensor, shape (C, H, W)
        Mean square of every coefficient, orthonormal; zero frequency first.
    """

    data: str
    size: int
    count: int
    sha256: str
    mean: Tensor
    square: Tensor
    dct: Tensor
    dft: Tensor

    def power(self, basis: Basis) -> Tensor:
        """TDAS' phi of the data, mean over channels, shape (H, W)."""
        return (self.dct if basis == "dct" else self.dft).mean(0)


def measure(dataset: str, size: int) -> Pixels:
    """The statistics of the training images.

    Raises
    ------
    DataError
        If they are not at hand.
    """
    images = data.load(dataset, "train", size)
    sums = {kind: torch.zeros(images.images.shape[1:], dtype=torch.float64) for kind in KINDS}
    for part in images.images.split(1000):
        x = part.double()
        for kind, value in (("mean", x), ("square", x**2), ("dct", dct2(x) ** 2), ("dft", hartley2(x) ** 2)):
            sums[kind] += value.sum(0)
    means = {kind: total / len(images) for kind, total in sums.items()}
    # The Hartley transform's squares at k and -k add up to twice the power of either.
    means["dft"] = (means["dft"] + means["dft"].flip(-2, -1).roll((1, 1), (-2, -1))) / 2
    return Pixels(dataset, size, len(images), images.sha256, **means)


def path_of(dataset: str, size: int, folder: Path = FOLDER) -> Path:
    """Where the statistics of a data set lie."""
    return folder / f"{dataset}-{size}.pixels"


def save(pixels: Pixels, folder: Path = FOLDER) -> Path:
    """Write them whole or not at all."""
    about = {"data": pixels.data, "size": pixels.size, "count": pixels.count, "sha256": pixels.sha256}
    tensors = {kind: getattr(pixels, kind).float().contiguous() for kind in KINDS}
    return stored.keep(path_of(pixels.data, pixels.size, folder), about, tensors)


def read(dataset: str, size: int, folder: Path = FOLDER) -> Pixels:
    """The shipped statistics of a data set.

    Raises
    ------
    DataError
        If there are none for that data set at that size, which lists those there are; or they are damaged.
    """
    path = path_of(dataset, size, folder)
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.pixels"))) or "none"
        raise DataError(
            f"there are no statistics of {dataset} at {size} px to make a filter from; there are: {there}. "
            f"python tools/measure_statistics.py pixels@{dataset}-{size} makes them."
        )
    about, tensors = stored.take(path, "restore it with git checkout.")
    mean, square, dct, dft = (tensors[kind].double() for kind in KINDS)
    return Pixels(**about, mean=mean, square=square, dct=dct, dft=dft)

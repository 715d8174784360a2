"""The list of data sets, and the one function that loads any of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewsteps.data import cache, embedded, local, remote
from fewsteps.data.images import Images, Pixels, finish, join
from fewsteps.errors import DataError, ParameterError

SMALLEST = 4


@dataclass(frozen=True)
class Entry:
    """One row of the list: the default and the largest side in pixels, the splits, the line for `Images.source`, and
    what its classes are called, in their order.
    """

    size: int
    largest: int
    splits: tuple[str, ...]
    source: str
    frame: bool = False
    classes: tuple[str, ...] = ()


TWO = ("train", "test")
ONE = ("train",)
FIGURES = tuple("0123456789")
GARMENTS = (
    "T-shirt or top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Photographs are never enlarged: interpolation would leave the new frequencies empty, and spectra are what these sets
# are for. Drawn characters may be, up to a side at which 60,000 of them still fit in memory.
CATALOG = {
    "mnist": Entry(28, 64, TWO, "MNIST handwritten digits, byte-exact; usually given as CC BY-SA 3.0", True, FIGURES),
    "fashion_mnist": Entry(28, 64, TWO, "Fashion-MNIST (Zalando Research), byte-exact; MIT", True, GARMENTS),
    "cifar10": Entry(32, 32, TWO, "CIFAR-10, lossless; no licence stated, cite Krizhevsky 2009", classes=THINGS),
    "lfw": Entry(
        64,
        64,
        TWO,
        "Labeled Faces in the Wild, deep-funneled, 2x2 average of the central 128 px, from JPEG; public for research",
    ),
    "digits": Entry(
        8,
        64,
        TWO,
        "UCI optical recognition of handwritten digits, 17 grey levels, exact; given as CC BY 4.0",
        classes=FIGURES,
    ),
    "photos": Entry(
        256,
        300,
        ONE,
        "Eight photographs of the scikit-image wheel, lossless PNG, some made from JPEG; CC0 or public domain, "
        "except motorcycle_left (Middlebury 2014, no licence stated, cite Scharstein et al.)",
    ),
    "kodak": Entry(500, 500, ONE, "Kodak lossless true colour suite, central 500 px, lossless; unrestricted use"),
}
NAMES = tuple(CATALOG)
EMBEDDED = {"digits": embedded.digits, "photos": embedded.photos}


def load(name: str, split: str = "train", size: int | None = None) -> Images:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    split : str
        "train", "test", or "all", which is train followed by test. Photographs ("photos", "kodak") have one split:
        "train" and "all" are the same there and "test" is refused.
    size : int, optional
        Side of the images in pixels; the default is the set's own (the table in `fewsteps.data`). Smaller is the exact
        area average. Larger is allowed for drawn characters only: bilinear, except that "mnist" and "fashion_mnist"
        reach 32 with two black pixels on each side.

    Returns
    -------
    Images
        (N, C, size, size) in [0, 1], with labels, names, source and hash.

    Raises
    ------
    ParameterError
        `name`, `split` or `size` is not one of the allowed values.
    DataError
        Files are missing or damaged, the disk is full, or a download failed.

    Notes
    -----
    The order is fixed. MNIST and Fashion-MNIST keep the publisher's. CIFAR-10 is shuffled by the hash of each image,
    which is the same wherever it came from, so its beginning holds about as many of each class. "digits" is cut by
    index, in the order of scikit-learn: the first 1,437 train, the last 360 test. "lfw" from ``FEWSTEPS_DATA`` is 3,072
    faces ordered by person, the first 2,560 train and the last 512 test, so that no person is in both; through
    torchvision it is the publisher's development split (9,525 and 3,708).

    "photos" are astronaut, chelsea, coffee and motorcycle_left in colour, and camera, grass, gravel and brick in grey
    with their channel repeated three times; each is cut to its central square first. They need no network.
    """
    entry = _check(name, split, size)
    read = [_read(name, part) for part in (entry.splits if split == "all" else (split,))]
    return finish(join(read), entry.size if size is None else int(size), entry.source, frame=entry.frame)


def at_hand(name: str) -> bool:
    """Whether :func:`load` would find a data set without downloading: it is embedded, or in a folder of this machine.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    _check(name, "train", None)
    if name in EMBEDDED:
        return True
    folder = os.environ.get("FEWSTEPS_DATA")
    if folder:
        return Path(folder).expanduser().is_dir()
    return name != "kodak" and any((cache.root() / name).glob("*/*"))


def class_names(name: str) -> tuple[str, ...]:
    """What the classes of a data set are called, in the order of its labels; none where it has no classes.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    return _check(name, "train", None).classes


def _check(name: object, split: object, size: object) -> Entry:
    """The entry of a set, once every parameter is known to be usable: nothing is read or downloaded before."""
    entry = CATALOG.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ParameterError(f"name must be one of {', '.join(NAMES)}, not {name!r}.")
    splits = (*entry.splits, "all")
    if split not in splits:
        raise ParameterError(f"split must be one of {', '.join(splits)} for {name!r}, not {split!r}.")
    whole = int(size) if isinstance(size, int | np.integer) else None
    if size is not None and (whole is None or not SMALLEST <= whole <= entry.largest):
        raise ParameterError(
            f"size must be a whole number of pixels from {SMALLEST} to {entry.largest} for {name!r}, not {size!r}."
        )
    return entry


def _read(name: str, split: str) -> Pixels:
    if name in EMBEDDED:
        return EMBEDDED[name](split)
    folder = os.environ.get("FEWSTEPS_DATA")
    if folder:
        return local.read(Path(folder).expanduser(), name, split)
    if name == "kodak":
        raise DataError(
            "The data set 'kodak' is read from a local copy only: set FEWSTEPS_DATA to a folder with kodak24."
        )
    return remote.read(name, split)

"""Data sets through torchvision's own classes, which know the addresses, the checksums and the formats.

torchvision does not continue a download that broke off, so `download` streams the files to the places where its
classes look, and the classes then verify and read them with ``download=False``.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from fewsteps.data import cache, download
from fewsteps.data.images import Pixels, content_order, square
from fewsteps.errors import DataError

FACES = "deepfunneled"


def read(name: str, split: str) -> Pixels:
    """Read one split of "mnist", "fashion_mnist", "cifar10" or "lfw", downloading what the cache folder lacks.

    Raises
    ------
    DataError
        torchvision is missing, a download failed, the disk is full, or a file is damaged.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise DataError(
            f"The data set {name!r} comes through torchvision: install it, or set FEWSTEPS_DATA to a local copy."
        ) from error
    root = cache.root() / name
    with cache.alone(root):
        if name == "cifar10":
            return _cifar10(datasets.CIFAR10, root, split)
        if name == "lfw":
            return _lfw(datasets.LFWPeople, root, split)
        return _mnist(datasets.MNIST if name == "mnist" else datasets.FashionMNIST, root, split)


@contextmanager
def _reading(root: Path) -> Iterator[None]:
    """Tell what torchvision's readers raise for files that are not what they should be."""
    try:
        yield
    # The assertion is its idx reader's; IndexError and KeyError come from files that end early.
    except (
        RuntimeError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        EOFError,
        AssertionError,
        pickle.UnpicklingError,
    ) as error:
        raise DataError(f"The files in {root} are damaged: delete that folder and load again.") from error


def _mnist(cls: type, root: Path, split: str) -> Pixels:
    folder = root / cls.__name__ / "raw"
    for file, md5 in cls.resources:
        _bring([mirror + file for mirror in cls.mirrors], folder / file, md5, folder / Path(file).stem)
    with _reading(root):
        dataset = cls(root, train=split == "train", download=False)
    return Pixels([dataset.data.numpy()[..., None]], labels=dataset.targets.numpy())


def _cifar10(cls: type, root: Path, split: str) -> Pixels:
    _bring([cls.url], root / cls.filename, cls.tgz_md5, root / cls.base_folder)
    with _reading(root):
        dataset = cls(root, train=split == "train", download=False)
    labels = np.array(dataset.targets)
    order = content_order(dataset.data, labels)
    return Pixels([dataset.data[order]], labels=labels[order])


def _lfw(cls: type, root: Path, split: str) -> Pixels:
    checksum = cls.file_dict[FACES][-1]
    return Pixels([cache.decoded(f"lfw-{split}-{checksum}", lambda: _faces(cls, root, split))])


def _faces(cls: type, root: Path, split: str) -> np.ndarray:
    """The faces of one split, uint8 (N, 64, 64, 3)."""
    images, archive, md5 = cls.file_dict[FACES]
    folder = root / cls.base_folder
    lists = {file: cls.checksums[file] for file in (f"people{cls.annot_file[split]}.txt", cls.names)}
    # Its publisher has taken LFW down before, and torchvision has given up downloading it.
    advice = (
        f"place {', '.join((archive, *lists))} in {folder} by hand, or set FEWSTEPS_DATA to a folder that holds a copy"
    )
    for file, checksum in lists.items():
        download.fetch([cls.download_url_prefix + file], folder / file, checksum, advice)
    _bring([cls.download_url_prefix + archive], folder / archive, md5, folder / images, advice)
    with _reading(root):
        dataset = cls(root, split=split, image_set=FACES, download=False, loader=_face)
        return np.stack([dataset[index][0] for index in range(len(dataset))])


def _face(path: str) -> np.ndarray:
    """The central 128 px of one photograph, averaged 2x2 and rounded to uint8 (64, 64, 3)."""
    with Image.open(path) as image:
        centre = square(np.asarray(image.convert("RGB")), 128).astype(np.uint16)
    return ((centre.reshape(64, 2, 64, 2, 3).sum(axis=(1, 3)) + 2) // 4).astype(np.uint8)


def _bring(urls: list[str], archive: Path, md5: str, target: Path, advice: str = download.ADVICE) -> None:
    """Download and unpack, unless that was done before."""
    if not target.exists():
        download.fetch(urls, archive, md5, advice)
        download.unpack(archive, target)

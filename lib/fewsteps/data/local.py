"""Readers for the folder that ``FEWSTEPS_DATA`` names.

Its formats: ``mnist`` and ``fashion_mnist`` are the publishers' idx.gz files; ``cifar10`` and ``lfw64`` are contact
sheets, lossless WebP images that hold a grid of tiles, listed by a JSON file with tile side, count and, for CIFAR-10,
the hash of the decoded pixels; ``kodak24`` is one PNG per photograph.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from fewsteps.data import cache
from fewsteps.data.images import Pixels, content_order, square
from fewsteps.errors import DataError

HASH = "sha256_of_decoded_uint8_NHWC"
LFW_TRAIN = 2560
KODAK_COUNT, KODAK_SIDE = 24, 500
# What Pillow raises for a file that is not an image, or only the beginning of one.
NO_IMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read(folder: Path, name: str, split: str) -> Pixels:
    """Read one split of a data set from its local copy.

    Parameters
    ----------
    folder : Path
        The folder that ``FEWSTEPS_DATA`` names.
    name, split : str
        Already checked; `split` is "train" or "test".

    Raises
    ------
    DataError
        A file is missing or damaged, or is not what its list says; the message names it.
    """
    if not folder.is_dir():
        raise DataError(f"FEWSTEPS_DATA names {folder}, which is no folder: correct it, or unset it to download.")
    if name == "cifar10":
        return _cifar10(folder / "cifar10", split)
    if name == "lfw":
        path = folder / "lfw64" / "faces.json"
        faces = _sheets(path, 64)
        if len(faces) <= LFW_TRAIN:
            raise _bad(path, f"lists {len(faces)} faces where more than {LFW_TRAIN} are needed")
        return Pixels([faces[:LFW_TRAIN] if split == "train" else faces[LFW_TRAIN:]])
    if name == "kodak":
        return _kodak(folder / "kodak24")
    return _mnist(folder / name, split)


def _bad(path: Path, why: str) -> DataError:
    return DataError(f"{path} {why}: put a complete copy into the folder that FEWSTEPS_DATA names.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _bad(path, "is missing") from error
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror})") from error


def _mnist(folder: Path, split: str) -> Pixels:
    stem = "train" if split == "train" else "t10k"
    path = folder / f"{stem}-images-idx3-ubyte.gz"
    images, labels = _idx(path, 3), _idx(folder / f"{stem}-labels-idx1-ubyte.gz", 1)
    if images.shape[1:] != (28, 28):
        raise _bad(path, f"holds images of {images.shape[1]}x{images.shape[2]} instead of 28x28 pixels")
    if not 0 < len(images) == len(labels):
        raise _bad(path, f"holds {len(images)} images for {len(labels)} labels")
    return Pixels([images[..., None]], labels=labels)


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx.gz file of unsigned bytes with the given number of dimensions."""
    try:
        content = gzip.decompress(_bytes(path))
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(path, "is no complete gzip file") from error
    start = 4 + 4 * dimensions
    # Two zero bytes, 8 for "unsigned byte", the number of dimensions; then each length, big-endian.
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise _bad(path, f"is no idx file of unsigned bytes in {dimensions} dimensions")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", dimensions, 4))
    if len(content) - start != math.prod(shape):
        raise _bad(path, f"holds {len(content) - start} bytes of data where its header says {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _cifar10(folder: Path, split: str) -> Pixels:
    sheets = folder / f"{split}.json"
    pixels = _sheets(sheets, 32)
    path = folder / "labels.npz"
    _bytes(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            labels = archive[split]
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise _bad(path, f"holds no readable array {split!r}") from error
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
        raise _bad(path, f"holds no whole-number label for each of the {len(pixels)} images of {sheets.name}")
    order = content_order(pixels, labels)  # the copy is sorted by class
    return Pixels([pixels[order]], labels=labels[order])


def _sheets(path: Path, side: int) -> np.ndarray:
    """All tiles of the contact sheets that the JSON file at `path` lists, uint8 (N, side, side, 3)."""
    listing = _bytes(path)
    try:
        entries = json.loads(listing)
        tile, count, names, digest = entries["tile"], entries["count"], entries["files"], entries.get(HASH)
        files = [path.parent / name for name in names]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(path, "is no list of contact sheets (tile, count, files)") from error
    if tile != side:
        raise _bad(path, f"lists tiles of {tile} instead of {side} pixels")
    key = hashlib.sha256(listing)
    for file in files:
        key.update(_bytes(file))

    def build() -> np.ndarray:
        pixels = _decode(path, files, side, count)
        if digest is not None and hashlib.sha256(pixels.data).hexdigest() != digest:
            raise _bad(path, "lists sheets whose pixels do not have the sha256 it states")
        return pixels

    return cache.decoded(f"{path.parent.name}-{path.stem}-{key.hexdigest()[:16]}", build)


def _decode(path: Path, files: list[Path], side: int, count: object) -> np.ndarray:
    tiles: list[np.ndarray] = [np.empty((0, side, side, 3), np.uint8)]
    columns = 1
    for file in files:
        sheet = _image(file)
        rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
        if sheet.shape[:2] != (rows * side, columns * side):
            raise _bad(file, f"is no grid of {side} px tiles")
        grid = sheet.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
        tiles.append(grid.reshape(-1, side, side, 3))
    found = sum(map(len, tiles))
    # The last row of the last sheet may be filled up with empty tiles; nothing else may be left over.
    if not (isinstance(count, int) and 0 < count <= found < count + columns):
        raise _bad(path, f"says {count!r} images where its sheets hold {found}")
    return np.concatenate(tiles)[:count]


def _kodak(folder: Path) -> Pixels:
    names = tuple(f"kodim{number:02d}" for number in range(1, KODAK_COUNT + 1))
    photographs = []
    for name in names:
        path = folder / f"{name}.png"
        image = _image(path)
        if min(image.shape[:2]) < KODAK_SIDE:
            raise _bad(path, f"is smaller than {KODAK_SIDE}x{KODAK_SIDE} pixels")
        photographs.append(square(image, KODAK_SIDE))
    return Pixels([np.stack(photographs)], names=names)


def _image(path: Path) -> np.ndarray:
    """Any image file as uint8 (H, W, 3)."""
    content = _bytes(path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except NO_IMAGE as error:
        raise _bad(path, "is no readable image") from error

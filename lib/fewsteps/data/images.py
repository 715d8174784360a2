"""What a data set is once it is in memory, and how its pixels become a tensor of the size asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

PIECE = 4096  # images converted at a time


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory.

    Attributes
    ----------
    images : Tensor, shape (N, C, H, W)
        float32, in [0, 1].
    labels : Tensor, shape (N,), or None
        int64; None for sets without classes (lfw, photos, kodak).
    names : tuple of str or None
        One name per picture for photos and kodak, else None.
    source : str
        One line: what the set is, how faithful its pixels are, and its licence.
    sha256 : str
        Hash of the uint8 source pixels, (N, H, W, C) in C order, as cropped and ordered here but before any change of
        size: it does not depend on the arithmetic of a resize, so a result records it together with the size.
    """

    images: Tensor
    labels: Tensor | None
    names: tuple[str, ...] | None
    source: str
    sha256: str

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """One line: the tensor itself would fill the page of a notebook."""
        return f"Images(shape={tuple(self.images.shape)}, source={self.source!r}, sha256={self.sha256[:12]!r}...)"


@dataclass(frozen=True, eq=False)
class Pixels:
    """What a reader hands over: blocks of uint8 pixels, each (n, S, S, C) with its own side S.

    Most sets are one block; photographs of several sizes are one block each, so that every one is reduced from the
    resolution it has.
    """

    blocks: Sequence[np.ndarray]
    labels: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    white: int = 255  # the value of full brightness: 16 for scikit-learn's digits


def join(parts: Sequence[Pixels]) -> Pixels:
    """One `Pixels` holding the parts in their order; they are of one set, so they agree on everything but length."""
    labels = [part.labels for part in parts if part.labels is not None]
    return Pixels(
        blocks=[block for part in parts for block in part.blocks],
        labels=np.concatenate(labels) if labels else None,
        names=tuple(name for part in parts for name in part.names or ()) or None,
        white=parts[0].white,
    )


def finish(pixels: Pixels, size: int, source: str, *, frame: bool) -> Images:
    """Turn source pixels into the `Images` a caller gets; `frame` widens 28 px to 32 px with a black frame."""
    digest = hashlib.sha256()
    for block in pixels.blocks:
        digest.update(np.ascontiguousarray(block).data)
    count, channels = sum(map(len, pixels.blocks)), pixels.blocks[0].shape[-1]
    # Filled piece by piece: the float tensor is four times the pixels, and no second one of its size is ever made.
    images = torch.empty(count, channels, size, size)
    pieces = [block[start : start + PIECE] for block in pixels.blocks for start in range(0, len(block), PIECE)]
    for piece, part in zip(pieces, images.split([len(piece) for piece in pieces]), strict=True):
        part.copy_(resize(_unit(piece, pixels.white), size, frame=frame))
    labels = None if pixels.labels is None else torch.from_numpy(pixels.labels.astype(np.int64))
    return Images(images, labels, pixels.names, source, digest.hexdigest())


def _unit(block: np.ndarray, white: int) -> Tensor:
    """(n, H, W, C) uint8 -> (n, C, H, W) float32 in [0, 1]."""
    # np.array copies, because torch warns about the read-only arrays that file buffers give.
    planes = torch.from_numpy(np.array(block.transpose(0, 3, 1, 2), order="C"))
    return planes.to(torch.float32).div_(white)


def resize(images: Tensor, size: int, *, frame: bool = False) -> Tensor:
    """Change the side of square images.

    Smaller: exact area average, each output pixel the mean of the input area it covers, for any ratio. Larger:
    bilinear between pixel centres, or, with `frame`, zeros around 28 px images where 32 px are asked for.

    Parameters
    ----------
    images : Tensor, shape (N, C, S, S)
        Floating point, in [0, 1].
    size : int
        The side wanted, in pixels.
    frame : bool
        Pad 28 to 32 px with two pixels of zero on each side, as the diffusion literature does with MNIST.

    Returns
    -------
    Tensor, shape (N, C, size, size)
        In [0, 1].
    """
    side = images.shape[-1]
    if size == side:
        return images
    if frame and (side, size) == (28, 32):
        return pad(images, (2, 2, 2, 2))
    if size > side:
        return interpolate(images, size=(size, size), mode="bilinear", align_corners=False).clamp_(0, 1)
    weights = area_weights(side, size).to(images.dtype).T
    return ((images @ weights).mT @ weights).mT.contiguous().clamp_(0, 1)


def area_weights(side: int, size: int) -> Tensor:
    """The (size, side) float64 matrix that averages `side` pixels onto `size` <= `side` by the area each one covers.

    torch's own area mode lets neighbouring windows overlap when the ratio is not whole, which weights some pixels
    twice; here every row sums to 1 and every column to size / side.
    """
    ratio = side / size
    left = torch.arange(size, dtype=torch.float64)[:, None] * ratio
    pixel = torch.arange(side, dtype=torch.float64)[None, :]
    covered = torch.minimum(left + ratio, pixel + 1) - torch.maximum(left, pixel)
    return covered.clamp_(min=0) / ratio


def square(image: np.ndarray, side: int | None = None) -> np.ndarray:
    """The central square of an (H, W, C) image: the largest one, or the one of the side given."""
    height, width = image.shape[:2]
    side = side or min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def content_order(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A fixed shuffle of a set: by the SHA-256 of each image's bytes, then by label.

    Unlike a seeded permutation it does not depend on the order the files came in, so a set sorted by class and the
    same set in its publisher's order give the same sequence, the same head slice and the same hash.
    """
    digests = [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in pixels]
    return np.array(sorted(range(len(digests)), key=lambda i: (digests[i], int(labels[i]))), dtype=np.int64)

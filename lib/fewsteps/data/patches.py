"""Square patches cut out of images at random."""

from __future__ import annotations

import torch
from torch import Tensor

from fewsteps.errors import ParameterError
from fewsteps.shapes import Float


def patches(
    images: Float[Tensor, "n H W"], size: int, count: int, generator: torch.Generator
) -> Float[Tensor, "count size size"]:
    """`count` patches, every position of every image equally likely, with replacement.

    Parameters
    ----------
    images : Tensor, shape (n, H, W)
    size : int
        Side of a patch in pixels, at most min(H, W).
    count : int
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (count, size, size)

    Raises
    ------
    ParameterError
        If a patch does not fit or there is none to cut.
    """
    number, height, width = images.shape
    if not 1 <= size <= min(height, width):
        raise ParameterError(f"size must lie between 1 and {min(height, width)}, the shorter side, not {size}.")
    if count < 1:
        raise ParameterError(f"count must be at least 1, not {count}.")
    windows = images.unfold(1, size, 1).unfold(2, size, 1)
    which, row, column = (
        torch.randint(n, (count,), generator=generator) for n in (number, height - size + 1, width - size + 1)
    )
    return windows[which, row, column]

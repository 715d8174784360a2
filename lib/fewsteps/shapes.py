"""Shapes in annotations, executed in the tests and free everywhere else.

Under pytest, jaxtyping and beartype check every ``Float[Tensor, "*batch H W"]`` of the library. A machine that has
only torch does not have jaxtyping; there the same annotations mean the plain tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact
else:
    try:
        from jaxtyping import Complex, Float, Inexact
    except ImportError:  # only torch here: annotations are documentation

        class _Plain:
            def __class_getitem__(cls, item):
                return item[0]

        Complex = Float = Inexact = _Plain

__all__ = ["Complex", "Float", "Inexact", "require_finite", "require_image", "require_vectors"]

import torch
from torch import Tensor

from fewsteps.errors import ShapeError


def require_image(x: object, name: str = "x") -> None:
    """Refuse anything but a floating-point (or complex) tensor of shape (..., H, W).

    Raises
    ------
    ShapeError
        With one sentence that names the argument and what it should be.
    """
    if not isinstance(x, Tensor):
        raise ShapeError(f"{name} must be a torch tensor of shape (..., H, W), not {type(x).__name__}.")
    if not (x.is_floating_point() or x.is_complex()):
        raise ShapeError(f"{name} must be floating point, not {x.dtype}: convert images with x.float() / 255.")
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(f"{name} must have shape (..., H, W) with no empty axis, not {tuple(x.shape)}.")


def require_map(x: object, name: str = "x") -> None:
    """Refuse anything but a floating-point (or complex) tensor of shape (H, W), such as a spectrum without channels.

    Raises
    ------
    ShapeError
        With one sentence that names the argument and what it should be.
    """
    require_image(x, name)
    assert isinstance(x, Tensor)
    if x.ndim != 2:
        raise ShapeError(f"{name} must have shape (H, W), not {tuple(x.shape)}: average over the other axes first.")


def require_finite(x: Tensor, name: str = "x") -> None:
    """Refuse NaN and infinity; waits for the device, so it is for statistics and not for the inside of a loop.

    Raises
    ------
    ShapeError
        With one sentence that counts the offending values.
    """
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ShapeError(f"{name} holds {bad} NaN or infinite values out of {x.numel()}; clean the images first.")


def require_vectors(name: str, z: object, count: int, width: int) -> Tensor:
    """`z`, if it is a tensor with one vector of that width for each of `count` images.

    Raises
    ------
    ShapeError
        With one sentence that names the argument and the width.
    """
    if not isinstance(z, Tensor) or tuple(z.shape) != (count, width):
        got = tuple(z.shape) if isinstance(z, Tensor) else z
        raise ShapeError(
            f"{name} must hold one vector of width {width} for every image, ({count}, {width}), not {got}."
        )
    return z

"""Sampled images on disk: one picture to look at, and one array to measure."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fewsteps.experiments.sampling import Drawn, Plan
from fewsteps.figures import tiled
from fewsteps.files import write_atomic

SHOWN = 256


def write_grid(path: Path, images: Tensor) -> None:
    """The first 256 images as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(tiled(images[:SHOWN])).save(buffer, "PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def write_images(path: Path, drawn: Drawn, plan: Plan) -> None:
    """All images as uint8 (N, H, W, C), their classes where they have one, and the plan as JSON text."""
    arrays = {
        "images": (drawn.images * 255).round().byte().permute(0, 2, 3, 1).numpy(),
        "plan": np.array(json.dumps(plan.described() | {"nfe": drawn.nfe})),
    }
    if drawn.labels is not None:
        arrays["labels"] = drawn.labels.numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    write_atomic(path, buffer.getvalue())

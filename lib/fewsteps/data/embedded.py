"""Images that installed packages already hold: no download, no network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from fewsteps.data.images import Pixels, square
from fewsteps.errors import DataError

PHOTOS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "camera", "grass", "gravel", "brick")
DIGITS_TRAIN = 1437


def photos(split: str) -> Pixels:
    """The photographs that the scikit-image wheel holds as PNG, each cut to its central square; `split` is "train".

    Raises
    ------
    DataError
        scikit-image is not installed, or its wheel no longer holds one of the files.
    """
    # The files are opened where they lie: skimage.data would ask pooch, which downloads what it does not find.
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("The data set 'photos' lies in the scikit-image wheel: install scikit-image.")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    blocks = []
    for name in PHOTOS:
        path = folder / f"{name}.png"
        try:
            with Image.open(path) as image:
                blocks.append(square(np.asarray(image.convert("RGB")))[None])
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} is missing or damaged: reinstall scikit-image.") from error
    return Pixels(blocks, names=PHOTOS)


def digits(split: str) -> Pixels:
    """scikit-learn's 1,797 digits, 8x8, values 0 to 16: the first 1,437 are "train", the last 360 are "test".

    Raises
    ------
    DataError
        scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("The data set 'digits' lies in the scikit-learn wheel: install scikit-learn.") from error
    images, labels = load_digits(return_X_y=True)
    part = slice(DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    return Pixels([images[part].astype(np.uint8).reshape(-1, 8, 8, 1)], labels=labels[part], white=16)

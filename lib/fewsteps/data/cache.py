"""The cache folder: where it is, how a failed write is told, and arrays that are slow to decode."""

from __future__ import annotations

import errno
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from fewsteps.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT)


def root() -> Path:
    """The cache folder, which may not exist yet: ``FEWSTEPS_CACHE``, else ``~/.cache/fewsteps``."""
    return Path(os.environ.get("FEWSTEPS_CACHE") or "~/.cache/fewsteps").expanduser()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell an OSError raised while writing under `folder` in one sentence.

    Raises
    ------
    DataError
        The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DataError(
                f"The disk that holds {folder} is full: free some space, or set FEWSTEPS_CACHE to a folder elsewhere."
            ) from error
        raise DataError(
            f"{folder} cannot be written ({error.strerror or error}): set FEWSTEPS_CACHE to a folder that can."
        ) from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes, so that two of them do not append to one partial download.

    Where the system has no such lock the block runs without: checksums still catch a file that was mixed up.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / ".lock", "ab")  # noqa: SIM115 - closed below, outside of `writing`
    with handle:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def decoded(key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """The array that `build` makes, kept under `key` in the cache folder.

    The file's name carries the hash of its content, so one that was cut short or altered is noticed and built again.
    A cache that cannot be written costs time only: a warning says so, and the array is returned all the same.

    Parameters
    ----------
    key : str
        Names the source exactly: another source needs another key.
    build : callable
        Called without arguments where the cache holds nothing usable; returns a uint8 array.

    Returns
    -------
    numpy.ndarray
        What `build` returned, now or at an earlier time.
    """
    folder = root() / "decoded"
    for path in sorted(folder.glob(f"{key}-*.npy")):
        try:
            array = np.load(path, allow_pickle=False)
            if path.stem == f"{key}-{_digest(array)}":
                return array
        except (OSError, ValueError, EOFError):
            pass
        with suppress(OSError):
            path.unlink()
    array = build()
    try:
        _save(array, folder / f"{key}-{_digest(array)}.npy")
    except OSError as error:
        warnings.warn(
            f"{folder} cannot be written ({error.strerror or error}), so the images are decoded again next time: "
            "set FEWSTEPS_CACHE to a folder that can.",
            stacklevel=2,
        )
    return array


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, so that two processes that decode at once do not write into one file.
    part = path.with_name(f"{path.stem}-{uuid4().hex}.part")
    try:
        with open(part, "wb") as out:
            np.save(out, array, allow_pickle=False)
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()

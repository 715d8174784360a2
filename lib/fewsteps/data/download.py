"""Files over HTTP: resumed where they broke off, checked, and put in place whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fewsteps.data.cache import FULL, writing
from fewsteps.errors import DataError

CHUNK = 1 << 18  # bytes
TIMEOUT_S = 30
SLOW_S = 10  # seconds between two lines of progress where nobody watches a terminal
ADVICE = "connect this machine to the network and load again, or set FEWSTEPS_DATA to a folder that holds a copy"


class _NetworkError(Exception):
    """The network failed; the message says how. Not an OSError, so that it is never taken for a full disk."""


def fetch(urls: Sequence[str], target: Path, md5: str, advice: str = ADVICE) -> None:
    """Download one file unless it is already there with the right checksum.

    The bytes go to ``<target>.part``, which a later call continues; only a complete file with the right checksum gets
    the final name. The addresses are tried in their order.

    Parameters
    ----------
    urls : sequence of str
        Addresses of the same file.
    target : Path
        Where the file goes.
    md5 : str
        Its checksum, as 32 hexadecimal digits.
    advice : str
        What the user is told to do when every address failed.

    Raises
    ------
    DataError
        No address gave the file, or the disk is full or cannot be written.
    """
    if target.is_file() and _md5(target) == md5:
        return
    part = target.with_name(target.name + ".part")
    why = "no address is known"
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            for url in urls:
                continued = True
                while continued:
                    continued = part.exists()
                    try:
                        _complete(url, part)
                    except _NetworkError as error:
                        why = str(error)
                        break
                    if _md5(part) == md5:
                        os.replace(part, target)
                        return
                    why = "wrong checksum"
                    # The beginning may stem from another version of the file: once more, from nothing.
                    part.unlink()
        except OSError as error:
            # A full disk harms every other program too, so the room is given back.
            if error.errno in FULL:
                part.unlink(missing_ok=True)
            raise
    raise DataError(f"{target.name} could not be downloaded ({why}): {advice}.")


def unpack(archive: Path, target: Path) -> None:
    """Unpack an archive (.gz, .tgz, .tar.gz), of which `target` is the file or folder wanted, beside it.

    It is unpacked into a folder of its own and moved, so that `target` is complete whenever it exists.

    Raises
    ------
    DataError
        The archive is damaged or does not hold `target`, or the disk is full or cannot be written.
    """
    from torchvision.datasets.utils import extract_archive

    with writing(target.parent):
        folder = tempfile.mkdtemp(dir=target.parent, suffix=".part")
        try:
            extract_archive(os.fspath(archive), folder)
            os.replace(Path(folder, target.name), target)
        except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, FileNotFoundError) as error:
            raise DataError(f"{archive} cannot be unpacked: delete it and load again.") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _complete(url: str, part: Path) -> None:
    """Fetch what `part` lacks, again and again as long as each connection brings it further."""
    reached, why = -1, ""
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have <= reached:
            raise _NetworkError(why)
        reached = have
        try:
            return _stream(url, part, have)
        except _NetworkError as error:
            why = str(error)


def _stream(url: str, part: Path, have: int) -> None:
    """One connection: ask for the bytes from `have` on, and append them; or all of them, where the server insists."""
    headers = {"User-Agent": "fewsteps", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing lies beyond `have`: the checksum decides whether this is the file
            return
        raise _NetworkError(f"HTTP status {error.code}") from error
    except URLError as error:
        raise _NetworkError(str(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise _NetworkError(str(error) or type(error).__name__) from error
    with response:
        continues = have > 0 and response.status == 206
        start, expected = (have if continues else 0), response.length
        total = None if expected is None else start + expected
        received = 0
        with open(part, "ab" if continues else "wb") as out, _progress(part.stem, start, total) as bar:
            while True:
                try:
                    chunk = response.read(CHUNK)
                except (OSError, HTTPException) as error:
                    raise _NetworkError(str(error) or type(error).__name__) from error
                if not chunk:
                    break
                out.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    # http.client ends a connection that was cut like one that is complete, so the lengths are compared here.
    if expected is not None and received < expected:
        raise _NetworkError("the connection was cut")


def _progress(name: str, start: int, total: int | None):
    """A bar on a terminal; elsewhere, as in the log of a notebook run, a line every ten seconds of a slow download."""
    from tqdm import tqdm

    pace = 0.1 if sys.stderr.isatty() else SLOW_S
    return tqdm(
        desc=name,
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        mininterval=pace,
        maxinterval=pace,
        delay=0 if sys.stderr.isatty() else SLOW_S,
    )


def _md5(path: Path) -> str:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return ""

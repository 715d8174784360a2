"""Writing so that nothing is ever half written, and hashing what is there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file aside and rename it into place, so that a reader sees the old content or the new.

    Parameters
    ----------
    path : Path
        Where to write; its directory is made if needed.
    content : str or bytes
        Text (as UTF-8) or bytes.

    Raises
    ------
    OSError
        The disk is full or not writable; ``path`` is then what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException as error:
        Path(part).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write() does not know its file; the message should
        raise


def write_together(contents: Mapping[Path, bytes | str]) -> None:
    """Write several files of one folder aside, and rename them only when all of them are written.

    Parameters
    ----------
    contents : mapping of Path to str or bytes

    Raises
    ------
    OSError
        The disk is full or not writable; every file is then what it was before.
    """
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.whole") for path in contents}
    try:
        for path, content in contents.items():
            write_atomic(parts[path], content)
        for path, part in parts.items():
            os.replace(part, path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none, or a damaged one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def swap_directory(new: Path, target: Path) -> None:
    """Put the directory ``new`` in the place of ``target``, which may exist."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def fresh_directory(path: Path) -> Path:
    """An empty directory at ``path``, whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def digest(*parts: str | bytes) -> str:
    """SHA-256 of some texts; where one ends and the next begins counts."""
    sha = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        sha.update(f"{len(content)}:".encode())
        sha.update(content)
    return sha.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file; of nothing where there is none."""
    if not path.is_file():
        return digest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over the names (relative to ``root``) and contents of files, in whatever order they come."""
    lines = sorted((path.relative_to(root).as_posix(), digest_file(path)) for path in files)
    return digest(*(part for line in lines for part in line))


def files_below(directory: Path, leave_out: Iterable[str] = ()) -> Iterator[Path]:
    """Every file below a directory; hidden ones, caches and the ``leave_out`` names directly in it are passed over."""
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__" or path.name in leave_out:
            continue
        if path.is_dir():
            yield from files_below(path)
        elif path.is_file():
            yield path


@contextmanager
def exclusive(path: Path, other: str = "another build") -> Iterator[None]:
    """Hold a lock on a file, waiting for whoever holds it; the system lets go of it however the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{other} is running; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

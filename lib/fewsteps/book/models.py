"""The networks that pages run in the browser, exported to ``book/_static/models`` and never committed.

The pages say which: a laboratory's state names its file, checkpoint and hash of the weights in one,
``mnist-e508959cab8f.onnx``. So weights that change ask for another file, and a browser never mixes old and new.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from fewsteps.book.project import Project
from fewsteps.errors import UserError
from fewsteps.files import digest, digest_tree, exclusive, files_below, fresh_directory, read_json

# How the state of a widget names a network's file, by itself or in a list.
_NAMED = re.compile(r'"([\w-]+)-[0-9a-f]{12}\.onnx"')
# What decides the content of the file, besides the weights.
_SOURCES = {"export", "trained.py", "networks", "denoisers", "schedules"}


def models(project: Project, profile: str) -> None:
    """Bring ``book/_static/models`` up to date with the networks that the executed notebooks name.

    A notebook that was run with other weights than are there now asks for a file that cannot be made any more: its
    page says so, and the command line that the notebook is out of date.

    Raises
    ------
    UserError
        A network could not be exported.
    """
    with exclusive(project.lock("models")):
        _bring_up_to_date(project, _named(project, profile))


def _named(project: Project, profile: str) -> set[str]:
    """The checkpoints that the executed notebooks want to run in the browser."""
    pages = (project.executed(profile) / path.name for path in project.notebooks())
    return {name for page in pages if page.is_file() for name in _NAMED.findall(page.read_text())}


def _bring_up_to_date(project: Project, names: set[str]) -> None:
    """Export what is missing, aside and then into place; remove what was made from other weights or by other code."""
    folder = project.models
    stamp, key = folder / ".stamp", _key(project)
    if not stamp.is_file() or stamp.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
    for path in folder.glob("*.onnx"):
        if path.name != _file(project, path.stem[:-13]):
            path.unlink()
    missing = [name for name in sorted(names) if not (folder / _file(project, name)).is_file()]
    if not missing:
        return
    part = fresh_directory(folder.with_name(".models.part"))
    try:
        print(f"exporting the networks {', '.join(missing)}", flush=True)
        _export(project, missing, part)
        folder.mkdir(parents=True, exist_ok=True)
        for path in part.iterdir():
            path.replace(folder / path.name)
        stamp.write_text(key)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _file(project: Project, name: str) -> str:
    """The file of a checkpoint as it is now; the exporter chooses the same name."""
    card = read_json(_checkpoints(project) / f"{name}.json")
    return f"{name}-{card.get('weights', {}).get('sha256', '')[:12]}.onnx"


def _export(project: Project, names: list[str], folder: Path) -> None:
    """All in a process of their own: this one stays without torch, and the first network takes longest by far."""
    command = [sys.executable, "-m", "fewsteps.cli", "export", *names, "--out", folder]
    command += ["--folder", _checkpoints(project)]
    done = subprocess.run([str(part) for part in command], cwd=project.root, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason was given"]
        failed = next(name for name in names if not (folder / _file(project, name)).is_file())
        raise UserError(f"The network {failed} was not exported for the pages: {said[-1]}")


def _key(project: Project) -> str:
    """Hash of the code that exports, and of the packages that it stands on."""
    library = project.root / "lib" / "fewsteps"
    sources = (path for path in files_below(library) if path.relative_to(library).parts[0] in _SOURCES)
    return digest(digest_tree(library, sources), project.lock_digest)


def _checkpoints(project: Project) -> Path:
    return project.root / "data" / "checkpoints"

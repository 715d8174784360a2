"""Make the HTML pages: stage the sources beside the executed notebooks, run Jupyter Book, swap the result in.

The pages are always made from nothing. Sphinx could reuse those of last time, but then a warning on a page that has
not changed is shown once and never again, and warnings are errors here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fewsteps import parameters
from fewsteps.book.live import with_figures
from fewsteps.book.models import models
from fewsteps.book.project import Project
from fewsteps.book.vendor import vendor
from fewsteps.errors import UserError
from fewsteps.files import (
    digest,
    digest_file,
    digest_tree,
    files_below,
    fresh_directory,
    read_json,
    swap_directory,
    write_atomic,
)

# A page's place in the staged tree, and the file to copy there or the text to write.
Stage = dict[str, Path | str]

# Sphinx colours its warnings, for a terminal or not.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(UserError):
    """Jupyter Book found something to complain about, which has been shown."""


def build(project: Project, profile: str) -> Path:
    """Make a profile's pages, unless they were made from the same sources before.

    Returns
    -------
    Path
        The directory of the pages, with an ``index.html``.

    Raises
    ------
    BuildError
        Sphinx failed or warned; what it said is on standard error and the pages of last time are still there.
    """
    parameters.profile(profile)
    vendor(project)
    models(project, profile)
    place = project.built(profile)
    pages, stamp = place / "html", place / "html.key"
    stage = staged(project, profile)
    key = _key(project, stage)
    if read_json(stamp).get("key") == key and (pages / "index.html").is_file():
        return pages
    print("building the pages", flush=True)
    source, work = fresh_directory(place / "source"), fresh_directory(place / "work")
    try:
        _write_stage(stage, source)
        made = _run_jupyter_book(source, work)
        stamp.unlink(missing_ok=True)
        swap_directory(made, pages)
        write_atomic(stamp, f'{{"key": "{key}"}}')
    finally:
        # Whatever stopped it, a full disk for one, half a book is not left behind.
        for directory in (source, work):
            shutil.rmtree(directory, ignore_errors=True)
    return pages


def publish(project: Project, pages: Path) -> None:
    """Let ``_build/html`` lead to these pages: they are what ``fewsteps serve`` shows."""
    link = project.latest
    part = link.with_name(".html.part")
    part.unlink(missing_ok=True)
    part.symlink_to(os.path.relpath(pages, link.parent), target_is_directory=True)
    part.replace(link)


def staged(project: Project, profile: str) -> Stage:
    """What Jupyter Book is given: configuration, prose, static files, generated pages, notebooks.

    A notebook that has not been executed is taken as it was written, so that the pages can be worked on before
    everything has run.
    """
    root = project.root
    left_out = {project.made / "_executed", project.made / "_build"}
    stage: Stage = {"_config.yml": root / "_config.yml"}
    for path in files_below(root / "book", leave_out=[path.name for path in left_out]):
        name = path.relative_to(root).as_posix()
        stage[name] = _with_figures(project, profile, name, path) if path.suffix == ".md" else path
    for path in project.notebooks():
        executed = project.executed(profile) / path.name
        stage[f"notebooks/{path.name}"] = executed if executed.is_file() else path
    return stage | generated(root)


def _with_figures(project: Project, profile: str, name: str, path: Path) -> Path | str:
    """The page as it is, or its text where live figures stand in it."""
    text = path.read_text(encoding="utf-8")
    found = with_figures(text, name, lambda figure: project.executed(profile) / project.notebooks([figure])[0].name)
    return path if found == text else found


def generated(root: Path) -> Stage:
    """The pages that are written by code."""
    if importlib.util.find_spec("fewsteps.book.coverage") is None:
        return {}
    from fewsteps.book import coverage, reference, scorecard

    made = {"coverage": coverage.page, "claims": scorecard.page}
    names = {"coverage": "book/coverage.md", "claims": "book/scorecard.md"}
    found: Stage = {names[key]: page(root) for key, page in made.items() if (root / "data" / f"{key}.yaml").is_file()}
    return found | (reference.pages() if found else {})  # other projects, as those of the tests, have no such pages


def _key(project: Project, stage: Stage) -> str:
    """Hash of all that shapes the pages; the library too, whose docstrings may be on one."""
    contents = ((name, item if isinstance(item, str) else digest_file(item)) for name, item in sorted(stage.items()))
    pipeline = digest_tree(Path(__file__).parent, files_below(Path(__file__).parent))
    return digest(*(part for pair in contents for part in pair), pipeline, project.library_digest, project.lock_digest)


def _write_stage(stage: Stage, target: Path) -> None:
    for name, item in stage.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, str):
            path.write_text(item)
        else:
            shutil.copyfile(item, path)


def _run_jupyter_book(source: Path, work: Path) -> Path:
    """Run Jupyter Book with warnings as errors and return the directory that it made."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", source]
    command += ["--config", source / "_config.yml", "--toc", source / "book" / "_toc.yml", "--path-output", work]
    command += ["-W", "--keep-going", "-q"]
    result = subprocess.run([str(part) for part in command], cwd=source, capture_output=True, text=True)
    if result.returncode != 0:
        # With the staged tree's path taken off, the warnings name the files that were written by hand.
        print(_COLOURS.sub("", result.stderr).replace(f"{source}{os.sep}", ""), file=sys.stderr)
        raise BuildError("The pages were not built: Jupyter Book ended with the warnings above, which are errors here.")
    return work / "_build" / "html"

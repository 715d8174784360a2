"""Copy what the pages load in the browser from the npm packages: no page asks anything of another site.

The packages and their versions are those of ``package-lock.json``; the copies go to ``book/_static/vendor`` and are
never committed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fewsteps.book.project import Project
from fewsteps.errors import UserError
from fewsteps.files import digest, digest_file, exclusive, fresh_directory, swap_directory

# (file or directory in node_modules, its place in vendor)
COPIES = (
    ("plotly.js-basic-dist-min/plotly-basic.min.js", "plotly.min.js"),
    ("mathjax/es5/tex-chtml.js", "mathjax/tex-chtml.js"),
    ("mathjax/es5/output/chtml/fonts/woff-v2", "mathjax/output/chtml/fonts/woff-v2"),
    ("onnxruntime-web/dist/ort.wasm.bundle.min.mjs", "onnxruntime/ort.mjs"),
    ("onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", "onnxruntime/ort.wasm"),
)


def vendor(project: Project) -> None:
    """Bring ``book/_static/vendor`` up to date with ``node_modules``.

    Raises
    ------
    UserError
        ``node_modules`` is not there or not complete.
    """
    with exclusive(project.lock("vendor")):
        _bring_up_to_date(project)


def _bring_up_to_date(project: Project) -> None:
    stamp = project.vendor / "stamp"
    key = digest(digest_file(project.root / "package-lock.json"), digest_file(Path(__file__)))
    if stamp.is_file() and stamp.read_text() == key:
        return
    part = fresh_directory(project.vendor.with_name(".vendor.part"))
    try:
        _copy(project.root / "node_modules", part)
        (part / "stamp").write_text(key)
        swap_directory(part, project.vendor)
    except FileNotFoundError as error:
        # The stamp says that all is there; without it `make setup` fetches the packages again.
        (project.root / "node_modules" / ".fewsteps-complete").unlink(missing_ok=True)
        raise UserError(f"The front-end packages are missing ({error.filename}): run make setup.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(modules: Path, target: Path) -> None:
    for source, name in COPIES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (modules / source).is_dir() else shutil.copyfile
        copy(modules / source, target / name)

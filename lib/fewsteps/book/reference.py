"""The reference pages: every public name of a room, from its docstring."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

ROOMS = {
    "transforms": "Orthonormal cosine and Fourier transforms",
    "spectra": "Power by frequency",
    "wiener": "Wiener filters",
    "schedules": "How signal and noise mix over time",
    "filters": "The noise operators of TDAS and PDS",
    "denoisers": "Models as posterior means",
    "samplers": "From noise to data",
    "theory": "What a sampler makes of a Gaussian, exactly",
    "networks": "The networks that are trained here",
    "losses": "What they are trained to do",
    "training": "The training loop",
    "checkpoints": "Weights and their cards",
    "trained": "Shipped networks, ready to sample",
    "data": "Images",
    "metrics": "From images to numbers",
    "bridge": "Models from elsewhere",
    "widgets": "The live figures",
    "parameters": "Checks of what comes from outside",
    "errors": "What is raised",
}
"""Rooms of the library that have a page, lowest first, and what is in them."""


def pages() -> dict[str, str]:
    """Path below the book's root -> text: an index, and a page for every room."""
    listed = "\n".join(
        f"| {{doc}}`fewsteps.{room} </book/api/{room}>` | {about} | {', '.join(f'`{name}`' for name in public(room))} |"
        for room, about in ROOMS.items()
    )
    index = (
        "# The library's reference\n\nWhat there is to import, room by room: a room knows those above it and none "
        "below. Every function states the shapes of its arguments, their units, the errors that it raises, and the row "
        "of the papers that it implements (`Source: TDAS-4, Eq. 6`), by which the [coverage page](coverage.md) finds "
        "it. Symbols are explained in the [notation](notation.md).\n\n"
        f"| room | what it holds | names |\n| --- | --- | --- |\n{listed}\n"
    )
    return {"book/api.md": index} | {f"book/api/{room}.md": page(room) for room in ROOMS}


def page(room: str) -> str:
    """The page of one room."""
    module = importlib.import_module(f"fewsteps.{room}")
    said = plain(inspect.getdoc(module) or "")
    entries = "\n\n".join(_entry(room, name, getattr(module, name)) for name in public(room))
    return f"# fewsteps.{room}\n\n{ROOMS[room]}.\n\n```{{eval-rst}}\n{said}\n```\n\n```{{eval-rst}}\n{entries}\n```\n"


def public(room: str) -> list[str]:
    """The names that a room exports: its ``__all__``, or what it defines itself."""
    module = importlib.import_module(f"fewsteps.{room}")
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, found in vars(module).items()
            if not name.startswith("_") and getattr(found, "__module__", None) == module.__name__
        ]
    return sorted(names, key=str.lower)


def plain(text: str) -> str:
    """A docstring whose bars are bars, as in |x|, and not the substitutions that reStructuredText takes them for.

    What stands in double backticks is left as it is.
    """
    parts = text.split("``")
    return "``".join(part if place % 2 else part.replace("|", "\\|") for place, part in enumerate(parts))


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this, since `_config.yml` lists the module as an extension."""

    def process(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
        lines[:] = plain("\n".join(lines)).split("\n")

    app.connect("autodoc-process-docstring", process, priority=400)  # before napoleon reads them
    return {"parallel_read_safe": True}


def _entry(room: str, name: str, found: object) -> str:
    where = f"fewsteps.{room}.{name}"
    if inspect.isclass(found):
        kind = "exception" if issubclass(found, BaseException) else "class"
        members = "" if kind == "exception" else "\n   :members:"
        return f".. auto{kind}:: {where}{members}\n   :show-inheritance:"
    if inspect.isroutine(found):
        return f".. autofunction:: {where}"
    held = ", ".join(f"``{key}``" for key in found) if isinstance(found, dict | tuple | list) else f"``{found!r}``"
    return f".. py:data:: {where}\n\n   {held}"

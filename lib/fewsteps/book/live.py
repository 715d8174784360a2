"""A notebook's live figure on a page of prose.

Where a Markdown page has the line ``<!-- live: 00_sampling -->``, the page gets the first live figure of that executed
notebook. ``fewsteps-live.js`` draws it from the saved state alone, as it draws the figures of a chapter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fewsteps.errors import UserError

_MARK = re.compile(r"^<!-- live: ([\w-]+) -->$", re.MULTILINE)
_VIEW, _STATE = (f"application/vnd.jupyter.widget-{what}+json" for what in ("view", "state"))
_BLOCK = """\
```{{raw}} html
<div class="fs-live full-width"><script type="application/json">{state}</script>
<noscript>This figure computes in your browser, for which it needs JavaScript.</noscript></div>
<script defer src="{up}_static/fewsteps-live.js"></script>
```"""


def with_figures(text: str, page: str, executed: Callable[[str], Path]) -> str:
    """The text of a page with every mark replaced.

    Parameters
    ----------
    text : str
        Markdown.
    page : str
        Its place in the staged tree, ``book/index.md``.
    executed : callable
        From a notebook's name to where it is once it has run.

    Returns
    -------
    str

    Raises
    ------
    ParameterError
        There is no notebook of that name.
    UserError
        The notebook shows no live figure, or one whose state holds bytes.
    """
    up = "../" * page.count("/")

    def block(found: re.Match[str]) -> str:
        path = executed(found[1])
        if not path.is_file():  # pages can be worked on before everything has run
            return f"*Here stands a live figure once `notebooks/{found[1]}.ipynb` has been run.*"
        # No "<" in the state: the page would take it for the end of the script, or the beginning of another.
        return _BLOCK.format(state=json.dumps(_figure(path), ensure_ascii=False).replace("<", "\\u003c"), up=up)

    return _MARK.sub(block, text)


def _figure(path: Path) -> dict[str, Any]:
    """The traits of the first live figure of a notebook, its module and its style among them."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", []))
    views = (output["data"][_VIEW] for output in outputs if _VIEW in output.get("data", {}))
    models = notebook["metadata"].get("widgets", {}).get(_STATE, {}).get("state", {})
    model = next((models[view["model_id"]] for view in views if view["model_id"] in models), None)
    if model is None or "_esm" not in model["state"]:
        raise UserError(f"notebooks/{path.name} shows no live figure, and a page of prose asks for it.")
    if model.get("buffers"):
        raise UserError(f"the live figure of notebooks/{path.name} holds bytes, which no page of prose can show.")
    return model["state"]

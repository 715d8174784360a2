"""Join front-end modules into the one file that anywidget stores in the page."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
_IMPORT = re.compile(r"^import\s*\{([^}]*)\}\s*from\s*\"\./([\w]+\.js)\";\n", re.MULTILINE)
# Whole lines of comment, and what stands behind code on its line and holds no quotation mark, so that nothing of a
# string is taken for it: comments are for who reads the sources, and a page would carry them in every figure.
_COMMENT = re.compile(r"^ *(?://.*|/\*\*.*\*/|/\*\*[^/]*(?:[^*]/[^/]*)*\*/)\n", re.MULTILINE)
_REMARK = re.compile(r"(?<=[;,{}()\[\]]) // [^\"'`\n]*$", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function\*? |const |let |class )", re.MULTILINE)


def bundle(entry: str) -> str:
    """The module `entry` with everything that it imports, as one self-contained ES module.

    Parameters
    ----------
    entry : str
        File name of a module of this folder with a default export.

    Returns
    -------
    str
        Imported modules come first, each once, their exports turned into plain declarations, comments left out. The
        modules are our own and keep to ``import { names } from "./file.js"`` at the top and to names that differ
        from file to file, so no front-end toolchain is needed; the tests load the result in Node.
    """
    return "\n".join(_in_order(entry, {}).values())


def _in_order(name: str, done: dict[str, str]) -> dict[str, str]:
    source = (HERE / name).read_text(encoding="utf-8")
    for _, imported in _IMPORT.findall(source):
        if imported not in done:
            _in_order(imported, done)
    done[name] = _REMARK.sub("", _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", source))))
    return done

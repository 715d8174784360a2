"""One look for all static figures and printed tables, readable on a white page and on a dark one."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from IPython.display import Markdown
    from matplotlib.figure import Figure

# The grey whose contrast is the same on white and on the dark theme's background; no grey does better on both.
INK = "#747b85"
COLOURS = ("#d1495b", "#2e86de", "#3a9d5d", "#9067d6", "#b8860b", "#d264a9")
DASHES = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (9, 3)))


def use_style() -> None:
    """Set matplotlib up for the book: transparent, mid-grey ink, lines that differ in dash as well as colour."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "figure.facecolor": "none",
            "savefig.facecolor": "none",
            "savefig.transparent": True,
            "axes.facecolor": "none",
            "legend.framealpha": 0.0,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.titlecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": INK,
            "grid.alpha": 0.25,
            "axes.grid": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
            "lines.linewidth": 1.8,
            "font.size": 11,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "savefig.dpi": 110,
        }
    )


def tiled(images: Tensor, columns: int = 16, gap: int = 1) -> np.ndarray:
    """Images side by side as one picture.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        In [0, 1]; what lies outside is clipped.
    columns : int
        At most so many in a row.
    gap : int
        White pixels between two.

    Returns
    -------
    numpy.ndarray, shape (rows, columns, 3)
        uint8.
    """
    tiles = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    count, height, width, _ = tiles.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def image_grid(rows: Sequence[Sequence[Tensor]], columns: Sequence[str], labels: Sequence[str]) -> Figure:
    """A grid of pictures with column titles and row labels.

    Parameters
    ----------
    rows : sequence of sequences of Tensor, each (3, H, W) or (1, H, W)
        Pixels in [0, 1]; what lies outside is clipped.
    columns, labels : sequence of str
        Titles over the columns and beside the rows.

    Returns
    -------
    Figure
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(rows), len(columns), figsize=(1.9 * len(columns), 1.95 * len(rows)), squeeze=False)
    for axis_row, row, label in zip(axes, rows, labels, strict=True):
        for axis, image in zip(axis_row, row, strict=True):
            axis.imshow(image.clamp(0, 1).permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            for side in axis.spines.values():
                side.set_visible(False)
        axis_row[0].set_ylabel(label)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=10)
    return figure


def strips(rows: Mapping[str, Tensor], columns: int | None = None) -> Figure:
    """Small images per name, such as samplers from the same noise: one line of them, or several.

    Parameters
    ----------
    rows : mapping of name to Tensor, shape (N, C, H, W)
        In [0, 1]; equally many for every name.
    columns : int, optional
        At most so many in a line; default all of them.
    """
    import matplotlib.pyplot as plt

    count = max(len(images) for images in rows.values())
    wide = columns or count
    each = 0.7 if columns is None else 0.25 + 8 * -(-count // wide) / wide  # few images are no larger than many
    figure, axes = plt.subplots(len(rows), 1, figsize=(9, each * len(rows)), squeeze=False)
    for axis, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        axis.imshow(tiled(images, columns=wide))
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axis.grid(False)
    return figure


def shown(rows: Mapping[str, Tensor], otherwise: str, columns: Sequence[str] = ()) -> None:
    """Rows of images, large under titles of their columns or small without, or a printed sentence in their place.

    Parameters
    ----------
    rows : mapping of name to Tensor, shape (N, C, H, W)
        In [0, 1]; none where nothing can be shown yet.
    otherwise : str
        What is said then.
    columns : sequence of str
        Titles, one for every image of a row.
    """
    import matplotlib.pyplot as plt

    if not rows:
        print(otherwise)
        return
    if columns:
        image_grid([list(images) for images in rows.values()], columns, list(rows))
    else:
        strips(rows)
    plt.show()


class Point(NamedTuple):
    """A point of a curve.

    Attributes
    ----------
    x, y : float
        Positive.
    half : float
        Half of the interval of `y`.
    said : str
        Of the point under the pointer, with plotly's own few tags: <b> and <br>.
    """

    x: float
    y: float
    half: float
    said: str


@dataclass(frozen=True)
class Curves:
    """Curves with intervals that answer to the pointer, both axes logarithmic: the last expression of a cell.

    In the book ``fewsteps-plots.js`` draws it, with a box to tick for every curve; where plotly's own renderer is, as
    in JupyterLab, that does. Everywhere else, and on paper, a line says where the numbers are: a table on the page.

    Parameters
    ----------
    lines : mapping of name to sequence of Point
    x, y : str
        What the axes say.
    title : str
    begins : sequence of str
        The curves that are drawn at first, in the order of `COLOURS`; the others, behind them, once they are chosen.
    table : str
        Where the same numbers are, as in "the table above".
    """

    lines: Mapping[str, Sequence[Point]]
    x: str
    y: str
    title: str
    begins: Sequence[str]
    table: str = "the table above"

    def plain(self) -> dict[str, Any]:
        """Plotly's description of the figure: lists, numbers and words."""
        dashes = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
        first = [name for name in self.begins if name in self.lines]
        order = [*first, *(name for name in self.lines if name not in first)]
        bars, data = {"width": 2, "thickness": 1}, []
        for k, name in enumerate(order):
            points = self.lines[name]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": name,
                    "x": [point.x for point in points],
                    "y": [_short(point.y) for point in points],
                    "error_y": {"type": "data", "array": [_short(point.half) for point in points], **bars},
                    "text": [point.said for point in points],
                    "hovertemplate": "%{text}<extra></extra>",
                    "line": {"color": COLOURS[k % 6], "dash": dashes[(k + k // 6) % 6]},  # 36 looks
                    "visible": True if name in first else "legendonly",
                }
            )
        places = sorted({point.x for points in self.lines.values() for point in points})
        ends = _ends([point.y for points in self.lines.values() for point in points])
        shared = {"type": "log", "automargin": True, "fixedrange": True}
        layout = {
            "xaxis": {**shared, "title": {"text": self.x}, "tickvals": places, "ticktext": [f"{v:g}" for v in places]},
            "yaxis": {**shared, "title": {"text": self.y}, **ends},
            "margin": {"l": 50, "r": 10, "t": 10, "b": 40},
            "hovermode": "closest",
        }
        return {"data": data, "layout": layout}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        plain = self.plain()
        # Nothing in a name may look like a tag to whoever reads the page.
        saved = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        title, elsewhere = html.escape(self.title), html.escape(self.table)
        page = (
            f'<div class="fs-curves" role="group" aria-label="{title}"><p class="fs-curves-title">{title}</p>'
            f'<script type="application/json">{saved}</script>'
            f'<p class="fs-curves-else">These numbers are in {elsewhere} as well.</p></div>'
        )
        return {
            "application/vnd.plotly.v1+json": plain,
            "text/html": page,
            "text/plain": f"{self.title}: {', '.join(self.lines)}.",
        }


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str | float]], *, before: str = "", after: str = ""
) -> Markdown:
    """A table as the last expression of a cell.

    Parameters
    ----------
    columns : sequence of str
        Headings, in Markdown.
    rows : sequence of sequences of str or float
        Text is taken as it is, numbers as :func:`readable` writes them.
    before, after : str
        Paragraphs around the table.

    Returns
    -------
    Markdown
    """
    from IPython.display import Markdown

    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[cell if isinstance(cell, str) else readable(cell) for cell in line] for line in lines]
    body = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return Markdown("\n\n".join(part for part in (before, body, after) if part))


def measured(
    found: Any,
    pair: Callable[[Any], tuple[Sequence[str], Sequence[Sequence[str | float]]]],
    before: str,
    verdict: Callable[[Any], str] | None = None,
) -> Markdown:
    """A :func:`table` of what was measured with its verdict, or in its place that networks are not trained yet.

    Parameters
    ----------
    found
        What was measured of a data set, whose name is its ``data``.
    pair : callable
        Columns and lines of it; no lines where there is nothing.
    before : str
        What the table is called.
    verdict : callable, optional
        A sentence from the same, below the table.
    """
    from IPython.display import Markdown

    columns, lines = pair(found)
    if lines:
        return table(columns, lines, before=before, after=verdict(found) if verdict else "")
    return Markdown(
        f"{before} *{found.data}: not yet trained here.* The commands at the end of this page train and measure the "
        "networks."
    )


def _ends(values: Sequence[float]) -> dict[str, Any]:
    """The range of a logarithmic axis, by values and not by intervals, which may reach 0, and marks along it."""
    seen = [value for value in values if value > 0]
    if not seen:
        return {}
    low, high = 0.7 * min(seen), 1.4 * max(seen)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = (1,) if high > 100 * low else (1, 2, 5)
    places = [_short(mark * 10.0**decade) for decade in decades for mark in marks]
    ends = [_short(math.log10(low)), _short(math.log10(high))]
    return {"range": ends, "tickvals": places, "ticktext": [f"{place:g}" for place in places]}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def readable(value: float, digits: int = 2) -> str:
    """A number with `digits` significant digits, powers of ten written as such, a real minus sign.

    The laboratories' front end has the same function under the same name.
    """
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa.replace('-', '−')}·10{power}"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:g}".replace("-", "−")

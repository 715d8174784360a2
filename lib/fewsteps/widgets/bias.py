"""Chapter 02's laboratory: the measured grid of the frequency-bias toy under the reader's hand."""

from __future__ import annotations

from typing import Any

import traitlets

from fewsteps import results
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.figure import Figure

LENGTH = 32
ITERATIONS = 4000
WIDTHS = (16, 64, 256, 1024)
FREQUENCIES = (3, 5)
# The page draws up to 2. What diverged is kept beyond that, and no further.
MOST = 3


class BiasLab(Figure):
    """Chapter 02: which of two frequencies a small network keeps, over the runs of ``tools/sweep_toy.py``.

    Signals of 32 samples. Nothing is trained here: every position of the controls is one row of the result table.

    Parameters
    ----------
    width, majority, prediction, phase, clip
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Notes
    -----
    Source: SD-2, Example 1 and Fig. 4.
    """

    _esm = bundle("bias_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    width = traitlets.Enum(WIDTHS, 64).tag(sync=True)
    majority = traitlets.Enum(FREQUENCIES, 3).tag(sync=True)
    prediction = traitlets.Enum(("eps", "x0"), "eps").tag(sync=True)
    phase = traitlets.Enum(("fixed", "random"), "fixed").tag(sync=True)
    clip = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._table = [
            row
            for row in results.read("frequency_bias")["rows"]
            if row["length"] == LENGTH and row["iterations"] == ITERATIONS
        ]
        first = self._table[0]
        self.setting = {
            "length": LENGTH,
            "widths": list(WIDTHS),
            "samples": first["samples"],
            "seeds": first["seeds"],
            "share": 0.8,
        }
        self.rows = [_compact(row) for row in self._table]

    def row(self) -> dict[str, Any]:
        """The row of the result table that the controls describe, whole.

        Returns
        -------
        dict
        """
        wanted = {name: getattr(self, name) for name in ("width", "majority", "prediction", "phase", "clip")}
        [found] = [row for row in self._table if all(row[name] == value for name, value in wanted.items())]
        return found


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    """What the page draws of a row; signals in hundredths, as they are stored."""
    return {
        "key": [row[name] for name in ("width", "majority", "prediction", "phase", "clip")],
        "majority": row["majority_recovered"],
        "minority": row["minority_recovered"],
        "spread": max(row["spread"]),
        "magnitude": [round(value, 3) for value in row["mean_magnitude"]],
        "signals": [[round(100 * max(-MOST, min(MOST, value))) for value in signal] for signal in row["signals"]],
    }

"""The errata page's laboratory: every misprint that can be drawn, as printed and as used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from fewsteps.errors import ParameterError
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.figure import Figure


class ErrataLab(Figure):
    """One figure with a switch between the printed formula and the one that is used.

    Parameters
    ----------
    entries : sequence of dict
        What ``fewsteps.experiments.errata.drawn`` makes of every misprint.
    row, form, position
        Where the controls stand at first: the row of an entry, "printed" or "used", and which of the values of its
        number, from 0. Traits of the same names follow the reader's hand.

    Raises
    ------
    ParameterError
        If there is no entry of that row; lists those there are.

    Notes
    -----
    Source: the errata page of the book.
    """

    _esm = bundle("errata_lab.js")
    _css = HERE / "lab.css"
    entries = traitlets.List().tag(sync=True)
    row = traitlets.Unicode("SD-1").tag(sync=True)
    form = traitlets.Enum(("printed", "used"), "printed").tag(sync=True)
    position = traitlets.Int(7, min=0, max=14).tag(sync=True)

    def __init__(self, entries: Sequence[dict[str, Any]] = (), **traits: Any) -> None:
        super().__init__(entries=list(entries), **traits)

    @traitlets.validate("row")
    def _row_exists(self, proposal: Any) -> str:
        known = [entry["row"] for entry in self.entries]
        if known and proposal.value not in known:
            raise ParameterError(f"row must be one of {', '.join(known)}, not {proposal.value!r}.")
        return proposal.value

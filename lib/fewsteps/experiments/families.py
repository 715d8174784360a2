"""Which filters a search may find: equally many points for every family, and gains of zones as deep as numbers.

A search has two stages. First a coarse grid of eight points; then four more around the best of them, one parameter
after the other, half way or a third of the way to its neighbours, where the neighbour of an end is the end of what is
allowed. A parameter's turn begins at the best so far, so that what two of them gain adds up. An optimum between two
points or beyond the last of them is found with twelve samplings, and a family with one parameter gets no more of them
than one with two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from fewsteps.errors import ParameterError

COARSE, FINE = 8, 4
VERSION = 1
"""Raise it when a search changes beyond what `FAMILIES` says: rows that a search led to are then made again."""

_DEEP = {"lam": [0.1, 0.4, 0.7, 0.95], "r": [0.1, 0.3]}
_ORDER = ["lam", "r"]
_MOVES = {"lam": [1.3, 1.6], "direction": ["M", "M_inv"], "step": [0.5, 2.0]}
FAMILIES: dict[str, dict[str, Any]] = {
    "scalar": {
        "fixed": {"kind": "scalar"},
        "coarse": {"lam": [0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.97, 1.03]},
        "within": {"lam": [0.0, 1.15]},
    },
    "tdas": {
        "fixed": {"kind": "tdas"},
        "coarse": _DEEP,
        "within": {"lam": [0.0, 1.15], "r": [0.0, 0.7]},
        "order": _ORDER,
    },
    "pds": {
        "fixed": {"kind": "pds"},
        "coarse": {"lam": [0.7, 0.9, 1.3, 1.8], "r": [0.1, 0.3]},
        "within": {"lam": [0.3, 2.8], "r": [0.0, 0.7]},
        "order": _ORDER,
    },
    "pds_data": {
        "fixed": {"kind": "pds_data"},
        "coarse": {"alpha": [2.0, 5.0, 12.0, 30.0], "direction": ["M", "M_inv"]},
        "within": {"alpha": [1.0, 120.0]},
    },
    # Samplers of VP processes lose power, so gains above 1 are among these.
    "scalar_vp": {
        "fixed": {"kind": "scalar"},
        "coarse": {"lam": [0.6, 0.8, 0.9, 0.97, 1.02, 1.05, 1.1, 1.2]},
        "within": {"lam": [0.0, 1.5]},
    },
    "tdas_vp": {
        "fixed": {"kind": "tdas"},
        "coarse": {"lam": [0.4, 0.85, 1.05, 1.2], "r": [0.1, 0.3]},
        "within": {"lam": [0.0, 1.5], "r": [0.0, 0.7]},
        "order": _ORDER,
    },
    # "step": that of Langevin moves over the square of the last noise level; NCSN's own is 0.2, and a run that has a
    # tenth of its moves wants more than ten times as much. The same open end for all three.
    "langevin_step": {
        "fixed": {},
        "coarse": {"step": [0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.2]},
        "within": {"step": [0.0, 4.0]},
    },
    "langevin_pds": {
        "fixed": {"kind": "pds", "r": 0.2, "drift": True},
        "coarse": _MOVES,
        "within": {"lam": [1.0, 2.2], "step": [0.0, 4.0]},
        "order": ["lam", "step"],
    },
    "langevin_tdas": {
        "fixed": {"kind": "tdas"},
        "coarse": {"lam": [0.5, 0.85], "r": [0.1, 0.3], "step": [0.5, 2.0]},
        "within": {"lam": [0.0, 1.1], "step": [0.0, 4.0]},
        "order": ["lam", "step"],
    },
}
"""Of each: what all points share, the grid of the first stage, within what open ends the second refines it, and in
what order where more than one parameter is refined."""


def coarse(family: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points of the first stage.

    Parameters
    ----------
    family : mapping
        Of `FAMILIES`.
    """
    axes = family["coarse"]
    return [{**family["fixed"], **dict(zip(axes, point, strict=True))} for point in product(*axes.values())]


def around(family: Mapping[str, Any], name: str, middle: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The points of the second stage along one parameter.

    Parameters
    ----------
    family : mapping
        Of `FAMILIES`.
    name : str
        Of the parameter, whose value is still one of the coarse grid.
    middle : mapping
        The best point so far.

    Returns
    -------
    list of mappings
        Equally many on each side.

    Raises
    ------
    ParameterError
        If the parameter's value is not of the coarse grid.
    """
    low, high = family["within"][name]
    each = FINE // (2 * len(family["within"]))
    values = [low, *family["coarse"][name], high]
    if (value := middle.get(name)) not in values[1:-1]:
        raise ParameterError(f"{name} must be one of {', '.join(map(str, values[1:-1]))}, not {value!r}.")
    here, found = values.index(value, 1), []
    for neighbour in (values[here - 1], values[here + 1]):
        steps = [value + (neighbour - value) * k / (each + 1) for k in range(1, each + 1)]
        found += [{**middle, name: float(f"{step:.4g}")} for step in steps]
    return found


Found = list[tuple[float, dict[str, Any]]]


def search(family: Mapping[str, Any], distance: Callable[[dict[str, Any]], float]) -> Found:
    """Both stages.

    Parameters
    ----------
    family : mapping
        Of `FAMILIES`.
    distance : callable
        Of a point; infinite where a sampler diverges.

    Returns
    -------
    list of (distance, point)
        In the order in which they were tried; the first stage alone if it diverges everywhere.
    """
    found = [(distance(point), point) for point in coarse(family)]
    for name in family.get("order", list(family["within"])):
        if any(math.isfinite(value) for value, _ in found):
            found += [(distance(point), point) for point in around(family, name, best(found))]
    return found


def best(found: Found) -> dict[str, Any]:
    """The point at the smallest distance."""
    return min(found, key=lambda pair: pair[0])[1]


def ends(points: Sequence[Mapping[str, Any]], end: Mapping[str, Any]) -> list[str]:
    """The parameters of the best point that no tried point goes beyond: an optimum may lie further out.

    Parameters
    ----------
    points : sequence of mappings
        All that were tried, of both stages.
    end : mapping
        The best of them.

    Returns
    -------
    list of str
        As in "lam = 0.067 is the smallest that was tried".
    """
    said = []
    for name, value in end.items():
        tried = [point[name] for point in points if name in point]
        if isinstance(value, bool) or not isinstance(value, int | float) or len(set(tried)) < 2:
            continue
        if value in (min(tried), max(tried)):
            said.append(f"{name} = {value:g} is the {'smallest' if value == min(tried) else 'largest'} that was tried")
    return said

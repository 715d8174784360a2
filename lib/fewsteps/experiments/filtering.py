"""Filters as plans write them down: a kind and its numbers, which a JSON file can hold, become a `Filter`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fewsteps import filters, spectra
from fewsteps.errors import ParameterError
from fewsteps.experiments import pixels
from fewsteps.filters import IDENTITY, Filter
from fewsteps.transforms import Basis

PLACED = ("where", "drift")


def build(said: Mapping[str, Any] | None, dataset: str, size: int) -> Filter:
    """The filter that a plan describes, for images of a data set.

    Parameters
    ----------
    said : mapping or None
        ``kind`` and the keyword arguments of its builder in :mod:`fewsteps.filters`: "scalar" (lam), "tdas" (lam, r,
        basis), "pds" (r, lam, layout, direction), "pds_data" (alpha, direction) or "rings" (gains, one per ring of
        :func:`rings_of`, and basis). Beside them ``where`` and ``drift``; ``space``, "tdas", "pds" or "pds released",
        a mask over pixels from the data set; ``solenoid``, a kind and an ``omega``; and ``data``, the set that it was
        made for.
    dataset : str
    size : int
        Of the images that it is to act on.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If the kind or a parameter is unknown, or the filter was made for another data set.
    DataError
        If the statistics that it is made from are not there.
    """
    if not said:
        return IDENTITY
    given = dict(said)
    made_for = given.pop("data", dataset)
    if made_for != dataset:
        raise ParameterError(
            f"the filter was made for {made_for}, and the network makes {dataset}: choose one of both."
        )
    kind, turned, space = given.pop("kind", None), given.pop("solenoid", None), given.pop("space", None)
    shape = (size, size)
    builders: dict[str, Callable[..., Filter]] = {
        "scalar": _scalar,
        "tdas": partial(filters.tdas, shape),
        "pds": partial(filters.pds_radial, shape),
        "pds_data": partial(_pds_data, dataset, size),
        "rings": partial(_rings, size),
    }
    if kind not in builders:
        raise ParameterError(f"the kind of a filter must be one of {', '.join(builders)}, not {kind!r}.")
    if space is not None:
        given["space"] = _space(space, dataset, size)
    try:
        made = builders[kind](**given)
    except TypeError as error:
        raise ParameterError(f"the filter {kind} cannot be made from {dict(said)}: {error}.") from error
    if turned:
        made = made.turned(filters.solenoid(turned["kind"], size, turned["omega"]))
    return made


def rings_of(size: int, basis: Basis = "dct") -> Tensor:
    """The ring of every frequency of a square image, corners included, shape (size, size): index distance, rounded."""
    return spectra.square_distance((size, size), basis).sqrt().round().long()


def on_rings(values: Tensor, basis: Basis = "dct") -> Tensor:
    """Mean of a mask over every ring of :func:`rings_of`.

    Parameters
    ----------
    values : Tensor, shape (H, H)
    basis : {"dct", "dft"}

    Returns
    -------
    float64 Tensor, shape (rings,)
    """
    ring = rings_of(values.shape[-1], basis).flatten()
    return torch.bincount(ring, values.double().flatten()) / torch.bincount(ring)


def _scalar(*, lam: float, space: Tensor | None = None, **placed: Any) -> Filter:
    made = filters.scalar(lam, **placed)
    return made if space is None else Filter(space=lam * space, where=made.where, drift=made.drift)


def _pds_data(dataset: str, size: int, *, alpha: float, **given: Any) -> Filter:
    # The paper's logarithm wants the plain DFT's power, H W times the orthonormal one's.
    power = pixels.read(dataset, size).dft * size**2
    return filters.pds_from_power(power, alpha, **given)


def _rings(size: int, *, gains: Any, basis: Basis = "dct", space: Tensor | None = None, **placed: Any) -> Filter:
    ring = rings_of(size, basis)
    gains = torch.as_tensor(gains, dtype=torch.float64)
    if len(gains) != int(ring.max()) + 1:
        raise ParameterError(
            f"the filter has {len(gains)} rings and images of {size} px have {int(ring.max()) + 1} in the {basis}: "
            "it was made for another size or basis."
        )
    return Filter(gains[ring], space, basis=basis, order="space first", **placed)


def _space(kind: str, dataset: str, size: int) -> Tensor:
    known = pixels.read(dataset, size)
    mask = filters.space_from_mean(known.square if kind == "pds released" else known.mean, kind)
    if not bool((mask > 0).all()):
        raise ParameterError(
            f"space={kind!r} is 0 where every image of {dataset} is black, and such a filter has no inverse: use "
            "'tdas', whose mask is at least 1/3."
        )
    return mask

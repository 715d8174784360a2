"""TDAS' masks: zones of frequency, set by hand or from statistics, and its mask over pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fewsteps import spectra
from fewsteps.errors import ParameterError
from fewsteps.filters.operator import Filter, Place
from fewsteps.parameters import number
from fewsteps.shapes import Float, require_finite, require_map
from fewsteps.transforms import Basis


class Zones(NamedTuple):
    """Gains `lam` of the zones outside radii `r` (units of the height)."""

    lam: tuple[float, ...]
    r: tuple[float, ...]


def zone_mask(
    shape: tuple[int, int], lam: float | Sequence[float], r: float | Sequence[float], basis: Basis = "dct"
) -> Float[Tensor, "H W"]:
    """1 up to the first radius, lam[k] beyond r[k]: TDAS' M_freq.

    Zones are read from the inside out, as Eq. 8 is written: the first radius that holds a frequency decides. So
    r1 > r2 is legal, and the first gain then appears nowhere.

    Parameters
    ----------
    shape : (H, W)
    lam : float or sequence of float
        Gain of each zone beyond its radius; above 0. Below 1 in the paper for VE, above 1 for Analytic-DDIM.
    r : float or sequence of float
        Radii in units of the height: a frequency with index distance d is inside if d**2 <= 2 (r H)**2. From 0 to
        sqrt((1 + (W/H)**2) / 2), which is 1 for square images.
    basis : {"dct", "dft"}
        For the DFT the distance is folded, so r = 0.5 already holds every frequency along an axis.

    Returns
    -------
    float64 Tensor, shape (H, W)

    Raises
    ------
    ParameterError
        If a gain or a radius is out of range, or their numbers differ.

    Notes
    -----
    Source: TDAS-4, Eq. 6 and 8; TDAS-5, appendix A.2. Indices count from 0: counted from 1, the mean itself would
    lie outside small radii.
    """
    return zone_gains(spectra.square_distance(shape, basis), shape, lam, r)


def zone_gains(
    squared: Float[Tensor, "*f"], shape: tuple[int, int], lam: float | Sequence[float], r: float | Sequence[float]
) -> Float[Tensor, "*f"]:
    """The gains of :func:`zone_mask` at any squared index distances, such as those of rings.

    Parameters
    ----------
    squared : Tensor
        Squared index distances to whatever the zones are centred on.
    shape : (H, W)
        Of the image; radii are in units of H.
    lam, r
        As for :func:`zone_mask`.

    Returns
    -------
    float64 Tensor, of the shape of `squared`

    Raises
    ------
    ParameterError
        If a gain or a radius is out of range, or their numbers differ.

    Notes
    -----
    Source: TDAS-4, Eq. 6 and 8; PDS-4, Eq. 20.
    """
    gains = [lam] if not isinstance(lam, Sequence) else list(lam)
    radii = [r] if not isinstance(r, Sequence) else list(r)
    if len(gains) != len(radii) or not gains:
        raise ParameterError(f"lam and r must have one entry per zone, not {len(gains)} and {len(radii)}.")
    height, width = shape
    end = math.sqrt((1 + (width / height) ** 2) / 2)
    gains = [number("lam", value, above=0) for value in gains]
    radii = [number("r", value, least=0, most=end, why="units of the height") for value in radii]
    found = torch.full_like(squared, gains[-1], dtype=torch.float64)
    for gain, radius in zip(reversed([1.0, *gains[:-1]]), reversed(radii), strict=True):
        # The small slack keeps an exact distance on its ring, as in spectra.kappa.
        found[squared <= 2 * (radius * height) ** 2 * (1 + 1e-12)] = gain
    return found


def tdas(
    shape: tuple[int, int],
    lam: float | Sequence[float],
    r: float | Sequence[float],
    basis: Basis = "dct",
    space: Tensor | None = None,
    *,
    where: Iterable[Place] | None = None,
    drift: bool = False,
) -> Filter:
    """TDAS' filter: M z = D^-1[M_freq D[M_space z]], on noise only.

    Parameters
    ----------
    shape : (H, W)
    lam, r, basis
        As for :func:`zone_mask`; any number of zones.
    space : Tensor, shape (H, W) or (C, H, W), optional
        From :func:`space_from_data`.
    where, drift
        As for :class:`Filter`; the paper filters all noise and leaves the drift alone.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If a gain or a radius is out of range, or their numbers differ.
    ShapeError
        If `space` is not positive or of another size.

    Notes
    -----
    Source: TDAS-3, Eq. 4-5; TDAS-4, Eq. 6 and 8; TDAS-5.
    """
    mask = zone_mask(shape, lam, r, basis)
    return Filter(mask, space, basis=basis, order="space first", where=where, drift=drift)


def tdas_zones(
    ratio: Float[Tensor, "H W"],
    basis: Basis = "dct",
    *,
    quantiles: Sequence[float] = (0.75, 0.9),
    amplitude: bool = False,
) -> Zones:
    """The automatic parameters of TDAS, from the ratio of generated to real power.

    lam = ave / Q_a, and r is the first radius at which kappa crosses Q_a. On a grid of frequencies kappa is a step
    function that seldom equals Q_a anywhere, so the paper's "kappa(r) = Q_a" is read as "has reached it", and the first
    ring from which on it has is the last one that the zone leaves alone.

    Parameters
    ----------
    ratio : Tensor, shape (H, W)
        gamma, from :func:`fewsteps.spectra.ratio`.
    basis : {"dct", "dft"}
    quantiles : sequence of float
        (0.75, 0.9) where kappa rises with frequency, as the paper found for VE; (0.25, 0.1) where it falls.
    amplitude : bool
        gamma is a ratio of powers while lam scales amplitudes: as printed lam undoes the square of the excess.
        True takes the square root, lam = sqrt(ave / Q_a).

    Returns
    -------
    Zones

    Raises
    ------
    ParameterError
        If kappa never reaches a quantile: the rule is then undefined.
    ShapeError
        If `ratio` is not finite, or has other axes than two, such as channels.

    Notes
    -----
    Source: TDAS-8, appendix A.2 and A.3.
    """
    require_map(ratio, "ratio")
    require_finite(ratio, "ratio")
    shape = (ratio.shape[-2], ratio.shape[-1])
    end = spectra.kappa_end(shape, basis)
    radii = (spectra.square_distance(shape, basis).flatten().unique() / 2).sqrt() / shape[0]
    radii = radii[radii > 0].clamp_max(end)
    along = spectra.kappa(ratio.double(), radii, basis)
    average = float(ratio.double().mean())
    lam, r = [], []
    for a in quantiles:
        level = spectra.quantile(ratio.double(), a)
        # Above a half the quantile stands for a kappa that rises to it, below for one that falls.
        reached = along >= level if a > 0.5 else along <= level
        if not bool(reached.any()):
            raise ParameterError(
                f"kappa never {'rises' if a > 0.5 else 'falls'} to the quantile {a:g}, so TDAS' rule gives no radius "
                f"for it; try the quantiles {'0.25 and 0.1' if a > 0.5 else '0.75 and 0.9'}, or set lam and r by hand."
            )
        power = average / level
        lam.append(math.sqrt(power) if amplitude else power)
        r.append(float(radii[int(reached.to(torch.uint8).argmax())]))
    return Zones(tuple(lam), tuple(r))


def tdas_auto(
    ratio: Float[Tensor, "H W"],
    basis: Basis = "dct",
    *,
    quantiles: Sequence[float] = (0.75, 0.9),
    amplitude: bool = False,
    space: Tensor | None = None,
    where: Iterable[Place] | None = None,
) -> Filter:
    """TDAS' filter with its automatic parameters.

    Parameters
    ----------
    ratio, basis, quantiles, amplitude
        As for :func:`tdas_zones`.
    space, where
        As for :func:`tdas`.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If kappa never reaches a quantile.
    ShapeError
        If `ratio` is not finite, or `space` not positive.

    Notes
    -----
    Source: TDAS-8, appendix A.2 and A.3.
    """
    zones = tdas_zones(ratio, basis, quantiles=quantiles, amplitude=amplitude)
    return tdas((ratio.shape[-2], ratio.shape[-1]), zones.lam, zones.r, basis, space, where=where)

"""PDS' masks over frequencies: two zones by hand, or softened statistics of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

from fewsteps import spectra
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters.operator import Filter, Place
from fewsteps.filters.tdas import zone_gains
from fewsteps.parameters import number
from fewsteps.shapes import Float, require_finite, require_image

Direction = Literal["M", "M_inv"]
Layout = Literal["centred", "unshifted"]


def pds_radial(
    shape: tuple[int, int],
    r: float,
    lam: float,
    space: Tensor | None = None,
    *,
    layout: Layout = "centred",
    direction: Direction = "M",
    where: Iterable[Place] | None = None,
    drift: bool = True,
) -> Filter:
    """PDS with a mask of two zones: 1 near the zero frequency, `lam` beyond.

    Parameters
    ----------
    shape : (H, W)
    r : float
        Radius in units of the height: inside if the squared index distance is at most 2 (r H)**2. From 0 to
        sqrt((1 + (W/H)**2) / 2).
    lam : float
        Gain beyond, above 0.
    space : Tensor, shape (H, W) or (C, H, W), optional
        PDS' A, from :func:`space_from_data`.
    layout : {"centred", "unshifted"}
        Where the mask's centre lies. Eq. 20 puts it in the middle of the array, which is the zero frequency of a
        centred spectrum. The released code lays the same array over a spectrum that is not centred: then the
        HIGHEST frequencies keep gain 1 and the low ones get `lam`.
    direction : {"M", "M_inv"}
        The operator of Theorem 1, or its inverse, which the released code applies.
    where : iterable of {"prior", "predictor", "corrector"}, optional
        As for :class:`Filter`. Only the Langevin move ("corrector") leaves its target alone.
    drift : bool
        Whether M M^T multiplies the score, as Theorem 1 has it.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If a number is out of range, or `layout` or `direction` unknown.
    ShapeError
        If `space` is not positive or of another size.

    Notes
    -----
    Source: PDS-4, Eq. 20; PDS-2, Theorem 1 and Eq. 23. Indices count from 0: counted from 1 the centre is off by one
    and M z is complex.
    """
    if layout not in get_args(Layout):
        raise ParameterError(f"layout must be 'centred' or 'unshifted', not {layout!r}.")
    if layout == "centred":
        squared = spectra.square_distance(shape, "dft")
    else:
        rows, columns = (torch.arange(n, dtype=torch.float64) - n / 2 for n in shape)
        squared = rows.square()[:, None] + columns.square()
    return _directed(
        Filter(zone_gains(squared, shape, lam, r), space, basis="dft", where=where, drift=drift), direction
    )


def pds_mask(power: Float[Tensor, "*C H W"], alpha: float) -> Float[Tensor, "*C H W"]:
    """PDS' mask from a power spectrum: log(1 + power) over its maximum, softened to (R + alpha - 1) / alpha.

    Parameters
    ----------
    power : Tensor, shape (H, W) or (C, H, W)
        E|F x|**2 of the plain, not orthonormal DFT: H W times :func:`fewsteps.spectra.power_spectrum`. The logarithm
        makes that factor matter.
    alpha : float
        At least 1, where nothing is softened; 5 and 10 in the paper.

    Returns
    -------
    float64 Tensor, of the shape of `power`
        From (alpha - 1) / alpha to 1.

    Raises
    ------
    ParameterError
        If alpha < 1.
    ShapeError
        If `power` is negative, not finite, or zero everywhere.

    Notes
    -----
    Source: PDS-5, Eq. 22.
    """
    number("alpha", alpha, least=1)
    require_image(power, "power")
    require_finite(power, "power")
    if bool((power < 0).any()) or not bool((power > 0).any()):
        raise ShapeError("power must be non-negative and positive somewhere.")
    response = torch.log1p(power.double())
    return (response / response.max() + alpha - 1) / alpha


def pds_from_power(
    power: Float[Tensor, "*C H W"],
    alpha: float,
    space: Tensor | None = None,
    *,
    direction: Direction = "M",
    where: Iterable[Place] | None = None,
    drift: bool = True,
) -> Filter:
    """PDS with the mask that a spectrum suggests: low frequencies, which hold the power, keep the most noise.

    Parameters
    ----------
    power : Tensor, shape (H, W) or (C, H, W)
        As for :func:`pds_mask`.
    alpha : float
        As for :func:`pds_mask`.
    space, direction, where, drift
        As for :func:`pds_radial`.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If alpha < 1 or `direction` is unknown.
    ShapeError
        If `power` or `space` is not what a mask can be made of.

    Notes
    -----
    Source: PDS-5, Eq. 22; PDS-2, Eq. 23.
    """
    power = (power + power.flip(-2, -1).roll((1, 1), (-2, -1))) / 2  # even up to rounding, and now exactly
    return _directed(Filter(pds_mask(power, alpha), space, basis="dft", where=where, drift=drift), direction)


def pds_from_data(
    images: Float[Tensor, "N C H W"],
    alpha: float,
    space: Tensor | None = None,
    *,
    direction: Direction = "M",
    where: Iterable[Place] | None = None,
    drift: bool = True,
) -> Filter:
    """PDS with the mask that a data set suggests.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        In [0, 1]; the paper takes 200.
    alpha, space, direction, where, drift
        As for :func:`pds_from_power`.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If alpha < 1 or `direction` is unknown.
    ShapeError
        If the images are not finite floating point, or `space` is not positive.

    Notes
    -----
    Source: PDS-5, Eq. 22; PDS-2, Eq. 23.
    """
    require_image(images, "images")
    require_finite(images, "images")
    power = torch.fft.fft2(images.double()).abs().square().mean(0)
    return pds_from_power(power, alpha, space, direction=direction, where=where, drift=drift)


def _directed(operator: Filter, direction: Direction) -> Filter:
    if direction not in get_args(Direction):
        raise ParameterError(f"direction must be 'M' or 'M_inv', not {direction!r}.")
    return operator if direction == "M" else operator.inverse()

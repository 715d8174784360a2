"""What any paper's filter has to be compared with: one number for all frequencies, and the best mask there is."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.filters.operator import Filter, Place
from fewsteps.parameters import number
from fewsteps.shapes import Float, require_finite, require_image
from fewsteps.transforms import Basis

KINDS = ("tdas", "pds", "pds released")


def scalar(lam: float, *, where: Iterable[Place] | None = None, drift: bool = False) -> Filter:
    """All noise times one number: the strong baseline of every frequency filter. No transform.

    On a geometric grid of VE noise levels, reverse diffusion with lam = sigma_s / sigma_t on the injected noise IS
    the ancestral sampler.

    Parameters
    ----------
    lam : float
        Above 0.
    where, drift
        As for :class:`Filter`.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If `lam` is not above 0, or a place is unknown.

    Notes
    -----
    Source: BASE-VE-ANC.
    """
    number("lam", lam, above=0)
    return Filter(space=torch.tensor(float(lam), dtype=torch.float64), where=where, drift=drift)


def optimal(ratio: Float[Tensor, "*C H W"], basis: Basis = "dct", *, where: Iterable[Place] | None = None) -> Filter:
    """M = ratio^(-1/2): where a sampler is linear and all its noise passes through M, this makes its power exact.

    Parameters
    ----------
    ratio : Tensor, shape (H, W) or (C, H, W)
        Power of what the unfiltered sampler makes over the power of the data, positive.
    basis : {"dct", "dft"}
    where
        As for :class:`Filter`.

    Returns
    -------
    Filter

    Raises
    ------
    ShapeError
        If `ratio` is not positive and finite.

    Notes
    -----
    Source: TDAS-7, Eq. 7, turned into the filter that undoes it; beyond the paper.
    """
    require_image(ratio, "ratio")
    require_finite(ratio, "ratio")
    if not bool((ratio > 0).all()):
        raise ShapeError("ratio must be positive at every frequency.")
    return Filter(ratio.double().rsqrt(), basis=basis, where=where)


def space_from_data(images: Float[Tensor, "N C H W"], kind: str = "tdas") -> Float[Tensor, "C H W"]:
    """A mask over pixels from the mean of a data set.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        In [0, 1].
    kind : {"tdas", "pds", "pds released"}
        "tdas" is (2 rho / max rho + 1) / 3 with rho = log(1 + mean |x|), between 1/3 and 1. "pds" is the mean over its
        maximum; "pds released" takes the mean of squares instead, as that code does.

    Returns
    -------
    float64 Tensor, shape (C, H, W)
        At most 1. For PDS a pixel that is black in every image gives 0, which no filter takes: M would not be
        invertible.

    Raises
    ------
    ParameterError
        If `kind` is unknown.
    ShapeError
        If the images are not finite floating point, or all zero.

    Notes
    -----
    Source: TDAS-6, section 4.3 and appendix A.2; PDS-6, Eq. 21.
    """
    require_image(images, "images")
    require_finite(images, "images")
    x = images.double()
    return space_from_mean(x.square().mean(0) if kind == "pds released" else x.abs().mean(0), kind)


def space_from_mean(mean: Float[Tensor, "C H W"], kind: str = "tdas") -> Float[Tensor, "C H W"]:
    """The same from a mean that is known already.

    Parameters
    ----------
    mean : Tensor, shape (C, H, W)
        Of |x|, or of x^2 for "pds released".
    kind : {"tdas", "pds", "pds released"}

    Returns
    -------
    float64 Tensor, shape (C, H, W)

    Raises
    ------
    ParameterError
        If `kind` is unknown.
    ShapeError
        If the mean is zero everywhere.

    Notes
    -----
    Source: TDAS-6, section 4.3 and appendix A.2; PDS-6, Eq. 21.
    """
    if kind not in KINDS:
        raise ParameterError(f"kind must be 'tdas', 'pds' or 'pds released', not {kind!r}.")
    mean = mean.double()
    if not bool((mean > 0).any()):
        raise ShapeError("images must not be black everywhere.")
    if kind == "tdas":
        rho = torch.log1p(mean)
        return (2 * rho / rho.max() + 1) / 3
    return mean / mean.max()

"""Gaussian laws by frequency, and how far two of them lie apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from fewsteps import spectra
from fewsteps.denoisers import Gaussian
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer
from fewsteps.transforms import Basis, to_basis


@dataclass(frozen=True)
class Law:
    """A Gaussian: independent coefficients in a basis, or a dense covariance between pixels.

    Attributes
    ----------
    mean : float64 Tensor
        Of the coefficients; of the pixels where the covariance is dense.
    variance : float64 Tensor
        Of the coefficients; of the pixels where the covariance is dense.
    basis : {"dct", "dft"} or None
        None: the entries of the data themselves.
    covariance : float64 Tensor, shape (n, n), or None
        Between all n entries, where they are not independent.
    nfe : int
        Network calls that it took to make one sample; 0 for data.
    note : str
        Says what this law leaves out, where it is not exact.
    """

    mean: Tensor
    variance: Tensor
    basis: Basis | None = None
    covariance: Tensor | None = field(default=None, repr=False)
    nfe: int = 0
    note: str = ""

    @property
    def power(self) -> Tensor:
        """Mean square of every coefficient: TDAS' phi."""
        return self.mean.square() + self.variance

    @property
    def exact(self) -> bool:
        """Whether nothing is left out."""
        return not self.note


def law_of(model: Gaussian) -> Law:
    """The law of the data that an exact Gaussian denoiser stands for.

    Parameters
    ----------
    model : Gaussian

    Returns
    -------
    Law

    Notes
    -----
    Source: TDAS-7.
    """
    shape = torch.broadcast_shapes(model.variance.shape, model.data_mean.shape)
    mean = to_basis(model.data_mean.expand(shape), model.basis)
    return Law(mean, model.variance.expand(shape), model.basis)


def frechet(p: Law, q: Law, *, weights: Tensor | None = None) -> float:
    """Squared 2-Wasserstein distance of two Gaussians, the Fréchet distance that FID takes between features.

    Parameters
    ----------
    p, q : Law
        In one basis.
    weights : Tensor, optional
        How many coefficients each entry stands for, broadcast; see :func:`rings`.

    Returns
    -------
    float
        In squared units of the data, summed over all coefficients.

    Raises
    ------
    ShapeError
        If the two are of different shapes or bases.

    Notes
    -----
    Source: TDAS-12, TDAS-8: the distance by which filters are judged on Gaussian data.
    """
    _alike(p, q)
    if p.covariance is None and q.covariance is None:
        w = 1.0 if weights is None else weights
        return float((w * ((p.mean - q.mean).square() + (p.variance.sqrt() - q.variance.sqrt()).square())).sum())
    a, b = _dense(p), _dense(q)
    root = _root(a)
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp_min(0).sqrt().sum()
    return float((p.mean - q.mean).square().sum() + a.trace() + b.trace() - 2 * cross)


def kl(p: Law, q: Law, *, weights: Tensor | None = None) -> float:
    """Kullback-Leibler divergence of p from q, E_p[log p - log q].

    Parameters
    ----------
    p, q : Law
        In one basis; variances above 0.
    weights : Tensor, optional
        How many coefficients each entry stands for.

    Returns
    -------
    float
        In nats, summed over all coefficients; infinite where p or q has a coefficient without spread.

    Raises
    ------
    ShapeError
        If the two are of different shapes or bases.

    Notes
    -----
    Source: TDAS-9, PDS-2: the distance in which Langevin moves descend.
    """
    _alike(p, q)
    if p.covariance is None and q.covariance is None:
        w = 1.0 if weights is None else weights
        share = p.variance / q.variance
        # log1p keeps the digits of two laws that nearly agree
        terms = (share - 1) - torch.log1p(share - 1) + (p.mean - q.mean).square() / q.variance
        total = float((w * terms).sum() / 2)
        return total if total == total else float("inf")
    a, b = _dense(p), _dense(q)
    if min(float(torch.linalg.eigvalsh(m)[0]) for m in (a, b)) <= 0:
        return float("inf")
    off = (p.mean - q.mean).flatten()
    solved = torch.linalg.solve(b, a)
    gap = torch.linalg.slogdet(b).logabsdet - torch.linalg.slogdet(a).logabsdet
    return float((solved.trace() - len(a) + gap + off @ torch.linalg.solve(b, off)) / 2)


class Rings(NamedTuple):
    """Frequencies by distance: `squared` index distance, `frequency` in cycles per pixel, and `count` of each."""

    squared: Tensor
    frequency: Tensor
    count: Tensor


def rings(size: int, basis: Basis = "dct", most: int | None = None) -> Rings:
    """The distances to zero that occur in a square image, so that a law of the radius alone needs one entry per ring.

    Parameters
    ----------
    size : int
        Pixels along a side.
    basis : {"dct", "dft"}
    most : int, optional
        Join neighbouring rings until at most so many are left, evenly in the logarithm of the distance; what is joined
        takes its mean squared distance.

    Returns
    -------
    Rings
        float64 Tensors, shape (n,), the zero frequency first.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: TDAS-4 (zones are rings), TDAS-12 (1024 px).
    """
    integer("size", size, least=2)
    squared, count = spectra.square_distance((size, size), basis).flatten().unique(return_counts=True)
    count = count.double()
    if most is not None and len(squared) > integer("most", most, least=3):
        logs = squared[1:].log()
        place = ((logs / logs[-1]) * (most - 2)).round().long() + 1
        place = torch.unique(torch.nn.functional.pad(place, (1, 0)), return_inverse=True)[1]
        joined = torch.bincount(place, count)
        squared = torch.bincount(place, squared * count) / joined
        count = joined
    scale = size if basis == "dft" else 2 * size
    return Rings(squared, squared.sqrt() / scale, count)


def power_law(rings: Rings, exponent: float, variance: float = 1.0) -> Tensor:
    """Variances A / f^exponent on rings, with a given mean over all coefficients; the zero frequency as its neighbour.

    Parameters
    ----------
    rings : Rings
    exponent : float
        2 for 1/f^2.
    variance : float
        Mean variance of a pixel, in squared units of the data.

    Returns
    -------
    float64 Tensor, shape (n,)

    Notes
    -----
    Source: SD-1, section 4.1; TDAS-12.
    """
    frequency = rings.frequency.clone()
    frequency[0] = frequency[1]
    shape = frequency**-exponent
    return variance * shape * rings.count.sum() / (shape * rings.count).sum()


def _alike(p: Law, q: Law) -> None:
    if p.mean.shape != q.mean.shape:
        raise ShapeError(f"two laws must have one shape, not {tuple(p.mean.shape)} and {tuple(q.mean.shape)}.")
    dense = p.covariance is not None or q.covariance is not None
    if not dense and p.basis != q.basis:
        raise ShapeError(f"two laws must be in one basis, not {p.basis!r} and {q.basis!r}.")
    for law in (p, q):
        if dense and law.covariance is None and law.basis is not None:
            raise ShapeError("a law with a dense covariance can only be compared with another: use dense(law).")


def dense(law: Law) -> Law:
    """The same law with a dense covariance between pixels.

    Parameters
    ----------
    law : Law
        Of at most 1024 entries.

    Returns
    -------
    Law

    Raises
    ------
    ParameterError
        If it is larger.

    Notes
    -----
    Source: PDS-6 (a mask over pixels mixes frequencies).
    """
    if law.covariance is not None:
        return law
    shape, n = law.mean.shape, law.mean.numel()
    if n > 1024:
        raise ParameterError(f"a dense covariance is for at most 1024 entries, not {n}.")
    # Rows of the inverse transform: the transforms are orthonormal and symmetric or inverted by their transpose.
    vectors = to_basis(torch.eye(n, dtype=torch.float64).reshape(n, *shape), law.basis).reshape(n, n)
    covariance = vectors @ (law.variance.flatten()[:, None] * vectors.mT)
    mean = (vectors @ law.mean.flatten()).reshape(shape)
    variance = covariance.diagonal().reshape(shape)
    return Law(mean, variance, None, covariance, law.nfe, law.note)


def _dense(law: Law) -> Tensor:
    return law.covariance if law.covariance is not None else torch.diag(law.variance.flatten())


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ (values.clamp_min(0).sqrt()[:, None] * vectors.mT)

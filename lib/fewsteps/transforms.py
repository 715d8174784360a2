"""Orthonormal transforms of images: DCT-II, DFT and one level of the Haar wavelet.

All of them act on the last two axes, broadcast over the rest, keep the device and the dtype (the DFT becomes complex),
can be differentiated, and preserve the sum of squares. So white noise is white on both sides, which is what every
filter here relies on. Half-precision input is transformed in single precision, under autocast too: a rounding of the
transform itself would colour the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fewsteps.errors import ShapeError
from fewsteps.shapes import Complex, Float, Inexact, require_image

MATRIX_MAX = 160
"""Longest axis on which a CPU multiplies by the cosine matrix; `make bench` measures where the FFT overtakes it."""
MATRIX_MAX_GPU = 512
"""The same on a GPU, by ``tools/check_device.py`` on an H200: .24 ms against .29 at 512 px, .44 against .30 at 1024."""


def dct2(x: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
    """Two-dimensional orthonormal DCT-II.

    The printed definition puts the factor 1/sqrt(2) on the sample n = 0, which is not orthogonal; it belongs on the
    frequency k = 0, as here.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
        Real images.

    Returns
    -------
    Tensor, shape (..., H, W)
        Coefficients; index 0 is the mean, index k is k / (2 H) cycles per pixel.

    Raises
    ------
    ShapeError
        If `x` is not a floating-point tensor with at least two axes.

    Notes
    -----
    Source: TDAS-2, appendix A.1 (corrected).
    """
    require_image(x)
    return _exactly(lambda v: _dct(_dct(v).mT).mT, x)


def idct2(coefficients: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
    """Inverse of :func:`dct2`.

    Parameters
    ----------
    coefficients : Tensor, shape (..., H, W)

    Returns
    -------
    Tensor, shape (..., H, W)

    Raises
    ------
    ShapeError
        If `coefficients` is not a floating-point tensor with at least two axes.

    Notes
    -----
    Source: TDAS-2, appendix A.1 (corrected).
    """
    require_image(coefficients, "coefficients")
    return _exactly(lambda v: _idct(_idct(v).mT).mT, coefficients)


def fft2(x: Inexact[Tensor, "*batch H W"]) -> Complex[Tensor, "*batch H W"]:
    """Two-dimensional orthonormal DFT, zero frequency first (not centred).

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
        Real or complex images.

    Returns
    -------
    complex Tensor, shape (..., H, W)

    Raises
    ------
    ShapeError
        If `x` is not a floating-point or complex tensor with at least two axes.

    Notes
    -----
    Source: TDAS-5, appendix A.1, with the unitary factor.
    """
    require_image(x)
    return torch.fft.fft2(_at_least_single(x), norm="ortho")


def ifft2(coefficients: Inexact[Tensor, "*batch H W"]) -> Complex[Tensor, "*batch H W"]:
    """Inverse of :func:`fft2`; take ``.real`` where the filter in between is even.

    Parameters
    ----------
    coefficients : Tensor, shape (..., H, W)

    Returns
    -------
    complex Tensor, shape (..., H, W)

    Raises
    ------
    ShapeError
        If `coefficients` is not a floating-point or complex tensor with at least two axes.

    Notes
    -----
    Source: TDAS-5, appendix A.1, with the unitary factor.
    """
    require_image(coefficients, "coefficients")
    return torch.fft.ifft2(_at_least_single(coefficients), norm="ortho")


def hartley2(x: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch H W"]:
    """Two-dimensional orthonormal Hartley transform, Re - Im of the DFT: the DFT's basis for real arithmetic.

    It is its own inverse, and every even frequency mask m acts in it as in the DFT:
    ``hartley2(m * hartley2(x)) == ifft2(m * fft2(x)).real``.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
        Real images.

    Returns
    -------
    Tensor, shape (..., H, W)

    Raises
    ------
    ShapeError
        If `x` is not a floating-point tensor with at least two axes.

    Notes
    -----
    Source: TDAS-5, appendix A.1 (the DFT, of which only the real part is kept).
    """
    require_image(x)

    def transform(v: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(v, norm="ortho")
        return spectrum.real - spectrum.imag

    return _exactly(transform, x)


Basis = Literal["dct", "dft"]


def to_basis(x: Float[Tensor, "*batch H W"], basis: Basis | None) -> Float[Tensor, "*batch H W"]:
    """Real coefficients of `x` in which every (even) mask of that basis is diagonal.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
    basis : {"dct", "dft"} or None
        "dft" means the Hartley transform, None the pixels themselves.

    Returns
    -------
    Tensor, shape (..., H, W)

    Raises
    ------
    ShapeError
        If `x` is not a floating-point tensor with at least two axes.

    Notes
    -----
    Source: TDAS-2, TDAS-5.
    """
    return x if basis is None else dct2(x) if basis == "dct" else hartley2(x)


def from_basis(coefficients: Float[Tensor, "*batch H W"], basis: Basis | None) -> Float[Tensor, "*batch H W"]:
    """Inverse of :func:`to_basis`.

    Parameters
    ----------
    coefficients : Tensor, shape (..., H, W)
    basis : {"dct", "dft"} or None

    Returns
    -------
    Tensor, shape (..., H, W)

    Raises
    ------
    ShapeError
        If `coefficients` is not a floating-point tensor with at least two axes.

    Notes
    -----
    Source: TDAS-2, TDAS-5.
    """
    if basis is None:
        return coefficients
    return idct2(coefficients) if basis == "dct" else hartley2(coefficients)


def is_even(mask: Float[Tensor, "*batch H W"], tolerance: float = 1e-6) -> bool:
    """Whether a mask over DFT coefficients has m(-k) = m(k), as it must for real images to stay real.

    Parameters
    ----------
    mask : Tensor, shape (..., H, W)
        Zero frequency first.
    tolerance : float
        Largest difference, relative to the largest entry; a measured spectrum is even up to rounding.

    Returns
    -------
    bool

    Notes
    -----
    Source: TDAS-5; PDS-4.
    """
    mirrored = mask.flip(-2, -1).roll((1, 1), (-2, -1))  # index k to -k
    return float((mask - mirrored).abs().max()) <= tolerance * float(mask.abs().max())


class Haar(NamedTuple):
    """One level of the orthonormal Haar transform, each band of shape (..., H/2, W/2).

    `ll` is twice the local mean, because the transform is orthonormal; `lh` changes down the columns (horizontal
    edges), `hl` along the rows, `hh` along both.
    """

    ll: Tensor
    lh: Tensor
    hl: Tensor
    hh: Tensor


def haar_dwt2(x: Float[Tensor, "*batch H W"]) -> Haar:
    """One level of the orthonormal Haar wavelet transform.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
        H and W even.

    Returns
    -------
    Haar
        The bands `ll`, `lh`, `hl`, `hh`, each (..., H/2, W/2).

    Raises
    ------
    ShapeError
        If H or W is odd, or `x` is no floating-point image.

    Notes
    -----
    Source: SD-4, section 3.2.
    """
    require_image(x)
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        raise ShapeError(f"x must have even height and width for a Haar transform, not {height} x {width}.")
    top_left, top_right = x[..., ::2, ::2], x[..., ::2, 1::2]
    low_left, low_right = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    top, top_step = top_left + top_right, top_left - top_right
    low, low_step = low_left + low_right, low_left - low_right
    return Haar((top + low) / 2, (top - low) / 2, (top_step + low_step) / 2, (top_step - low_step) / 2)


def haar_idwt2(bands: Haar | tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Inverse of :func:`haar_dwt2`.

    Parameters
    ----------
    bands : Haar
        Four tensors of one shape (..., h, w).

    Returns
    -------
    Tensor, shape (..., 2 h, 2 w)

    Raises
    ------
    ShapeError
        If the bands differ in shape.

    Notes
    -----
    Source: SD-4, section 3.2.
    """
    ll, lh, hl, hh = bands
    for name, band in zip(Haar._fields, (ll, lh, hl, hh), strict=True):
        require_image(band, name)
        if band.shape != ll.shape:
            raise ShapeError(f"{name} must have the shape of ll, {tuple(ll.shape)}, not {tuple(band.shape)}.")
    top, low = (ll + lh) / 2, (ll - lh) / 2
    top_step, low_step = (hl + hh) / 2, (hl - hh) / 2
    rows = [torch.stack((a + d, a - d), dim=-1).flatten(-2) for a, d in ((top, top_step), (low, low_step))]
    return torch.stack(rows, dim=-2).flatten(-3, -2)


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _exactly(transform: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply `transform` in single precision or better, whatever autocast would do, and return to the dtype of `x`."""
    kind = x.device.type
    # Entering the context costs as much as a small transform, so only where there is something to switch off.
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            return transform(_at_least_single(x)).to(x.dtype)
    return transform(_at_least_single(x)).to(x.dtype)


def _by_matrix(x: Tensor) -> bool:
    return x.shape[-1] <= (MATRIX_MAX if x.device.type == "cpu" else MATRIX_MAX_GPU)


def _dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II along the last axis."""
    n = x.shape[-1]
    if _by_matrix(x):
        return x @ _matrix(n, x.dtype, x.device).mT
    # The even samples, then the odd ones backwards, make the cosine transform one real FFT (Makhoul 1980): turned by
    # the quarter-sample phase, its real part is coefficient k and its imaginary part is minus coefficient n - k.
    folded = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), dim=-1)
    turned = torch.fft.rfft(folded) * _phase(n, x.dtype, x.device)
    return torch.cat((turned.real, -turned.imag[..., 1 : (n + 1) // 2].flip(-1)), dim=-1)


def _idct(y: Tensor) -> Tensor:
    """Inverse of `_dct` along the last axis."""
    n = y.shape[-1]
    if _by_matrix(y):
        return y @ _matrix(n, y.dtype, y.device)
    half = n // 2 + 1
    partner = torch.nn.functional.pad(y[..., n - half + 1 :].flip(-1), (1, 0))  # coefficient n - k; k = 0 has none
    folded = torch.fft.irfft(torch.complex(y[..., :half], -partner) / _phase(n, y.dtype, y.device), n)
    out = torch.empty_like(folded)
    out[..., ::2] = folded[..., : (n + 1) // 2]
    out[..., 1::2] = folded[..., (n + 1) // 2 :].flip(-1)
    return out


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached while sampling must serve a backward pass later
def _matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi / n * (k + 0.5) * k[:, None]) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix.to(device, dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _phase(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """exp(-i pi k / (2 n)) with the orthonormal scale, for the frequencies of a real FFT."""
    k = torch.arange(n // 2 + 1, dtype=torch.float64)
    scale = torch.full_like(k, math.sqrt(2 / n))
    scale[0] = math.sqrt(1 / n)
    return torch.polar(scale, -math.pi * k / (2 * n)).to(device, dtype.to_complex())

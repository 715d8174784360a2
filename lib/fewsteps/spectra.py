"""What an image set looks like by frequency: power, radial means, and how two sets differ.

Two bases are offered everywhere. ``"dft"`` counts a frequency by its distance to zero on the folded grid, in cycles
per pixel up to 1/2 along an axis; ``"dct"`` index k stands for k / (2 H) cycles per pixel, so the two share units.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.shapes import Float, require_finite, require_image, require_map
from fewsteps.transforms import Basis, dct2, fft2

Window = Literal["hann"]


class Radial(NamedTuple):
    """A spectrum by radius: `frequency` in cycles per pixel, mean `power`, and how many bins each mean holds."""

    frequency: Tensor
    power: Tensor
    count: Tensor


class PowerLaw(NamedTuple):
    """``amplitude / frequency**exponent``, and the share of log-power variance that it explains."""

    amplitude: float
    exponent: float
    r_squared: float

    def __call__(self, frequency: Tensor) -> Tensor:
        """Power at `frequency` (cycles per pixel)."""
        return self.amplitude / frequency**self.exponent


class BandError(NamedTuple):
    """Mean absolute difference of mean Fourier magnitudes below (`low`) and above (`high`) a cutoff."""

    low: float
    high: float


def power_spectrum(
    x: Float[Tensor, "*batch H W"], basis: Basis = "dft", *, window: Window | None = None, centred: bool = False
) -> Float[Tensor, "H W"]:
    """Mean squared coefficient at every frequency, over all leading axes: TDAS' phi.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
        Images, any number of leading axes (samples, channels).
    basis : {"dft", "dct"}
        Orthonormal transform; white noise of variance v has power v in both.
    window : {"hann"}, optional
        Taper against the leakage of the frame's edges, scaled so that white noise keeps its power. Photographs do
        not wrap around: the step from one edge to the other puts 1 / f**2 on the axes, and so no ring mean falls
        faster than 1 / f**3 without it. DFT only.
    centred : bool
        Subtract every image's own mean first (with the window's weights), so that brightness does not leak either.

    Returns
    -------
    Tensor, shape (H, W)

    Raises
    ------
    ShapeError
        If `x` is no floating-point image, or holds NaN or infinite values.
    ParameterError
        If `basis` or `window` is unknown.

    Notes
    -----
    Source: TDAS-7, appendix A.2, phi.
    """
    require_image(x)
    require_finite(x)
    _check_basis(basis)
    if window not in (None, "hann"):
        raise ParameterError(f"window must be None or 'hann', not {window!r}.")
    if window and basis == "dct":
        raise ParameterError("window must be None for the DCT: its edges are mirrored, and a taper would colour noise.")
    taper = _hann(x) if window else torch.ones_like(x[(0,) * (x.ndim - 2)])
    if centred:
        x = x - (x * taper).sum((-2, -1), keepdim=True) / taper.sum()
    taper = taper / taper.square().mean().sqrt()
    coefficients = dct2(x * taper) if basis == "dct" else fft2(x * taper)
    return coefficients.abs().square().flatten(0, -3).mean(0) if x.ndim > 2 else coefficients.abs().square()


def radius(shape: tuple[int, int], basis: Basis = "dft") -> Float[Tensor, "H W"]:
    """Distance of every coefficient to the zero frequency, in cycles per pixel.

    Parameters
    ----------
    shape : (H, W)
    basis : {"dft", "dct"}

    Returns
    -------
    float64 Tensor, shape (H, W)

    Raises
    ------
    ParameterError
        If `basis` is unknown.
    """
    _check_basis(basis)
    height, width = shape
    if basis == "dft":
        rows = torch.fft.fftfreq(height, dtype=torch.float64)
        columns = torch.fft.fftfreq(width, dtype=torch.float64)
    else:
        rows = torch.arange(height, dtype=torch.float64) / (2 * height)
        columns = torch.arange(width, dtype=torch.float64) / (2 * width)
    return torch.hypot(rows[:, None], columns)


def square_distance(shape: tuple[int, int], basis: Basis = "dct") -> Float[Tensor, "H W"]:
    """Squared index distance of every coefficient to the zero frequency: TDAS' d_0, counted from 0.

    Parameters
    ----------
    shape : (H, W)
    basis : {"dct", "dft"}
        The DFT's distance is folded, because index H - h is -h.

    Returns
    -------
    float64 Tensor, shape (H, W)

    Raises
    ------
    ParameterError
        If `basis` is unknown.

    Notes
    -----
    Source: TDAS-4, Eq. 6; TDAS-5, appendix A.2, the folded distance.
    """
    _check_basis(basis)
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in shape)
    if basis == "dft":
        rows, columns = torch.minimum(rows, shape[0] - rows), torch.minimum(columns, shape[1] - columns)
    return rows.square()[:, None] + columns.square()


def radial_mean(power: Float[Tensor, "H W"], basis: Basis = "dft", *, bins: int | None = None) -> Radial:
    """Mean over rings around the zero frequency, up to the ring at half a cycle per pixel.

    Parameters
    ----------
    power : Tensor, shape (H, W)
    basis : {"dft", "dct"}
    bins : int, optional
        Rings between 0 and 1/2 cycle per pixel; default one per cycle per image of the shorter side. The ring at
        zero frequency is the first.

    Returns
    -------
    Radial
        Three tensors of `bins` + 1 entries. A ring that holds no coefficient is left out.

    Raises
    ------
    ShapeError
        If `power` is not of shape (H, W).
    ParameterError
        If `bins` is not a positive integer.

    Notes
    -----
    Source: SD-1, section 4.1 (measured spectra).
    """
    require_map(power, "power")
    distance = radius((power.shape[0], power.shape[1]), basis).to(power.device)
    (distance, value), count = _over_rings(torch.stack((distance, power.to(distance))), basis, bins)
    return Radial(distance.to(power.dtype), value.to(power.dtype), count)


def _over_rings(values: Tensor, basis: Basis, bins: int | None) -> tuple[Tensor, Tensor]:
    """Means of (n, H, W) over rings, (n, rings), and how many coefficients each ring holds, (rings,)."""
    height, width = values.shape[-2:]
    default = min(height, width) // 2 if basis == "dft" else min(height, width)
    bins = max(default, 1) if bins is None else bins
    if not isinstance(bins, int) or bins < 1:
        raise ParameterError(f"bins must be a positive integer, not {bins!r}.")
    ring = torch.round(radius((height, width), basis).to(values.device) * 2 * bins).long().flatten()
    inside = ring <= bins
    ring = ring[inside]
    count = torch.bincount(ring, minlength=bins + 1)
    kept = count > 0
    sums = values.new_zeros(len(values), bins + 1).index_add_(1, ring, values.flatten(1)[:, inside])
    return (sums / count)[:, kept], count[kept]


def radial_power(images: Float[Tensor, "*n H W"], basis: Basis = "dct") -> Float[Tensor, " ring"]:
    """Mean power of images by ring of frequencies: the power spectrum, averaged over everything but the radius.

    Parameters
    ----------
    images : Tensor, shape (..., H, W)
    basis : {"dct", "dft"}

    Returns
    -------
    Tensor
        The first ring is the zero frequency; the radii are those of :func:`radial_mean`.

    Raises
    ------
    ShapeError
        If the images are not finite floating-point images.

    Notes
    -----
    Source: SD-1, section 4.1 (measured spectra).
    """
    return radial_mean(power_spectrum(images, basis), basis).power


def radial_powers(images: Float[Tensor, "n C H W"], basis: Basis = "dct") -> Float[Tensor, "n ring"]:
    """:func:`radial_power` of every image by itself; the mean over them is that of all.

    Parameters
    ----------
    images : Tensor, shape (n, C, H, W)
    basis : {"dct", "dft"}

    Returns
    -------
    Tensor, shape (n, rings)

    Raises
    ------
    ParameterError
        If `basis` is unknown.

    Notes
    -----
    Source: SD-1, section 4.1 (measured spectra).
    """
    _check_basis(basis)
    coefficients = dct2(images) if basis == "dct" else fft2(images)
    return _over_rings(coefficients.abs().square().mean(1), basis, None)[0]


def fit_power_law(spectrum: Radial, low: float = 0.02, high: float = 0.4) -> PowerLaw:
    """Least-squares line through log power against log frequency.

    Parameters
    ----------
    spectrum : Radial
    low, high : float
        Range of frequencies used, cycles per pixel, 0 < low < high <= 0.5. Frequencies near zero are few and near
        1/2 hold the camera's noise and its interpolation, so neither belongs in the fit.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ParameterError
        If the range is empty or holds fewer than three rings.

    Notes
    -----
    Source: SD-1, section 4.1, E|X0(f)|^2 = A / f^a.
    """
    if not 0 < low < high <= 0.5:
        raise ParameterError(f"low and high must satisfy 0 < low < high <= 0.5 cycles per pixel, not {low} and {high}.")
    frequency, power, _ = spectrum
    # A ring without any power (a flat garment on black) has no logarithm.
    kept = (frequency >= low) & (frequency <= high) & (power > 0)
    if int(kept.sum()) < 3:
        raise ParameterError(f"low={low} and high={high} keep fewer than three rings; widen the range.")
    x, y = frequency[kept].double().log(), power[kept].double().log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    intercept = y.mean() - slope * x.mean()
    spread = (y - y.mean()).square().sum()
    # Of a flat spectrum, which has no spread, the law leaves nothing unexplained.
    residual = (y - intercept - slope * x).square().sum() / spread.clamp_min(torch.finfo(y.dtype).tiny)
    return PowerLaw(float(intercept.exp()), float(-slope), float(1 - residual))


def ratio(generated: Float[Tensor, "H W"], real: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Power of the generated images over that of the real ones, per frequency: TDAS' gamma.

    Parameters
    ----------
    generated, real : Tensor, shape (H, W)
        Power spectra in one basis.

    Returns
    -------
    Tensor, shape (H, W)

    Raises
    ------
    ShapeError
        If the shapes differ or `real` is not positive everywhere.

    Notes
    -----
    Source: TDAS-7, Eq. 7.
    """
    if generated.shape != real.shape:
        raise ShapeError(f"generated and real must share a shape, not {tuple(generated.shape)}, {tuple(real.shape)}.")
    if not bool((real > 0).all()):
        raise ShapeError("real must be positive at every frequency; measure it on more images.")
    return generated / real


def kappa(gamma: Float[Tensor, "H W"], r: float | Float[Tensor, "*n"], basis: Basis = "dct") -> Float[Tensor, "*n"]:
    """Mean of `gamma` over all frequencies at distance r or more: TDAS' frequency behaviour function.

    Parameters
    ----------
    gamma : Tensor, shape (H, W)
    r : float or Tensor
        Radius in units of H: the mean is over squared index distances of at least 2 (r H)**2. From 0 to
        :func:`kappa_end`.
    basis : {"dct", "dft"}
        The DFT's distances are folded.

    Returns
    -------
    Tensor, of the shape of `r`

    Raises
    ------
    ParameterError
        If a radius is negative or leaves no frequency. The printed range sqrt(W^2 + H^2) does: the distances end
        near sqrt((H^2 + W^2) / 2).
    ShapeError
        If `gamma` has other axes than two, such as channels.

    Notes
    -----
    Source: TDAS-7, appendix A.3.
    """
    _check_basis(basis)
    require_map(gamma, "gamma")
    shape = (gamma.shape[0], gamma.shape[1])
    distance, order = square_distance(shape, basis).to(gamma.device).flatten().sort()
    end = kappa_end(shape, basis)
    radii = torch.as_tensor(r, dtype=torch.float64, device=gamma.device)
    if bool((radii < 0).any() or (radii > end).any()):
        raise ParameterError(f"r must lie between 0 and {end:.6g} (units of the height, basis {basis!r}).")
    # One cumulative sum from the far end serves every radius; the small slack keeps an exact distance on its ring.
    tail = gamma.flatten()[order].double().flip(0).cumsum(0).flip(0)
    first = torch.searchsorted(distance, 2 * (radii * gamma.shape[0]).square() * (1 - 1e-12))
    return (tail[first] / (distance.numel() - first)).to(gamma.dtype)


def kappa_end(shape: tuple[int, int], basis: Basis = "dct") -> float:
    """The largest radius, in units of the height, beyond which :func:`kappa` has no frequency left.

    Parameters
    ----------
    shape : (H, W)
    basis : {"dct", "dft"}

    Returns
    -------
    float

    Notes
    -----
    Source: TDAS-7, appendix A.3 (corrected range).
    """
    farthest = float(square_distance(shape, basis).max())
    return math.sqrt(farthest / 2) / shape[0]


def quantile(values: Tensor, a: float) -> float:
    """The smallest value that at least a share `a` of all values does not exceed: TDAS' Q_a.

    It is one of the values, never interpolated between two.

    Parameters
    ----------
    values : Tensor, any shape
    a : float
        Share, 0 < a <= 1.

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If `a` is outside (0, 1].
    ShapeError
        If `values` is empty or not finite.

    Notes
    -----
    Source: TDAS-7, appendix A.2, Q.
    """
    if not 0 < a <= 1:
        raise ParameterError(f"a must lie in (0, 1], not {a}.")
    if values.numel() == 0:
        raise ShapeError("values must hold at least one number.")
    require_finite(values, "values")
    # The product a * n may exceed an integer by a rounding error, which must not cost a whole rank.
    rank = max(1, math.ceil(a * values.numel() - 1e-9))
    return float(values.flatten().kthvalue(rank).values)


def band_error(
    generated: Float[Tensor, "*m H W"], real: Float[Tensor, "*n H W"], *, cutoff: float = 28 / 256
) -> BandError:
    """Low- and high-frequency error: how far mean Fourier magnitudes lie apart on either side of a cutoff.

    Parameters
    ----------
    generated, real : Tensor, shape (..., H, W)
        Images of one size; the paper takes 300 of each.
    cutoff : float
        Cycles per pixel. The default is the paper's 28 cycles per image at 256 px, so 7 cycles at 64 px and 3.5 at 32.

    Returns
    -------
    BandError
        Means over frequencies of the absolute difference of mean magnitudes (orthonormal DFT). The paper prints the
        difference with its sign, in which too much here would make up for too little there.

    Raises
    ------
    ShapeError
        If the sizes differ, or the images are not finite floating point.
    ParameterError
        If the cutoff leaves a band empty.

    Notes
    -----
    Source: SD-3, Table 1, footnote 2.
    """
    magnitudes = []
    for name, x in (("generated", generated), ("real", real)):
        require_image(x, name)
        require_finite(x, name)
        magnitudes.append(fft2(x).abs().reshape(-1, *x.shape[-2:]).mean(0))
    if magnitudes[0].shape != magnitudes[1].shape:
        raise ShapeError(f"generated and real must share a size, not {[tuple(m.shape) for m in magnitudes]}.")
    difference = (magnitudes[0] - magnitudes[1]).abs()
    distance = radius((difference.shape[0], difference.shape[1])).to(difference.device)
    low = distance <= cutoff
    if bool(low.all()) or not bool(low.any()):
        end = float(distance.max())
        raise ParameterError(f"cutoff must lie in [0, {end:.4g}) cycles per pixel, not {cutoff}.")
    return BandError(float(difference[low].mean()), float(difference[~low].mean()))


def _check_basis(basis: str) -> None:
    if basis not in ("dct", "dft"):
        raise ParameterError(f"basis must be 'dct' or 'dft', not {basis!r}.")


def _hann(x: Tensor) -> Tensor:
    # sin^2 at half-integer positions: symmetric, and no row of pixels is thrown away entirely.
    rows, columns = (
        torch.sin(math.pi * (torch.arange(n, dtype=x.dtype, device=x.device) + 0.5) / n).square() for n in x.shape[-2:]
    )
    return rows[:, None] * columns

"""The best linear denoiser of a stationary signal, as printed and as it is, and what stationarity costs.

For x_t = sqrt(ab) x0 + sqrt(1 - ab) eps, with ab short for alpha-bar, S the power spectrum of x0 and eps white, the
filter that minimises E|h * x_t - eps|^2 multiplies frequency f by

    H(f) = sqrt(1 - ab) / (ab S(f) + 1 - ab),

and what it leaves of x_t, divided by sqrt(ab), is the estimate of x0:  x0_hat = G x_t / sqrt(ab) with

    G(f) = 1 - sqrt(1 - ab) H(f) = ab S(f) / (ab S(f) + 1 - ab).

The paper prints H without the root in the numerator ("printed"). The caption of its figure plots 1 - (1 - ab) |H|^2:
with the printed H that is "caption", with the corrected one "squared", which is 1 - (1 - G)^2 and stays between 0 and
1. `form` keeps them all, so that a page can draw what they would do.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import number
from fewsteps.shapes import Float, require_image
from fewsteps.transforms import dct2, fft2, ifft2

Form = Literal["correct", "printed", "caption", "squared"]
FORMS: tuple[Form, ...] = ("correct", "printed", "caption", "squared")
Structure = Literal["dft", "dct", "full"]


def noise_response(
    power: Float[Tensor, "*f"], alpha_bar: float | Tensor, *, form: Form = "correct"
) -> Float[Tensor, "*broadcast"]:
    """Frequency response of the filter that predicts the noise from x_t.

    Parameters
    ----------
    power : Tensor
        Power spectrum S of x0 under an orthonormal transform, non-negative, any shape.
    alpha_bar : float or Tensor
        Cumulative signal share, 0 < alpha_bar < 1; broadcast against `power`.
    form : {"correct", "printed", "caption", "squared"}
        "printed" and "caption" both drop the root of 1 - alpha_bar from the numerator, as Eq. 6 does.

    Returns
    -------
    Tensor
        H, real and positive.

    Raises
    ------
    ParameterError
        If `alpha_bar` is outside (0, 1) or `form` is unknown.

    Notes
    -----
    Source: SD-1, Eq. 6 (corrected: the printed numerator is 1).
    """
    ab, gone = _shares(alpha_bar, power)
    _check_form(form)
    numerator = gone.sqrt() if form in ("correct", "squared") else torch.ones_like(ab)
    return numerator / (ab * power + gone)


def reconstruction_response(
    power: Float[Tensor, "*f"], alpha_bar: float | Tensor, *, form: Form = "correct"
) -> Float[Tensor, "*broadcast"]:
    """What reaches the estimate of sqrt(alpha_bar) x0 from x_t, per frequency: the curves of SD's Figure 3.

    Parameters
    ----------
    power : Tensor
        Power spectrum S of x0, any shape.
    alpha_bar : float or Tensor
        0 < alpha_bar < 1.
    form : {"correct", "printed", "caption", "squared"}
        "correct" is ab S / (ab S + 1 - ab), between 0 and 1; "printed" is 1 - sqrt(1 - ab) H with the printed H;
        "caption" is 1 - (1 - ab) |H|^2 with the printed H. These two turn negative where there is little signal.
        "squared" is the caption's curve with the corrected H, between 0 and 1 but wider than "correct".

    Returns
    -------
    Tensor
        G.

    Raises
    ------
    ParameterError
        If `alpha_bar` is outside (0, 1) or `form` is unknown.

    Notes
    -----
    Source: SD-1, section 4.1 and Fig. 3.
    """
    ab, gone = _shares(alpha_bar, power)
    response = noise_response(power, alpha_bar, form=form)
    if form == "caption":
        return 1 - gone * response.square()
    if form == "printed":
        return 1 - gone.sqrt() * response
    # Written out, because 1 - sqrt(1 - ab) H and 1 - (1 - ab) H^2 lose every digit where G is small.
    gain = ab * power / (ab * power + gone)
    return gain * (2 - gain) if form == "squared" else gain


def expected_error(
    power: Float[Tensor, "*f"], alpha_bar: float | Tensor, response: Float[Tensor, "*g"]
) -> Float[Tensor, "*broadcast"]:
    """Mean squared error of x0_hat at every frequency for any response G, the best or not.

    Parameters
    ----------
    power : Tensor
        Power spectrum S of x0.
    alpha_bar : float or Tensor
        0 < alpha_bar < 1.
    response : Tensor
        G, as from :func:`reconstruction_response`.

    Returns
    -------
    Tensor
        (1 - G)^2 S + G^2 (1 - ab) / ab.

    Raises
    ------
    ParameterError
        If `alpha_bar` is outside (0, 1).

    Notes
    -----
    Source: SD-1, proposition 1: the error that the filter minimises, for x0 in place of the noise.
    """
    ab, gone = _shares(alpha_bar, power)
    return (1 - response).square() * power + response.square() * gone / ab


def denoise(
    x_t: Float[Tensor, "*batch H W"], response: Float[Tensor, "*shared H W"], alpha_bar: float | Tensor
) -> Float[Tensor, "*batch H W"]:
    """Filter noisy images into the estimate of the clean ones.

    Parameters
    ----------
    x_t : Tensor, shape (..., H, W)
    response : Tensor, shape (H, W), or with leading axes that broadcast
        G on the DFT grid, zero frequency first.
    alpha_bar : float or Tensor
        0 < alpha_bar < 1.

    Returns
    -------
    Tensor, shape (..., H, W)
        x0_hat.

    Raises
    ------
    ShapeError
        If the sizes differ.
    ParameterError
        If `alpha_bar` is outside (0, 1).

    Notes
    -----
    Source: SD-1, section 4.1.
    """
    require_image(x_t, "x_t")
    if x_t.shape[-2:] != response.shape[-2:]:
        raise ShapeError(
            f"response must have the image's size {tuple(x_t.shape[-2:])}, not {tuple(response.shape[-2:])}."
        )
    ab, _ = _shares(alpha_bar, x_t)
    return ifft2(fft2(x_t) * response).real / ab.sqrt()


def least_squares_response(
    x_t: Float[Tensor, "*batch H W"], noise: Float[Tensor, "*batch H W"]
) -> Float[Tensor, "H W"]:
    """The noise filter that data itself asks for: per frequency, regress the noise on x_t.

    An oracle for :func:`noise_response` that knows neither the spectrum nor the formula.

    Parameters
    ----------
    x_t, noise : Tensor, shape (..., H, W)
        Noisy images and the unit-variance noise that went into them.

    Returns
    -------
    Tensor, shape (H, W)
        Re sum(conj(X_t) E) / sum |X_t|^2.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Notes
    -----
    Source: SD-1, proposition 1.
    """
    if x_t.shape != noise.shape:
        raise ShapeError(f"x_t and noise must share a shape, not {tuple(x_t.shape)} and {tuple(noise.shape)}.")
    observed, target = (fft2(v).reshape(-1, *v.shape[-2:]) for v in (x_t, noise))
    return (observed.conj() * target).real.sum(0) / observed.abs().square().sum(0)


def covariance(patches: Float[Tensor, "n h w"]) -> Float[Tensor, "d d"]:
    """Second moments of image patches over pixels, after the mean over all of them is removed.

    Parameters
    ----------
    patches : Tensor, shape (n, h, w)

    Returns
    -------
    float64 Tensor, shape (h w, h w)

    Raises
    ------
    ShapeError
        If `patches` is not of shape (n, h, w).
    """
    if patches.ndim != 3:
        raise ShapeError(f"patches must have shape (n, h, w), not {tuple(patches.shape)}.")
    flat = patches.double().flatten(1)
    flat = flat - flat.mean()
    return flat.mT @ flat / len(flat)


def linear_error(
    known: Float[Tensor, "d d"],
    alpha_bar: float | Float[Tensor, "*n"],
    structure: Structure,
    *,
    test: Float[Tensor, "d d"] | None = None,
) -> Float[Tensor, "*n"]:
    """Error of the best linear denoiser of a given structure: what assuming stationarity costs.

    Parameters
    ----------
    known : Tensor, shape (d, d)
        Covariance of square patches that the filter is made from, d = h * h.
    alpha_bar : float or Tensor
        0 < alpha_bar < 1.
    structure : {"dft", "dct", "full"}
        "dft" is the Wiener filter (stationary and periodic), "dct" is diagonal in the cosine basis (stationary with
        mirrored edges), "full" uses the whole covariance: the best that any linear map can do.
    test : Tensor, shape (d, d), optional
        Covariance of the patches that it is judged on; default `known`.

    Returns
    -------
    float64 Tensor, of the shape of `alpha_bar`
        Expected squared error of x0_hat per pixel. Exact for these second moments: nothing is sampled.

    Raises
    ------
    ParameterError
        If `alpha_bar` is outside (0, 1) or `structure` is unknown.
    ShapeError
        If the patches are not square.

    Notes
    -----
    Source: SD-1, proposition 1: the assumption of wide-sense stationarity, priced.
    """
    d = known.shape[-1]
    side = round(d**0.5)
    if side * side != d:
        raise ShapeError(f"known must be the covariance of square patches; {d} pixels are not a square.")
    known = known.double()
    test = known if test is None else test.double()
    ab = _shares(alpha_bar, known)[0].double()[..., None]
    basis = _basis(known, structure, side)
    power = torch.einsum("ki,ij,kj->k", basis, known.to(basis.dtype), basis.conj()).real
    gain = reconstruction_response(power, ab)
    # In an orthonormal basis the error needs only the diagonal: E|(G - 1) X0|^2 + |G|^2 (1 - ab) / ab.
    actual = torch.einsum("ki,ij,kj->k", basis, test.to(basis.dtype), basis.conj()).real
    return expected_error(actual, ab, gain).mean(-1)


def _basis(known: Tensor, structure: str, side: int) -> Tensor:
    """Rows are the orthonormal vectors on which the filter is diagonal."""
    unit = torch.eye(side * side, dtype=torch.float64).unflatten(-1, (side, side))
    if structure == "dft":
        return fft2(unit).flatten(1).mT
    if structure == "dct":
        return dct2(unit).flatten(1).mT
    if structure == "full":
        return torch.linalg.eigh(known).eigenvectors.mT
    raise ParameterError(f"structure must be 'dft', 'dct' or 'full', not {structure!r}.")


def _shares(alpha_bar: float | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of signal and of noise, alpha_bar and 1 - alpha_bar.

    Of a number both are scalars in the precision of `like`, and the difference is taken before: near 1 single
    precision would leave nothing of it. A tensor is taken as it is.
    """
    if not isinstance(alpha_bar, Tensor):
        share = number("alpha_bar", alpha_bar, above=0, below=1)
        ab, gone = (torch.as_tensor(x, dtype=like.real.dtype, device=like.device) for x in (share, 1 - share))
        return ab, gone
    if alpha_bar.device.type == "cpu" and not bool(((alpha_bar > 0) & (alpha_bar < 1)).all()):
        raise ParameterError("alpha_bar must be above 0 and below 1 everywhere.")
    return alpha_bar, 1 - alpha_bar


def _check_form(form: str) -> None:
    if form not in FORMS:
        raise ParameterError(f"form must be one of {', '.join(FORMS)}, not {form!r}.")

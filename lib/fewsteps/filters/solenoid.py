"""PDS' solenoidal term: a skew-symmetric operator on the score, which moves samples around but not their law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fewsteps.errors import ParameterError
from fewsteps.parameters import integer, number
from fewsteps.shapes import Float
from fewsteps.transforms import fft2, ifft2

Domain = Literal["pixels", "frequencies"]
FULL = 1024  # the side of the images that PDS' shifts of 1, 10 and 100 pixels were chosen for


@dataclass(frozen=True)
class Solenoid:
    """omega S, with S = P - P^T and P the shift by `shift` rows and columns, around the edges.

    Parameters
    ----------
    shift : int
        Pixels along both axes, at least 1. PDS takes 1, 10 and 100 at 1024 px; see :func:`solenoid`.
    omega : float
        Its weight, 1000 in the paper. An explicit step bears far less: :func:`largest_omega`.
    domain : {"pixels", "frequencies"}
        Where P shifts. "frequencies" is Re[F (P - P^T) F^-1]: in that basis a shift is a phase, P - P^T an imaginary
        number at every frequency, and what it makes of a real image has no real part. S4 to S6 are zero.

    Raises
    ------
    ParameterError
        If a number is out of range or `domain` unknown.

    Notes
    -----
    Source: PDS-7, Eq. 23 and 24.
    """

    shift: int
    omega: float = 1.0
    domain: str = "pixels"

    def __post_init__(self) -> None:
        integer("shift", self.shift, least=1)
        number("omega", self.omega)
        if self.domain not in get_args(Domain):
            raise ParameterError(f"domain must be 'pixels' or 'frequencies', not {self.domain!r}.")

    def apply(self, g: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B H W"]:
        """omega S g.

        Parameters
        ----------
        g : Tensor, shape (..., H, W)

        Returns
        -------
        Tensor, of the shape and dtype of `g`
        """
        if self.domain == "pixels":
            return self.omega * self._turn(g)
        return (self.omega * fft2(self._turn(ifft2(g))).real).to(g.dtype)

    def _turn(self, g: Tensor) -> Tensor:
        return g.roll((self.shift, self.shift), (-2, -1)) - g.roll((-self.shift, -self.shift), (-2, -1))


def solenoid(kind: str, height: int, omega: float = 1.0) -> Solenoid:
    """One of PDS' S1 to S6, its shift scaled from 1024 px to images of another height.

    A shift of 100 pixels would go around an image of 32 px three times. No scaled shift is below 1.

    Parameters
    ----------
    kind : {"S1", "S2", "S3", "S4", "S5", "S6"}
    height : int
        Of the images.
    omega : float

    Returns
    -------
    Solenoid

    Raises
    ------
    ParameterError
        If `kind` is unknown or a number out of range.

    Notes
    -----
    Source: PDS-7, Eq. 24.
    """
    shifts = {"S1": 1, "S2": 10, "S3": 100, "S4": 1, "S5": 10, "S6": 100}
    if kind not in shifts:
        raise ParameterError(f"kind must be one of {', '.join(shifts)}, not {kind!r}.")
    height = integer("height", height, least=2)
    shift = max(1, round(shifts[kind] * height / FULL))
    return Solenoid(shift, omega, "pixels" if kind in ("S1", "S2", "S3") else "frequencies")


def largest_omega(ratio: float) -> float:
    """The omega up to which an explicit Langevin move stays stable on white data, with M = 1 and shifts in pixels.

    The move multiplies a frequency by 1 - (ratio / 2) (1 + 2 i omega sin(theta)), and |.| < 1 asks for
    omega^2 < 1 / ratio - 1 / 4 where the sine is 1.

    Parameters
    ----------
    ratio : float
        Step a over the variance of the noisy data, above 0 and below 4, where even omega = 0 is unstable.

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If `ratio` is out of range.

    Notes
    -----
    Source: PDS-7; the bound is ours.
    """
    return math.sqrt(1 / number("ratio", ratio, above=0, below=4) - 0.25)


def real_of_dft_minus_transpose(height: int) -> Float[Tensor, "H H"]:
    """Re[F - F^T] of the unitary DFT of that many points, PDS' first choice of S: F is symmetric, so it is zero.

    Parameters
    ----------
    height : int

    Returns
    -------
    float64 Tensor, shape (height, height)

    Notes
    -----
    Source: PDS-7, section 6.
    """
    matrix = torch.fft.fft(torch.eye(integer("height", height, least=1), dtype=torch.complex128), norm="ortho")
    return (matrix - matrix.mT).real

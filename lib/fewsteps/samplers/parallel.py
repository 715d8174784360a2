"""PixelAware's reverse path, whose noises are all given in advance: Algorithm 1 and the readings that it allows.

The paper predicts Z^1 ... Z^T in one pass and leaves open what they are jointly. Each of Eq. 2 and 3 has a noise of its
own for step j, and each belongs to another factor in front of it:

====================  ==============================================  =========================================
what Z^j is           factor that goes with it                        from the same Z it gives back
====================  ==============================================  =========================================
"increment", Eq. 2    "printed": sqrt(1 - alpha_j)                    the forward trajectory, state by state
"marginal", Eq. 3     "posterior": (1 - alpha_j) / sqrt(1 - ab_j)     the posterior mean, if Z is asked for anew
"last", that of x_T   "ddim"                                          the deterministic path to x0
====================  ==============================================  =========================================

alpha_j = exp(-gamma x0 / T) for every j, and ab_j its j-th power: fields over the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer
from fewsteps.schedules import image_scale
from fewsteps.schedules.pixel import PIXEL_MIN

READINGS = ("increment", "marginal", "last")
FACTORS = ("printed", "posterior", "ddim")


@dataclass(frozen=True, eq=False)
class Path:
    """A forward trajectory with its noises.

    Attributes
    ----------
    states : Tensor, shape (T + 1, ...)
        x_0 to x_T.
    increments, marginals : Tensor, shape (T, ...)
        The noise of every single step (Eq. 2), and the one that takes x_0 to x_j at once (Eq. 3).
    """

    states: Tensor
    increments: Tensor
    marginals: Tensor

    def targets(self, reading: str) -> Tensor:
        """What Z^1 ... Z^T are, (T, ...).

        Raises
        ------
        ParameterError
            If the reading is unknown.

        Notes
        -----
        Source: PX-7.
        """
        if reading == "increment":
            return self.increments
        if reading == "marginal":
            return self.marginals
        if reading == "last":
            return self.marginals[-1:].expand_as(self.marginals)
        raise ParameterError(f"reading must be one of {', '.join(READINGS)}, not {reading!r}.")


def forward_path(x0: Tensor, gamma: float, steps: int, noise: Callable[[tuple[int, ...]], Tensor]) -> Path:
    """A trajectory of PixelAware's forward process, every pixel at the rate of its own brightness.

    Parameters
    ----------
    x0 : Tensor
        Pixels in (0, 1].
    gamma : float
        Positive.
    steps : int
        T.
    noise : callable
        From a shape to white noise.

    Raises
    ------
    ParameterError
        If `gamma` or `steps` is not positive.
    ShapeError
        If a pixel is outside (0, 1]: a black one keeps its rate of zero for ever.

    Notes
    -----
    Source: PX-1, Eq. 2, 3, 8 and 9; PX-7; PX-10, Appendix B.
    """
    integer("steps", steps, least=1)
    if not bool(((x0 > 0) & (x0 <= 1)).all()):
        raise ShapeError(f"x0 must have all pixels in (0, 1]: use x0.clamp({PIXEL_MIN}, 1).")
    rate = image_scale(x0, gamma).log() / steps  # log alpha_j
    states, increments, marginals = [x0], [], []
    for j in range(1, steps + 1):
        z = noise(tuple(x0.shape)).to(x0)
        increments.append(z)
        states.append((rate / 2).exp() * states[-1] + (-torch.expm1(rate)).sqrt() * z)
        marginals.append((states[-1] - (j * rate / 2).exp() * x0) / (-torch.expm1(j * rate)).sqrt())
    return Path(torch.stack(states), torch.stack(increments), torch.stack(marginals))


def reverse_path(
    x: Tensor,
    scale: Tensor,
    noises: Tensor,
    *,
    factor: str = "posterior",
    noise: Callable[[tuple[int, ...]], Tensor] | None = None,
) -> Tensor:
    """Algorithm 1: from x_T back to x_0 with every Z^j given.

    Parameters
    ----------
    x : Tensor
        x_T.
    scale : Tensor
        The image scale x_delta = exp(-gamma x0), or its estimate, in (0, 1): broadcasts over `x`.
    noises : Tensor, shape (T, ...)
        Z^1 to Z^T, each of the shape of `x`.
    factor : {"printed", "posterior", "ddim"}
        What stands in front of Z^j. Step 9 is printed with (1 - alpha_j) / sqrt(1 - alpha_j), which is sqrt(1 -
        alpha_j); the posterior mean of Eq. 4 has a bar over the second alpha.
    noise : callable, optional
        Of fresh noise, which step 9 adds with the posterior's spread; without it the path is deterministic.

    Returns
    -------
    Tensor, shape (T + 1, ...)
        x_0 to x_T.

    Raises
    ------
    ShapeError
        If the noises have another shape than `x`, or the scale is outside (0, 1).
    ParameterError
        If the factor is unknown.

    Notes
    -----
    Source: PX-8, Algorithm 1; PX-10.
    """
    if noises.shape[1:] != x.shape or not len(noises):
        raise ShapeError(f"noises must have the shape (T, {', '.join(map(str, x.shape))}), not {tuple(noises.shape)}.")
    if not bool(((scale > 0) & (scale < 1)).all()):
        raise ShapeError("scale must have all entries in (0, 1): it is exp(-gamma x0) of pixels above 0.")
    steps = len(noises)
    rate = scale.log() / steps
    states = [x]
    for j in range(steps, 0, -1):
        mean = (states[-1] - _factor(factor, rate, j) * noises[j - 1]) / (rate / 2).exp()
        if noise is not None:
            spread = torch.expm1(rate) * torch.expm1((j - 1) * rate) / -torch.expm1(j * rate)
            mean = mean + spread.clamp(min=0).sqrt() * noise(tuple(x.shape)).to(x)
        states.append(mean)
    return torch.stack(states[::-1])


def amplification(scale: Tensor, steps: int, factor: str = "posterior") -> Tensor:
    """What an error of 1 in Z^j has become when the path arrives at x_0, for j = 1 ... T.

    Nothing looks at the state again, so every error is divided by sqrt(alpha) at each step that is left. What stands
    before Z^T grows by exp(gamma x0 / 2) in all, 22026 for a white pixel at gamma = 20.

    Parameters
    ----------
    scale : Tensor
        exp(-gamma x0).
    steps : int
        T.
    factor : {"printed", "posterior", "ddim"}

    Returns
    -------
    Tensor, shape (T, ...)

    Raises
    ------
    ParameterError
        If `steps` is not positive or the factor is unknown.

    Notes
    -----
    Source: PX-8.
    """
    integer("steps", steps, least=1)
    rate = scale.log() / steps
    return torch.stack([_factor(factor, rate, j) * (-j * rate / 2).exp() for j in range(1, steps + 1)])


def _factor(factor: str, rate: Tensor, j: int) -> Tensor:
    """What stands in front of Z^j, with log alpha as the rate."""
    if factor == "printed":
        return (-torch.expm1(rate)).sqrt()
    if factor == "posterior":
        return -torch.expm1(rate) / (-torch.expm1(j * rate)).sqrt()
    if factor == "ddim":
        return (-torch.expm1(j * rate)).sqrt() - (rate / 2).exp() * (-torch.expm1((j - 1) * rate)).clamp(min=0).sqrt()
    raise ParameterError(f"factor must be one of {', '.join(FACTORS)}, not {factor!r}.")

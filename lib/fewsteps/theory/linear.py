"""Linear diffusions in continuous time, where a stationary law is the solution of one matrix equation."""

from __future__ import annotations

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.shapes import Float


def stationary_covariance(drift: Tensor, noise: Tensor) -> Float[Tensor, "n n"]:
    """Covariance that dx = drift x dt + noise dw settles to: drift C + C drift^T + noise noise^T = 0.

    Parameters
    ----------
    drift, noise : Tensor, shape (n, n)

    Returns
    -------
    float64 Tensor, shape (n, n)

    Raises
    ------
    ShapeError
        If the two are not square matrices of one size.
    ParameterError
        If the drift does not pull everything back, so that nothing is stationary.

    Notes
    -----
    Source: PDS-8; the Lyapunov equation as in Gardiner's Handbook of stochastic methods.
    """
    drift, noise = drift.double(), noise.double()
    if drift.ndim != 2 or drift.shape[0] != drift.shape[1] or noise.shape != drift.shape:
        raise ShapeError(
            f"drift and noise must be square matrices of one size, not {tuple(drift.shape)}, {tuple(noise.shape)}."
        )
    slowest = float(torch.linalg.eigvals(drift).real.max())
    if slowest >= 0:
        raise ParameterError(f"drift must pull back in every direction; its slowest rate is {slowest:g}, not below 0.")
    one = torch.eye(len(drift), dtype=torch.float64)
    both = torch.kron(drift, one) + torch.kron(one, drift)  # acts on C read row by row
    solved = torch.linalg.solve(both, -(noise @ noise.mT).flatten()).reshape(drift.shape)
    return (solved + solved.mT) / 2


def preconditioned(
    drift: Float[Tensor, "n n"], noise: Float[Tensor, "n n"], m: Float[Tensor, "n n"]
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Drift and noise of the process that PDS makes of a linear one: M M^T drift and M noise.

    The paper's Theorem 2 says that the stationary law stays, if noise noise^T and M^T commute. It does where the
    stationary current vanishes (a drift that is a gradient, as a score is), and not in general.

    Parameters
    ----------
    drift, noise, m : Tensor, shape (n, n)

    Returns
    -------
    (Tensor, Tensor)

    Notes
    -----
    Source: PDS-8, Theorem 2, Eq. 7 with S = 0.
    """
    return m @ m.mT @ drift, m @ noise

"""Time grids: decreasing, `steps` + 1 long, from t_max to clean data at 0. A sampler is handed one; it makes none."""

from __future__ import annotations

import torch
from torch import Tensor

from fewsteps.errors import ParameterError
from fewsteps.parameters import integer, number
from fewsteps.schedules.base import Schedule
from fewsteps.schedules.continuous import scalar_time
from fewsteps.schedules.discrete import Discrete


def geometric(schedule: Schedule, steps: int) -> Tensor:
    """Noise-to-signal ratios in geometric progression from t_max to t_min, then 0: NCSN's and NCSN++'s sigmas.

    Parameters
    ----------
    schedule : Schedule
        One with a method ``time``.
    steps : int
        Number of steps, that is of noise levels.

    Returns
    -------
    float64 Tensor, shape (steps + 1,)

    Raises
    ------
    ParameterError
        If `steps` < 1, if there is no single noise level, or if `steps` exceeds those of a discrete schedule.

    Notes
    -----
    Source: BASE-NCSN, BASE-VE-PC.
    """
    return _by_level(schedule, steps, torch.log, torch.exp)


def karras(schedule: Schedule, steps: int, *, rho: float = 7.0) -> Tensor:
    """Noise-to-signal ratios evenly spaced in their 1/rho-th power, then 0: EDM's grid.

    Parameters
    ----------
    schedule : Schedule
        One with a method ``time``.
    steps : int
    rho : float
        7 in EDM; as it grows the grid becomes geometric.

    Returns
    -------
    float64 Tensor, shape (steps + 1,)

    Raises
    ------
    ParameterError
        If `steps` < 1, rho <= 0, there is no single noise level, or `steps` exceeds those of a discrete
        schedule.

    Notes
    -----
    Source: BASE-HEUN.
    """
    number("rho", rho, above=0)
    return _by_level(schedule, steps, lambda v: v ** (1 / rho), lambda v: v**rho)


def uniform(schedule: Schedule, steps: int) -> Tensor:
    """Times evenly spaced from t_max to 0.

    Parameters
    ----------
    schedule : Schedule
    steps : int

    Returns
    -------
    float64 Tensor, shape (steps + 1,)

    Raises
    ------
    ParameterError
        If `steps` < 1, or above the steps of a discrete schedule.

    Notes
    -----
    Source: BASE-DDIM, PX-1 (i / T).
    """
    return _finish(
        schedule, torch.linspace(1, 0, integer("steps", steps, least=1) + 1, dtype=torch.float64) * schedule.t_max
    )


def quadratic(schedule: Schedule, steps: int) -> Tensor:
    """Times whose square roots are evenly spaced from t_max to 0: finer near the data.

    Parameters
    ----------
    schedule : Schedule
    steps : int

    Returns
    -------
    float64 Tensor, shape (steps + 1,)

    Raises
    ------
    ParameterError
        If `steps` < 1, or above the steps of a discrete schedule.

    Notes
    -----
    Source: BASE-DDIM.
    """
    even = torch.linspace(1, 0, integer("steps", steps, least=1) + 1, dtype=torch.float64)
    return _finish(schedule, even.square() * schedule.t_max)


def _by_level(schedule: Schedule, steps: int, forward, back) -> Tensor:
    integer("steps", steps, least=1)
    level_to_time = scalar_time(schedule)
    ends = torch.tensor([schedule.t_max, schedule.t_min], dtype=torch.float64)
    first, last = forward(schedule.sigma(ends) / schedule.alpha(ends))
    levels = back(first + torch.linspace(0, 1, steps, dtype=torch.float64) * (last - first))
    times = level_to_time(levels)
    times[0] = schedule.t_max  # exactly, whatever the rounding of two inverses
    return _finish(schedule, torch.nn.functional.pad(times, (0, 1)))


def _finish(schedule: Schedule, times: Tensor) -> Tensor:
    """A discrete schedule is only known at its steps, and no two times may fall on the same one."""
    if not isinstance(schedule, Discrete):
        return times
    steps = len(times) - 1
    if steps > schedule.steps:
        raise ParameterError(f"steps must be at most {schedule.steps}, the steps of the schedule, not {steps}.")
    index = torch.arange(steps + 1, dtype=times.dtype)
    # Where levels crowd, the later time moves to the next free step; from the other end, room is left down to 0.
    spread = (times.round() + index).cummin(0).values - index
    return torch.maximum(spread, steps - index)

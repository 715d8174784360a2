"""The noise levels at which score matching trains: geometric, and by NCSNv2's rules close enough to each other."""

from __future__ import annotations

import math

from fewsteps.errors import ParameterError
from fewsteps.parameters import integer, number


def geometric_levels(first: float, last: float, count: int) -> list[float]:
    """`count` noise levels in geometric progression, both ends included.

    Parameters
    ----------
    first, last : float
        The largest and the smallest, in units of the data.
    count : int
        At least 2.

    Returns
    -------
    list of float
        Decreasing.

    Raises
    ------
    ParameterError
        Unless 0 < last < first, or if `count` is below 2.

    Notes
    -----
    Source: BASE-NCSN (ten levels from 1 to 0.01).
    """
    number("first", first, above=0)
    number("last", last, above=0, below=first)
    steps = integer("count", count, least=2) - 1
    return [first * (last / first) ** (place / steps) for place in range(steps)] + [last]


def overlapping_levels(first: float, last: float, dimension: int, *, overlap: float = 0.5) -> list[float]:
    """As few geometric noise levels as let neighbours share `overlap` of their mass: NCSNv2's second technique.

    In many dimensions a Gaussian's mass lies on a shell of radius sqrt(dimension) sigma. A sample of one level has to
    be likely at the next, or Langevin moves cannot pass from one to the other.

    Parameters
    ----------
    first : float
        The largest level. By the first technique as large as the largest distance between two images.
    last : float
        The smallest.
    dimension : int
        Numbers per image, at least 5.
    overlap : float
        See `level_overlap`, of which it is the least that two neighbours have; above 0, at most 0.99.

    Returns
    -------
    list of float
        Decreasing, both ends included.

    Raises
    ------
    ParameterError
        Unless 0 < last < first, or if `dimension` or `overlap` is out of range.

    Notes
    -----
    Source: BASE-NCSNv2 (Song & Ermon 2020, Techniques 1 and 2).
    """
    number("first", first, above=0)
    number("last", last, above=0, below=first)
    number("overlap", overlap, above=0, most=0.99)
    low, high = 1.0, 2.0
    while level_overlap(high, dimension) > overlap:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if level_overlap(middle, dimension) > overlap else (low, middle)
    return geometric_levels(first, last, 1 + math.ceil(math.log(first / last) / math.log(low)))


def settling_eps(levels: list[float], per_level: int) -> float:
    """The Langevin step with which noise follows these levels down best: NCSNv2's fourth technique.

    Noise of variance (ratio sigma)^2, which a level inherits from the one before, has after `per_level` moves the
    variance v sigma^2 with v = m^(2 per_level) (ratio^2 - f) + f, where e = eps / sigma_end^2, m = 1 - e / 2 and
    f = e / (1 - m^2). Too small a step leaves what was inherited, too large a one adds its own; v is never below 1.

    Parameters
    ----------
    levels : list of float
        In geometric progression, decreasing; at least 2.
    per_level : int
        Moves at each.

    Returns
    -------
    float
        For :func:`fewsteps.samplers.langevin`, whose convention makes it twice the number that the paper prints.

    Raises
    ------
    ParameterError
        Unless the levels decrease and are at least 2.

    Notes
    -----
    Source: BASE-NCSNv2 (Song & Ermon 2020, Proposition 3, Technique 4). It gives the paper's numbers for CIFAR-10,
    CelebA and the towers.
    """
    if len(levels) < 2 or not levels[0] > levels[-1] > 0:
        raise ParameterError("levels must be at least two, decreasing and above 0.")
    moves = integer("per_level", per_level, least=1)
    ratio = (levels[0] / levels[-1]) ** (1 / (len(levels) - 1))

    def variance(e: float) -> float:
        keep = (1 - e / 2) ** 2
        settled = e / (1 - keep)
        return keep**moves * (ratio**2 - settled) + settled

    low, high = 0.0, 2.0  # one minimum; at e = 2 a move forgets all that was, and a larger one overshoots
    for _ in range(60):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if variance(left) < variance(right) else (left, high)
    return (low + high) / 2 * levels[-1] ** 2


def level_overlap(ratio: float, dimension: int) -> float:
    """Mass of a noise level within three deviations of the next larger one's shell.

    Phi(sqrt(2 D) (ratio - 1) + 3 ratio) - Phi(sqrt(2 D) (ratio - 1) - 3 ratio), Phi the normal distribution function.

    Parameters
    ----------
    ratio : float
        Of a level to the next smaller one, at least 1.
    dimension : int
        D, at least 5: below, a larger ratio need not share less.

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If `ratio` or `dimension` is out of range.

    Notes
    -----
    Source: BASE-NCSNv2 (Song & Ermon 2020, Proposition 2, Technique 2).
    """
    number("ratio", ratio, least=1)
    shift = math.sqrt(2 * integer("dimension", dimension, least=5)) * (ratio - 1)
    upper, lower = (math.erf((shift + sign * 3 * ratio) / math.sqrt(2)) for sign in (1, -1))
    return (upper - lower) / 2

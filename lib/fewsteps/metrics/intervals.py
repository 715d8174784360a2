"""How far a number can be trusted: its interval, its floor, and whether another network would rank alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.metrics.distances import frechet, frechet_between
from fewsteps.metrics.statistics import Moments, require_features
from fewsteps.parameters import integer, number
from fewsteps.shapes import Float


class Interval(NamedTuple):
    """A value and the confidence interval around it."""

    value: float
    low: float
    high: float


class RankAgreement(NamedTuple):
    """Rank correlations in [-1, 1]: Spearman's rho and Kendall's tau-b, both corrected for ties."""

    spearman: float
    kendall: float


def frechet_interval(
    fake: Float[Tensor, "N D"] | Sequence[Moments],
    reference: Moments,
    *,
    generator: torch.Generator,
    draws: int = 200,
    level: float = 0.95,
) -> Interval:
    """Fréchet distance to fixed reference statistics, with a bootstrap interval over samples or over shards.

    The interval is for the distance that samples of this count have on average, bias included: compare it with
    distances at the same count and with the floor. Drawing with replacement adds bias of its own, so the spread of
    the draws around their mean is taken, and not the draws themselves.

    Parameters
    ----------
    fake : Tensor, shape (N, D), or sequence of Moments
        Features, drawn one by one, or shards of equal count, drawn whole; ten shards or more give a usable interval.
    reference : Moments
    generator : torch.Generator
        On the CPU.
    draws : int
        Bootstrap draws, at least 2; each costs one distance.
    level : float
        Confidence, above 0 and below 1.

    Returns
    -------
    Interval

    Raises
    ------
    ShapeError
        If there are fewer than two samples or shards, or the widths differ.
    ParameterError
        If `draws` or `level` is out of range, or the shards have different counts.

    Notes
    -----
    Source: B. Efron and R. J. Tibshirani (1993), An introduction to the bootstrap, chapter 13, the spread reversed
    around the estimate.
    """
    draws = integer("draws", draws, least=2)
    level = number("level", level, above=0, below=1)
    if isinstance(fake, Tensor):
        require_features(fake, "fake", least=2)
        samples: Tensor = fake

        def moments(index: Tensor) -> Moments:
            return Moments.of(samples[index.to(samples.device)])
    else:
        shards = list(fake)
        if len(shards) < 2:
            raise ShapeError(f"fake must hold at least 2 shards, not {len(shards)}.")
        if len({shard.count for shard in shards}) > 1:
            raise ParameterError("the shards must have one count, or a draw would not have the count of the whole.")

        def moments(index: Tensor) -> Moments:
            return Moments.merged(shards[i] for i in index.tolist())

    count = len(fake)
    value = frechet(moments(torch.arange(count)), reference)
    drawn = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        drawn[i] = frechet(moments(torch.randint(count, (count,), generator=generator)), reference)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    below, above = (drawn - drawn.mean()).quantile(ends).tolist()
    return Interval(value, max(0.0, value - above), value - below)


def floor(
    real: Float[Tensor, "N D"],
    count: int,
    *,
    generator: torch.Generator,
    against: int | None = None,
    draws: int = 5,
    distance: Callable[[Tensor, Tensor], float] = frechet_between,
) -> float:
    """Distance of real data from real data: the least that samples of this count can be expected to show.

    Parameters
    ----------
    real : Tensor, shape (N, D)
        Features.
    count : int
        Vectors that stand for the samples, at least 2.
    generator : torch.Generator
        On the CPU; draws the two disjoint sets.
    against : int, optional
        Vectors that stand for the reference; default `count`. Both together are at most N.
    draws : int
        Pairs of sets to average over.
    distance : callable
        Of two sets of features; :func:`frechet_between` by default.

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        If the features are not finite of shape (N, D), or fewer than four.
    ParameterError
        If a count is out of range.
    """
    require_features(real, "real", least=4)
    count = integer("count", count, least=2, most=len(real) - 2)
    against = integer("against", count if against is None else against, least=2)
    if count + against > len(real):
        raise ParameterError(
            f"count and against must be at most {len(real)} together, as the sets are disjoint, not {count + against}."
        )
    draws = integer("draws", draws, least=1)
    total = 0.0
    for _ in range(draws):
        order = torch.randperm(len(real), generator=generator)[: count + against].to(real.device)
        total += distance(real[order[:count]], real[order[count:]])
    return total / draws


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's confidence interval of a share.

    Parameters
    ----------
    share : float
        From 0 to 1.
    count : int
        Of what it is a share, at least 1.
    z : float
        Quantile of the normal law; 1.96 for 95 %.

    Returns
    -------
    (float, float)
        Within [0, 1] and around the share.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: Wilson 1927.
    """
    number("share", share, least=0, most=1)
    integer("count", count, least=1)
    number("z", z, above=0)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def rank_agreement(a: Sequence[float], b: Sequence[float]) -> RankAgreement:
    """Whether two lists of numbers put the same things in the same order.

    Parameters
    ----------
    a, b : sequence of float
        One entry per thing ranked, for instance the distances of several samplers in two feature networks.

    Returns
    -------
    RankAgreement
        1 for the same order, -1 for the opposite one. Ties share their mean rank.

    Raises
    ------
    ShapeError
        If the lengths differ, fewer than two things are ranked, or a value is not finite.
    ParameterError
        If one list holds one value only, which ranks nothing.

    Notes
    -----
    Source: M. G. Kendall (1945), The treatment of ties in ranking problems.
    """
    x, y = (torch.as_tensor(values, dtype=torch.float64).flatten() for values in (a, b))
    if len(x) != len(y) or len(x) < 2:
        raise ShapeError(f"a and b must have one length of at least 2, not {len(x)} and {len(y)}.")
    if not bool(x.isfinite().all() and y.isfinite().all()):
        raise ShapeError("a and b must be finite.")
    if bool((x == x[0]).all() or (y == y[0]).all()):
        raise ParameterError("a and b must each hold at least two different values: equal ones rank nothing.")
    # which of each pair is larger; its row sums are centred ranks, ties at their mean
    over_x, over_y = torch.sign(x[:, None] - x), torch.sign(y[:, None] - y)
    return RankAgreement(_cosine(over_x.sum(1), over_y.sum(1)), _cosine(over_x, over_y))


def _cosine(x: Tensor, y: Tensor) -> float:
    return float((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt())

"""A measured number with everything that one needs to know to compare it with another."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fewsteps.errors import ParameterError
from fewsteps.metrics.extractors import Extractor
from fewsteps.metrics.intervals import floor, frechet_interval
from fewsteps.metrics.statistics import Moments, require_pair
from fewsteps.parameters import integer
from fewsteps.shapes import Float


@dataclass(frozen=True)
class Number:
    """One metric of one set of samples.

    Parameters
    ----------
    metric : str
        Its name, which says the network where it is a distance: "FID" or "FD-<network>".
    value : float
    low, high : float
        Ends of its confidence interval, `low` at most `high`.
    count : int
        Samples, at least 1.
    seeds : (int, int)
        First and last seed of the samples, both included.
    extractor, resize : str
        The network's name and how images were brought to its size.
    reference : str
        Hash of the reference: of its statistics (:meth:`fewsteps.metrics.Moments.sha256`) or of its data.
    floor : float
        The same metric of real data against real data, at `floor_count`.
    reference_count : int
        Real samples in the reference, at least 1.
    floor_count : int
        Real samples that stood in the samples' place for the floor, at least 1; `count` where there are so many.

    Raises
    ------
    ParameterError
        If a text is empty, a number not finite, or an interval reversed.
    """

    metric: str
    value: float
    low: float
    high: float
    count: int
    seeds: tuple[int, int]
    extractor: str
    resize: str
    reference: str
    floor: float
    reference_count: int
    floor_count: int

    def __post_init__(self) -> None:
        for name in ("metric", "extractor", "resize", "reference"):
            if not getattr(self, name):
                raise ParameterError(f"{name} must be a text that is not empty: a number says where it is from.")
        for name in ("value", "low", "high", "floor"):
            if not math.isfinite(getattr(self, name)):
                raise ParameterError(f"{name} must be finite, not {getattr(self, name)}.")
        for name in ("count", "reference_count", "floor_count"):
            integer(name, getattr(self, name), least=1)
        if self.low > self.high:
            raise ParameterError(f"low must be at most high, not {self.low:g} and {self.high:g}.")
        if len(self.seeds) != 2 or self.seeds[0] > self.seeds[1]:
            raise ParameterError(f"seeds must be the first and the last seed in this order, not {self.seeds}.")

    def row(self) -> dict[str, Any]:
        """All of it under its names, as JSON takes it."""
        return asdict(self) | {"seeds": list(self.seeds)}


def measure(
    extractor: Extractor,
    fake: Float[Tensor, "N D"],
    real: Float[Tensor, "M D"],
    *,
    seeds: tuple[int, int],
    generator: torch.Generator,
    draws: int = 200,
    level: float = 0.95,
) -> Number:
    """Fréchet distance of samples to real data with its interval and floor, from the features of both.

    Parameters
    ----------
    extractor : Extractor
        That made the features.
    fake : Tensor, shape (N, D)
        Features of samples.
    real : Tensor, shape (M, D)
        Features of real data, all of them the reference. The floor is the distance of N of them, or of half of them
        where they are fewer than 2 N, from the rest: both sets are smaller then, so that it errs upwards.
    seeds : (int, int)
        First and last seed of the samples.
    generator : torch.Generator
        On the CPU.
    draws : int
        Bootstrap draws of the interval.
    level : float
        Its confidence.

    Returns
    -------
    Number

    Raises
    ------
    ShapeError
        If the features are not finite, too few, or of two widths.
    ParameterError
        If a parameter is out of range.
    """
    require_pair(fake, real, ("fake", "real"), least=4)
    reference = Moments.of(real)
    value, low, high = frechet_interval(fake, reference, generator=generator, draws=draws, level=level)
    count = min(len(fake), len(real) // 2)
    return Number(
        metric=extractor.distance_name,
        value=value,
        low=low,
        high=high,
        count=len(fake),
        seeds=seeds,
        extractor=extractor.name,
        resize=extractor.resize,
        reference=reference.sha256(),
        floor=floor(real, count, generator=generator, against=len(real) - count),
        reference_count=len(real),
        floor_count=count,
    )

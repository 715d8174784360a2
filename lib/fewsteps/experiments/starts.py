"""Where a one-pass sampler begins: normal noise, or a law fitted to the last states of training images.

PixelAware's x_T is not standard normal where a picture is dark, and a network that was trained on x_T reads the
picture there. A start that is not made from an image needs a law of x_T. Two are fitted here, both mixtures of normal
ones: over the pixels of x_T, and over the vectors that the scale estimator makes of it, whose decoded scales are put
under noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps.errors import DataError, ParameterError, ShapeError
from fewsteps.experiments import stored
from fewsteps.experiments.references import FOLDER
from fewsteps.parameters import integer

Noise = Callable[[tuple[int, ...]], Tensor]
STARTS = ("normal", "pixels", "latent")
FLOOR = 1e-4  # the least variance that is believed


@dataclass(frozen=True, eq=False)
class Law:
    """A mixture of normal laws, each a mean, a few directions and independent noise.

    Attributes
    ----------
    weights : Tensor, shape (K,)
        Summing to 1.
    means, spreads : Tensor, shape (K, d)
        Of every component; the spreads are standard deviations.
    factors : Tensor, shape (K, r, d)
        Directions, each times the standard deviation along it; r may be 0.
    """

    weights: Tensor
    means: Tensor
    spreads: Tensor
    factors: Tensor

    def draw(self, count: int, noise: Noise) -> Tensor:
        """Draws from it, (count, d).

        Parameters
        ----------
        count : int
        noise : callable
            From a shape to white noise, of which the components are drawn as well.
        """
        uniform = torch.special.ndtr(noise((integer("count", count, least=1),)).float())
        which = torch.searchsorted(self.weights.cumsum(0), uniform).clamp_max(len(self.weights) - 1)
        drawn = self.means[which] + self.spreads[which] * noise((count, self.means.shape[1]))
        if self.factors.shape[1]:
            along = noise((count, self.factors.shape[1]))
            drawn = drawn + torch.einsum("nr,nrd->nd", along, self.factors[which])
        return drawn

    def tensors(self) -> dict[str, Tensor]:
        """For a file, in half precision."""
        return {key: getattr(self, key).half().contiguous() for key in ("weights", "means", "spreads", "factors")}


def fit_vectors(vectors: Tensor, components: int = 10, rank: int = 32, rounds: int = 20) -> Law:
    """A mixture over vectors: the cells of k-means, and the first principal directions of each.

    Parameters
    ----------
    vectors : Tensor, shape (N, d)
    components, rank, rounds : int

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: PX-4, PX-8 (a start that is not made from an image).
    """
    integer("components", components, least=1, most=len(vectors))
    rank = min(integer("rank", rank, least=0), vectors.shape[1])
    generator = torch.Generator().manual_seed(0)
    vectors = vectors.float()
    centres = vectors[torch.randperm(len(vectors), generator=generator)[:components]].clone()
    cell = torch.zeros(len(vectors), dtype=torch.long)
    for _ in range(integer("rounds", rounds, least=1)):
        cell = torch.cdist(vectors, centres).argmin(1)
        for k in range(components):
            if bool((cell == k).any()):
                centres[k] = vectors[cell == k].mean(0)
    weights, spreads, factors = [], [], []
    for k in range(components):
        inside = vectors[cell == k]
        apart = inside - centres[k] if len(inside) else torch.zeros(1, vectors.shape[1])
        covariance = apart.mT @ apart / len(apart)
        values, directions = torch.linalg.eigh(covariance.double())
        values, directions = values.flip(0)[:rank].clamp_min(0), directions.flip(1)[:, :rank]
        factors.append((directions * values.sqrt()).mT.float())
        left = covariance.diagonal() - factors[-1].square().sum(0)
        spreads.append(left.clamp_min(FLOOR).sqrt())
        weights.append(len(inside) / len(vectors))
    return Law(torch.tensor(weights), centres, torch.stack(spreads), torch.stack(factors))


def fit_pixels(states: Tensor, components: int = 64, rounds: int = 15) -> Law:
    """A mixture over the pixels of last states, independent within each component, by expectation maximisation.

    Parameters
    ----------
    states : Tensor, shape (N, C, H, W)
    components, rounds : int

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    The mean of a bright pixel of x_T is near 0 and its picture is in the variances, so that clusters of the states
    themselves would be clusters of noise: components begin as the smoothed squares of single states.

    Source: PX-4, PX-8 (a start that is not made from an image).
    """
    integer("components", components, least=1, most=len(states))
    generator = torch.Generator().manual_seed(0)
    x = states.float().flatten(1)
    some = states[torch.randperm(len(states), generator=generator)[:components]].float()
    variances = torch.nn.functional.avg_pool2d(some.square(), 5, 1, 2, count_include_pad=False).flatten(1)
    variances = variances.clamp_min(FLOOR)
    means = x.mean(0).expand_as(variances).clone()
    weights = torch.full((components,), 1 / components)
    for _ in range(integer("rounds", rounds, least=1)):
        chances = []
        for part in x.split(4096):
            distance = part.square() @ (1 / variances).mT - 2 * part @ (means / variances).mT
            distance = distance + (means.square() / variances).sum(1) + variances.log().sum(1)
            chances.append((weights.clamp_min(1e-12).log() - distance / 2).softmax(1))
        share = torch.cat(chances)
        count = share.sum(0)
        weights = count / len(x)
        means = share.mT @ x / count[:, None].clamp_min(1e-6)
        variances = share.mT @ x.square() / count[:, None].clamp_min(1e-6) - means.square()
        # A component that few states belong to would be as narrow as they are: held by one state of unit variance.
        variances = ((variances * count[:, None] + 1) / (count[:, None] + 1)).clamp_min(FLOOR)
    return Law(weights, means, variances.sqrt(), torch.zeros(components, 0, x.shape[1]))


def path_of(name: str, folder: Path = FOLDER) -> Path:
    """Where the laws for a scale estimator lie."""
    return folder / f"{name}.starts"


def save(name: str, about: dict[str, Any], laws: dict[str, Law], folder: Path = FOLDER) -> Path:
    """Write the laws for a scale estimator, whole or not at all."""
    tensors = {f"{start}/{key}": value for start, law in laws.items() for key, value in law.tensors().items()}
    return stored.keep(path_of(name, folder), about, tensors)


def read(name: str, sha256: str, folder: Path = FOLDER) -> dict[str, Law]:
    """The laws that were fitted for a scale estimator.

    Raises
    ------
    DataError
        If there are none, they are damaged, or they belong to other weights.
    """
    path, again = path_of(name, folder), "python tools/measure_pixel.py fits them again."
    if not path.exists():
        raise DataError(f"no law of x_T was fitted for {name}: {again}")
    about, tensors = stored.take(path, again)
    if about.get("weights") != sha256:
        raise DataError(f"the law of x_T for {name} belongs to other weights: {again}")
    keys = ("weights", "means", "spreads", "factors")
    starts = dict.fromkeys(key.partition("/")[0] for key in tensors)
    return {start: Law(**{key: tensors[f"{start}/{key}"].float() for key in keys}) for start in starts}


def check(start: str) -> str:
    """The name of a start.

    Raises
    ------
    ParameterError
        If it is unknown.
    """
    if start not in STARTS:
        raise ParameterError(f"start must be one of {', '.join(STARTS)}, not {start!r}.")
    return start


def as_states(vectors: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Draws over pixels as states, (N, C, H, W).

    Raises
    ------
    ShapeError
        If they have another number of pixels.
    """
    if vectors.shape[1] != math.prod(shape):
        raise ShapeError(f"the law is over {vectors.shape[1]} pixels, and images have {math.prod(shape)}.")
    return vectors.unflatten(1, shape)

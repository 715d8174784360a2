"""Whether a latent space means something: interpolation, one input at a time, attribute directions, in numbers.

The paper shows pictures. Here smoothness is the length of the way in the features of a classifier, over that of the
straight line, and how much of what its class probabilities change is taken back again; what decides an image is a share
of variance; and an attribute is a linear direction with the accuracy of the classifier that found it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fewsteps import samplers
from fewsteps.data import Images
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments.adversarial import KINDS, POSTERIOR, Inputs, drawn, generate
from fewsteps.networks import build
from fewsteps.parameters import integer, number
from fewsteps.samplers.walk import Noise
from fewsteps.schedules import VPLinear, karras
from fewsteps.trained import Trained, to_images
from fewsteps.training.recipes import Recipe

Features = Callable[[Tensor], Tensor]
REACH, FAR = 0.3, 1.0
"""How far edits go, in units of the typical length of a normalised vector: DiffAE's, and as far as classes are."""


def lerp(first: Tensor, second: Tensor, w: float) -> Tensor:
    """The straight line, w from 0 to 1.

    Notes
    -----
    Source: PD-7, BASE-DIFFAE (for semantic vectors).
    """
    return (1 - w) * first + w * second


def between(first: Inputs, second: Inputs, kind: str, steps: int) -> list[Inputs]:
    """The ways from `first` to `second` in one input, all others as in `first`.

    Parameters
    ----------
    first, second : Inputs
        Of as many images.
    kind : {"z_T", "z", "x_T", "posterior"}
        Semantic vectors and latent noise go in straight lines, x_T and the noise of the posteriors along arcs.
    steps : int
        Points, both ends included; at least 2.

    Returns
    -------
    list of Inputs

    Raises
    ------
    ParameterError
        If the kind is unknown, the inputs have none, or there are fewer than 2 steps.

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    way = {"x_T": samplers.slerp, POSTERIOR: partial(samplers.slerp, axes=2)}.get(kind, lerp)
    a, b = first.value(kind), second.value(kind)
    last = integer("steps", steps, least=2) - 1
    return [first.given(kind, way(a, b, k / last)) for k in range(last + 1)]


def interpolation(model: Trained, ways: Sequence[Inputs]) -> Tensor:
    """Images along ways, (B, steps, C, H, W), in [0, 1].

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    return torch.stack([generate(model, inputs) for inputs in ways], dim=1)


def pictures(model: Trained, seed: int = 0, steps: int = 7, *, calls: int = 0) -> dict[str, Tensor]:
    """Images on the way from one draw of an input to another, for each input that the model has.

    Parameters
    ----------
    model : Trained
    seed : int
        Of the first draw; the second has the next.
    steps : int
        Images on a way.
    calls : int
        Of the prior, see :func:`fewsteps.experiments.adversarial.semantic_vectors`.

    Returns
    -------
    dict of str to Tensor, shape (steps, C, H, W)

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    a, b = (drawn(model, 1, samplers.white_noise(seed + k), calls=calls) for k in (0, 1))
    kinds = [kind for kind in (*KINDS, POSTERIOR) if kind != "z_T" or a.z_T is not None]
    return {kind: interpolation(model, between(a, b, kind, steps))[0] for kind in kinds}


def way_of_latent(model: Trained, seed: int = 0, steps: int = 7) -> Tensor:
    """The way of :func:`pictures` in the vector that a row of Table 1 has, z_T or z, (steps, C, H, W).

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    ways = pictures(model, seed, steps)
    return ways.get("z_T", ways["z"])


def edits(
    model: Trained, moves: Mapping[str, Tensor], seed: int = 0, reach: float = FAR, steps: int = 7, *, calls: int = 0
) -> dict[str, Tensor]:
    """One image with less and with more of every class, along the class's direction.

    Parameters
    ----------
    model : Trained
    moves : mapping of str to Tensor, shape (latent,)
        What an edit by 1 adds to z_T, by class (:func:`fewsteps.experiments.semantic_tables.moves`).
    seed : int
        Of the image.
    reach : float
        Of the farthest edits, in both directions.
    steps : int
        Images of a class, the image as it is in their middle if it is odd.
    calls : int
        Of the prior.

    Returns
    -------
    dict of str to Tensor, shape (steps, C, H, W)

    Notes
    -----
    Source: PD-7 (attribute manipulation); BASE-DIFFAE.
    """
    one = drawn(model, 1, samplers.white_noise(seed), calls=calls)
    shares = torch.linspace(-reach, reach, steps)
    return {
        name: torch.cat([generate(model, one.given("z_T", one.value("z_T") + share * move)) for share in shares])
        for name, move in moves.items()
    }


def in_order_of_judges(test: Images) -> tuple[Tensor, Tensor | None]:
    """Test images in the order in which they are measured, and their classes: the first are ends of ways."""
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    return test.images[order], None if test.labels is None else test.labels[order]


def decided(model: Trained, seed: int = 0) -> dict[str, tuple[tuple[int, ...], float]]:
    """Shape of every input of two images, and how much a pixel changes at most where that input alone is another.

    Parameters
    ----------
    model : Trained
        Of a progressive GAN.
    seed : int
        Of the images; what is changed has the next.

    Notes
    -----
    Source: PD-2; PD-7, Fig. 5.
    """
    one, other = (drawn(model, 2, samplers.white_noise(seed + k)) for k in (0, 1))
    before = generate(model, one)
    found = {}
    for kind in (*KINDS, POSTERIOR):
        changed = generate(model, one.given(kind, other.value(kind)))
        found[kind] = (tuple(one.value(kind).shape), float((changed - before).abs().max()))
    return found


def roughness(points: Tensor) -> Tensor:
    """Length of a way over that of the straight line between its ends, (B,), at least 1.

    Parameters
    ----------
    points : Tensor, shape (B, steps, d)
        Features of the images along it.

    Raises
    ------
    ShapeError
        If there are fewer than two points.

    Notes
    -----
    A way that ends where it began is infinitely rough, unless it stands still, which is 1.

    Source: PD-7, for which the paper has only pictures.
    """
    _require_way(points, 3)
    moves = points.diff(dim=1).norm(dim=2).sum(1)
    straight = (points[:, -1] - points[:, 0]).norm(dim=1)
    return torch.where(moves > 0, moves / straight, torch.ones_like(moves))


def monotone(values: Tensor) -> Tensor:
    """Share of the changes along a way that is not taken back, (B,): 1 if it only rises or only falls, 0 if it returns.

    Parameters
    ----------
    values : Tensor, shape (B, steps)
        Such as the probability of the last image's class less that of the first's.

    Raises
    ------
    ShapeError
        If there are fewer than two values.

    Notes
    -----
    Source: PD-7.
    """
    _require_way(values, 2)
    changes = values.diff(dim=1).abs().sum(1)
    net = (values[:, -1] - values[:, 0]).abs()
    return torch.where(changes > 0, net / changes, torch.ones_like(net))


def _require_way(points: Tensor, ndim: int) -> None:
    if points.ndim != ndim or points.shape[1] < 2:
        wanted = "(B, steps, d)" if ndim == 3 else "(B, steps)"
        raise ShapeError(f"a way must have the shape {wanted} with at least 2 steps, not {tuple(points.shape)}.")


@dataclass(frozen=True)
class Smoothness:
    """How ways of images look to a classifier.

    Attributes
    ----------
    roughness : float
        Median over the ways of :func:`roughness`.
    monotone : float
        Mean of :func:`monotone` over the ways between two classes.
    moved : float
        Share of the ways whose ends the classifier gives two classes: where it is small nothing much happens, and
        that is smooth as well.
    count : int
        Ways.
    low, high : float
        95 % interval of the roughness, by drawing ways with replacement.
    """

    roughness: float
    monotone: float
    moved: float
    count: int
    low: float = math.nan
    high: float = math.nan


def smoothness(images: Tensor, classifier: Any) -> Smoothness:
    """Both numbers for ways of images.

    Parameters
    ----------
    images : Tensor, shape (B, steps, C, H, W)
        In [0, 1].
    classifier : fewsteps.networks.Classifier

    Raises
    ------
    ShapeError
        If there are fewer than two steps.

    Notes
    -----
    Source: PD-7, Fig. 3.
    """
    count, steps = images.shape[:2]
    features, chances = [], []
    for part in images.flatten(0, 1).split(512):
        seen = classifier.features(part)
        features.append(seen)
        chances.append(classifier.outward(seen).softmax(1))
    points = torch.cat(features).unflatten(0, (count, steps)).double()
    said = torch.cat(chances).unflatten(0, (count, steps)).double()
    rough = roughness(points)
    first, last = said[:, 0].argmax(1), said[:, -1].argmax(1)
    moved = first != last
    rows = torch.arange(count)
    share = float("nan")
    if bool(moved.any()):
        share = float(monotone((said[rows, :, last] - said[rows, :, first])[moved]).mean())
    drawn_again = rough[torch.randint(count, (500, count), generator=torch.Generator().manual_seed(0))].median(1).values
    low, high = (float(drawn_again.nanquantile(q)) for q in (0.025, 0.975))
    return Smoothness(float(rough.median()), share, float(moved.double().mean()), count, low, high)


def pixels_between(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Images that are blended pixel by pixel, (B, steps, C, H, W): what any latent space has to beat.

    Notes
    -----
    Source: PD-7 (the baseline of its claim).
    """
    last = integer("steps", steps, least=2) - 1
    return torch.stack([lerp(first, second, k / last) for k in range(last + 1)], dim=1)


def ddim_between(model: Trained, first: Tensor, second: Tensor, steps: int, *, calls: int = 50) -> Tensor:
    """Images along the arc between two x_T of a deterministic DDIM, (B, steps, C, H, W).

    Parameters
    ----------
    model : Trained
        A denoiser, told no class.
    first, second : Tensor, shape (B, C, H, W)
        White noise.
    steps, calls : int

    Notes
    -----
    Source: PD-7, BASE-DDIM (section 5.3 there).
    """
    schedule = VPLinear()
    denoiser, times = model.denoiser(schedule), karras(schedule, calls)
    last = integer("steps", steps, least=2) - 1
    made = []
    for k in range(last + 1):
        start = float(schedule.sigma(schedule.t_max)) * samplers.slerp(first, second, k / last)
        run = samplers.ddim(denoiser, start, times, noise=samplers.white_noise(0))
        made.append(to_images(samplers.last(run), schedule))
    return torch.stack(made, dim=1)


def explained(
    model: Trained, features: Features, noise: Noise, *, bases: int = 10, each: int = 10, calls: int = 0
) -> dict[str, float]:
    """Share of the variance of features that is left when one input alone varies: Sobol's total index of it.

    Parameters
    ----------
    model : Trained
    features : callable
        From images in [0, 1] to (B, d).
    noise : callable
    bases : int
        Sets of inputs that are held.
    each : int
        Images per base and input, at least 2.
    calls : int
        Of the prior, see :func:`fewsteps.experiments.adversarial.semantic_vectors`.

    Returns
    -------
    dict
        "z_T" (where there is an encoder), "z", "x_T", and "posterior" for the noise of the posteriors. They need not
        add up to 1: what only two inputs together do counts for both.

    Raises
    ------
    ParameterError
        If there are too few images.

    Notes
    -----
    Source: PD-2, section 5.4, Fig. 5.
    """
    integer("bases", bases, least=2)
    integer("each", each, least=2)
    base, other = drawn(model, bases, noise, calls=calls), drawn(model, bases * each, noise, calls=calls)
    held = base.part(torch.arange(bases).repeat_interleave(each))
    total = features(generate(model, other)).double().var(0).sum()
    changed = {kind: held.given(kind, other.value(kind)) for kind in KINDS if kind != "z_T" or held.z_T is not None} | {
        POSTERIOR: held.given(POSTERIOR, other.noise)
    }
    return {
        kind: float(features(generate(model, inputs)).double().unflatten(0, (bases, each)).var(1).mean(0).sum() / total)
        for kind, inputs in changed.items()
    }


def design(made: Recipe, seed: int = 0) -> Trained:
    """A denoising diffusion GAN as its recipe describes it, untrained, with no weight left at zero.

    Its images are no images, and every one of its inputs changes them.

    Parameters
    ----------
    made : Recipe
        Of a denoising diffusion GAN.
    seed : int

    Notes
    -----
    Source: PD-3.
    """
    noise = samplers.white_noise(seed)
    network = build(made.network)
    with torch.no_grad():
        for weight in network.parameters():
            # From nothing: what a network begins with comes from the global generator.
            many = weight.ndim > 1
            weight.copy_(noise(tuple(weight.shape)) / weight[0].numel() ** 0.5 if many else torch.ones_like(weight))
    known = Images(torch.zeros(1, 1, made.size, made.size), None, None, "", "")
    predicts = made.objective(known).predicts
    source = {"name": made.data, "size": made.size}
    card = {"name": made.name, "network": made.network, "predicts": predicts, "data": source}
    return Trained(card, network.eval().requires_grad_(False))


def variations(model: Trained, noise: Noise, count: int, *, calls: int = 0) -> dict[str, Tensor]:
    """Images that differ in one input alone, (count, C, H, W) for each of the four; the first is the same for all.

    Parameters
    ----------
    model : Trained
    noise : callable
    count : int
        Images per input, at least 2.
    calls : int
        Of the prior, see :func:`fewsteps.experiments.adversarial.semantic_vectors`.

    Returns
    -------
    dict
        "z_T" (where there is an encoder), "z", "x_T" and "posterior".

    Notes
    -----
    Source: PD-2, Fig. 5, and the input that it leaves out.
    """
    other = drawn(model, integer("count", count, least=2), noise, calls=calls)
    base = other.part(torch.zeros(count, dtype=torch.long))
    kinds = [*KINDS, POSTERIOR] if base.z_T is not None else [*KINDS[1:], POSTERIOR]
    return {kind: generate(model, base.given(kind, other.value(kind))) for kind in kinds}


@dataclass(frozen=True, eq=False)
class Direction:
    """An attribute in the latent space.

    Attributes
    ----------
    vector : Tensor, shape (latent,)
        Of length 1, of normalised vectors: the normal of the plane.
    between : Tensor, shape (latent,)
        Of length 1, from the mean of vectors without to the mean of those with.
    gap : float
        How far the two means are apart.
    accuracy : float
        Of the linear classifier on vectors that it has not seen, both classes counting alike.
    count : int
        Vectors that it was judged on.
    """

    vector: Tensor
    between: Tensor
    gap: float
    accuracy: float
    count: int


def direction(vectors: Tensor, has: Tensor, *, decay: float = 1e-2) -> Direction:
    """The normal of the plane that tells images with an attribute from those without, and how their means differ.

    The normal is where the two are told apart best, which may be across directions in which vectors hardly vary; the
    difference of the means is where images of the one kind lie as seen from the other.

    Parameters
    ----------
    vectors : Tensor, shape (N, latent)
        Normalised semantic vectors of real images, in any order that has nothing to do with the attribute.
    has : Tensor, shape (N,)
        Truth values.
    decay : float
        Weight of the squared length of the normal.

    Raises
    ------
    ShapeError
        If the two do not go together.
    ParameterError
        If either half has no image with, or none without, or `decay` is negative.

    Notes
    -----
    Logistic regression on the first half, by Newton's method; accuracy on the second.

    Source: PD-7; BASE-DIFFAE (a linear classifier's weights as direction).
    """
    number("decay", decay, least=0)
    if vectors.ndim != 2 or has.shape != vectors.shape[:1]:
        raise ShapeError(
            f"vectors and has must be (N, latent) and (N,), not {tuple(vectors.shape)} and {tuple(has.shape)}."
        )
    middle = len(vectors) // 2
    x = torch.cat((vectors, vectors.new_ones(len(vectors), 1)), dim=1).double()
    y = has.double()
    for part in (y[:middle], y[middle:]):
        if not 0 < float(part.sum()) < len(part):
            raise ParameterError("has must hold images with the attribute and without, in either half.")
    # Both classes weigh alike, or a rare attribute would best be denied always.
    share = y[:middle].mean()
    importance = torch.where(y[:middle] > 0, 0.5 / share, 0.5 / (1 - share)) / middle
    shrink = torch.full((x.shape[1],), decay, dtype=torch.float64)
    shrink[-1] = 0
    w = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(50):
        chance = torch.sigmoid(x[:middle] @ w)
        gradient = x[:middle].mT @ (importance * (chance - y[:middle])) + shrink * w
        curvature = (x[:middle].mT * (importance * chance * (1 - chance))) @ x[:middle] + torch.diag(shrink + 1e-9)
        move = torch.linalg.solve(curvature, gradient)
        w = w - move / max(1.0, float(move.norm()) / 5)  # Newton's method may leap where it is sure of everything
        if float(move.norm()) < 1e-9:
            break
    right = ((x[middle:] @ w > 0) == has[middle:]).double()
    accuracy = (right[has[middle:]].mean() + right[~has[middle:]].mean()) / 2
    apart = vectors[:middle][has[:middle]].mean(0) - vectors[:middle][~has[:middle]].mean(0)
    gap = float(apart.norm())
    return Direction((w[:-1] / w[:-1].norm()).to(vectors), apart / gap, gap, float(accuracy), len(vectors) - middle)


def edited(model: Trained, z_sem: Tensor, vector: Tensor, reach: float = REACH) -> Tensor:
    """Semantic vectors with more of an attribute, (B, latent).

    Parameters
    ----------
    model : Trained
    z_sem : Tensor, shape (B, latent)
        As the encoder says them.
    vector : Tensor, shape (latent,)
        Of a :class:`Direction`.
    reach : float
        In units of sqrt(latent), the typical length of a normalised vector; below 0 for less of it.

    Raises
    ------
    ShapeError
        If the direction has another width.
    ParameterError
        If there is no encoder.

    Notes
    -----
    Source: PD-7; BASE-DIFFAE (z + 0.3 sqrt(512) w of normalised z).
    """
    encoder = model.encoder
    if tuple(vector.shape) != (encoder.latent,):
        raise ShapeError(f"vector must have the width of the latent space, ({encoder.latent},), not {_s(vector)}.")
    return encoder.denormalise(encoder.normalise(z_sem) + number("reach", reach) * encoder.latent**0.5 * vector)


def _s(x: Tensor) -> str:
    return str(tuple(x.shape))

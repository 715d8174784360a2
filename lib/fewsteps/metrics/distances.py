"""From statistics or features to a number: Fréchet, kernel, inception score, precision and recall, spectra."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fewsteps import spectra
from fewsteps.errors import ShapeError
from fewsteps.metrics.statistics import Moments, require_features, require_pair
from fewsteps.parameters import integer
from fewsteps.shapes import Float
from fewsteps.transforms import Basis

EPS = torch.finfo(torch.float64).eps
# The quick way to a Fréchet distance is taken where its rounding stays below this share of the total variance.
ROUNDING = 1e-9
# Covariances that were summed in float32 are symmetric and non-negative to about this share of their largest entry.
TOLERANCE = 1e-5
BLOCK = 256  # below this size one dense product beats two halves
ENTRIES = 2**22  # of a matrix of distances that is held at a time: 32 MiB


class KernelDistance(NamedTuple):
    """Squared maximum mean discrepancy: mean over subsets (`value`) and their standard deviation (`std`)."""

    value: float
    std: float


class InceptionScore(NamedTuple):
    """Mean and standard deviation (over the number of splits, not that less one) of the score of each split."""

    mean: float
    std: float


class PrecisionRecall(NamedTuple):
    """`precision`: share of fakes inside the real manifold; `recall`: share of reals inside the fake manifold."""

    precision: float
    recall: float


class Nearest(NamedTuple):
    """Euclidean `distance` and `index` of the nearest references, nearest first, both (N, k)."""

    distance: Tensor
    index: Tensor


class SpectralError(NamedTuple):
    """How two sets differ by frequency.

    `low` and `high` are the band errors, `frequency` the radius in cycles per pixel, `log_ratio` the natural logarithm
    of fake over real mean power on each ring: 0 where they agree, above 0 where the fakes have too much.
    """

    low: float
    high: float
    frequency: Tensor
    log_ratio: Tensor


def frechet_distance(
    mu1: Float[Tensor, " D"], cov1: Float[Tensor, "D D"], mu2: Float[Tensor, " D"], cov2: Float[Tensor, "D D"]
) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two normal distributions.

    ``|mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1^(1/2) C2 C1^(1/2))^(1/2)``, from symmetric eigenvalues or singular
    values alone: real by construction, and singular covariances need no special case.

    Parameters
    ----------
    mu1, mu2 : Tensor, shape (D,)
    cov1, cov2 : Tensor, shape (D, D)
        Symmetric, non-negative. Computed in float64 on their device; entries that were summed in float32 keep the
        rounding of that sum.

    Returns
    -------
    float
        In squared units of the features, at least 0.

    Raises
    ------
    ShapeError
        If the widths differ, an entry is not finite, or a covariance is not symmetric and non-negative.

    Notes
    -----
    With any factors C1 = F1 F1^T and C2 = F2 F2^T the last trace is the sum of the singular values of F1^T F2. Where
    C1 has a Cholesky factor L and the spectrum is not too steep, they are the roots of the eigenvalues of L^T C2 L,
    at a tenth of the cost of a matrix square root. A root multiplies a rounding error near 0, so otherwise both
    covariances are decomposed, directions below D times the rounding unit dropped, and the singular values taken.

    Source: SD-3, PD-8, PX-9; D. C. Dowson and B. V. Landau (1982), The Fréchet distance between multivariate normal
    distributions; M. Heusel et al. (2017), GANs trained by a two time-scale update rule.
    """
    mu1, cov1 = _normal(mu1, cov1, "1")
    mu2, cov2 = _normal(mu2, cov2, "2")
    if len(mu1) != len(mu2):
        raise ShapeError(f"mu1 and mu2 must have one width, not {len(mu1)} and {len(mu2)}.")
    variance = float(cov1.trace() + cov2.trace())
    cross = _quick_cross(cov1, cov2, ROUNDING * variance)
    if cross is None:
        cross = float(torch.linalg.svdvals(_factor(cov1, "cov1").mT @ _factor(cov2, "cov2")).sum())
    return _assembled(mu1, mu2, variance, cross)


def frechet(a: Moments, b: Moments) -> float:
    """:func:`frechet_distance` of two sets by their moments.

    Raises
    ------
    ShapeError
        If the widths differ.
    ParameterError
        If one of them has seen fewer than two feature vectors.
    """
    if a.width != b.width:
        raise ShapeError(f"both moments must have one width, not {a.width} and {b.width}.")
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def frechet_between(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> float:
    """:func:`frechet_distance` of two sets by their features: cheaper and no less exact where they are few.

    With fewer vectors than entries the centred features themselves are the factors of singular covariances, and no
    matrix of D by D is made.

    Parameters
    ----------
    x, y : Tensor, shapes (N, D) and (M, D)
        At least two vectors each.

    Returns
    -------
    float

    Raises
    ------
    ShapeError
        If the features are not finite, too few, or of two widths.
    """
    require_pair(x, y, ("x", "y"), least=2)
    if min(len(x), len(y)) > x.shape[1] or max(len(x), len(y)) > 4 * x.shape[1]:
        return frechet(Moments.of(x), Moments.of(y))
    x, y = x.double(), y.double()
    mu1, mu2 = x.mean(0), y.mean(0)
    root1, root2 = (x - mu1) / math.sqrt(len(x) - 1), (y - mu2) / math.sqrt(len(y) - 1)
    variance = float(root1.square().sum() + root2.square().sum())
    return _assembled(mu1, mu2, variance, float(torch.linalg.svdvals(root1 @ root2.mT).sum()))


def _assembled(mu1: Tensor, mu2: Tensor, variance: float, cross: float) -> float:
    # rounding can leave a distance of 0 a little below it
    return float((mu1 - mu2).square().sum()) + max(0.0, variance - 2 * cross)


def _quick_cross(cov1: Tensor, cov2: Tensor, allowed: float) -> float | None:
    """The trace of the root by Cholesky, or None where rounding would show."""
    lower, failed = torch.linalg.cholesky_ex(cov1)
    if int(failed):
        return None
    values = torch.linalg.eigvalsh(_sandwiched(lower, cov2))
    if float(values[0]) <= 0:
        return None
    # First order: each root moves by the error of its eigenvalue over twice the root, and the errors are independent.
    # What rounding left in one covariance where it should be 0 counts as much as the other is large there.
    error = EPS * max(float(values[-1]), float(cov1.diagonal().max() * cov2.diagonal().max()))
    moved = error * float(values.reciprocal().sum().sqrt())
    return float(values.sqrt().sum()) if moved <= allowed else None


def _sandwiched(lower: Tensor, middle: Tensor) -> Tensor:
    """L^T C L for a lower triangle L and a symmetric C, its lower triangle alone: a third of two full products."""
    size = len(lower)
    if size <= BLOCK:
        return lower.mT @ (middle @ lower)
    h = size // 2
    l11, l21, l22 = lower[:h, :h], lower[h:, :h], lower[h:, h:]
    c11, c21, c22 = middle[:h, :h], middle[h:, :h], middle[h:, h:]
    across, within = c21 @ l11, c22 @ l21
    corner = (across + within / 2).mT @ l21
    out = torch.empty_like(lower)
    out[:h, :h] = _sandwiched(l11, c11).add_(corner).add_(corner.mT)
    out[h:, :h] = l22.mT @ (across + within)
    out[h:, h:] = _sandwiched(l22, c22)
    return out


def _factor(cov: Tensor, name: str) -> Tensor:
    """F of full column rank with C = F F^T, from symmetric eigenvalues."""
    values, vectors = torch.linalg.eigh(cov)
    if float(values[0]) < -TOLERANCE * float(values[-1]):
        raise ShapeError(f"{name} must have no negative eigenvalue, not {float(values[0]):.3g}: it is no covariance.")
    kept = values > len(cov) * EPS * values[-1]
    return vectors[:, kept] * values[kept].sqrt()


def _normal(mu: Tensor, cov: Tensor, which: str) -> tuple[Tensor, Tensor]:
    """Mean and covariance in float64, if they are those of a normal distribution."""
    for name, given, ndim, wanted in ((f"mu{which}", mu, 1, "(D,)"), (f"cov{which}", cov, 2, "(D, D)")):
        if not isinstance(given, Tensor):
            raise ShapeError(f"{name} must be a torch tensor of shape {wanted}, not {type(given).__name__}.")
        if not given.is_floating_point():
            raise ShapeError(f"{name} must be floating point, not {given.dtype}.")
        if given.ndim != ndim or given.numel() == 0:
            raise ShapeError(f"{name} must have shape {wanted}, not {tuple(given.shape)}.")
    if cov.shape != (len(mu), len(mu)):
        raise ShapeError(f"cov{which} must have shape {(len(mu), len(mu))} as mu{which} has, not {tuple(cov.shape)}.")
    mu, cov = mu.detach().double(), cov.detach().double()
    variances = cov.diagonal()
    # Two products with one vector, where comparing all entries would cost a tenth of the distance. NaN and infinity
    # leave NaN, no entry of a covariance exceeds the largest variance, and what rounding leaves does no harm, as the
    # decompositions read one triangle.
    probe = torch.arange(len(mu), dtype=mu.dtype, device=mu.device).cos()
    off = float((cov @ probe - probe @ cov).abs().max())
    allowed = TOLERANCE * math.sqrt(len(mu)) * float(variances.max())
    if not off <= allowed or not bool(mu.isfinite().all()):
        for name, given in ((f"mu{which}", mu), (f"cov{which}", cov)):
            if not bool(given.isfinite().all()):
                raise ShapeError(f"{name} must be finite; it holds NaN or infinite values.")
        if float(variances.min()) >= 0:
            raise ShapeError(f"cov{which} must be symmetric; pass the covariance and not its root or a product.")
    if float(variances.min()) < 0:
        raise ShapeError(f"cov{which} must have no negative variance on its diagonal.")
    return mu, cov


def kernel_distance(
    x: Float[Tensor, "N D"],
    y: Float[Tensor, "M D"],
    *,
    generator: torch.Generator,
    subsets: int = 100,
    size: int = 1000,
) -> KernelDistance:
    """Kernel distance: the unbiased squared maximum mean discrepancy under ``(x . y / D + 1)^3``.

    Parameters
    ----------
    x, y : Tensor, shapes (N, D) and (M, D)
        Features; which is real does not matter.
    generator : torch.Generator
        On the CPU; draws the subsets.
    subsets : int
        How many.
    size : int
        Vectors of each set in a subset, drawn without replacement; at least 2, at most N and M.

    Returns
    -------
    KernelDistance
        Its value may lie below 0: it is unbiased, so equal distributions give 0 on average.

    Raises
    ------
    ShapeError
        If the features are not finite, fewer than two, or of two widths.
    ParameterError
        If `subsets` or `size` is out of range.

    Notes
    -----
    Source: M. Bińkowski et al. (2018), Demystifying MMD GANs, section 4.
    """
    require_pair(x, y, ("x", "y"), least=2)
    subsets = integer("subsets", subsets, least=1)
    size = integer("size", size, least=2, most=min(len(x), len(y)))

    def drawn(features: Tensor) -> Tensor:
        index = torch.randperm(len(features), generator=generator)[:size]
        return features[index.to(features.device)].double()

    values = torch.tensor([_discrepancy(drawn(x), drawn(y)) for _ in range(subsets)], dtype=torch.float64)
    return KernelDistance(float(values.mean()), float(values.std(correction=0)))


def _discrepancy(x: Tensor, y: Tensor) -> float:
    size, width = x.shape

    def total(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.mT / width + 1).pow(3).sum()

    def itself(a: Tensor) -> Tensor:
        return (a.square().sum(1) / width + 1).pow(3).sum()

    alone = total(x, x) - itself(x) + total(y, y) - itself(y)
    return float(alone / (size * (size - 1)) - 2 * total(x, y) / size**2)


def inception_score(
    logits: Float[Tensor, "N K"], *, splits: int = 10, generator: torch.Generator | None = None
) -> InceptionScore:
    """Exponential of the mean divergence of p(class | image) from p(class), per split.

    Parameters
    ----------
    logits : Tensor, shape (N, K)
        Before the softmax, without their bias where the original score is meant.
    splits : int
        Consecutive parts of nearly equal size, from 1 to N.
    generator : torch.Generator, optional
        Shuffles first; needed where images come sorted by class, as a part would then hold few classes.

    Returns
    -------
    InceptionScore
        Between 1 and K.

    Raises
    ------
    ShapeError
        If the logits are not finite of shape (N, K).
    ParameterError
        If `splits` is out of range.

    Notes
    -----
    Source: PD-8; T. Salimans et al. (2016), Improved techniques for training GANs, section 4.
    """
    require_features(logits, "logits")
    count = len(logits)
    splits = integer("splits", splits, least=1, most=count)
    if generator is not None:
        logits = logits[torch.randperm(count, generator=generator).to(logits.device)]
    log_p = logits.double().log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * count // splits : (i + 1) * count // splits]
        # the mean in logarithms: a class that no image has would otherwise give 0 times infinity
        log_q = part.logsumexp(0) - math.log(len(part))
        scores.append((part.exp() * (part - log_q)).sum(1).mean().exp())
    values = torch.stack(scores)
    return InceptionScore(float(values.mean()), float(values.std(correction=0)))


def precision_recall(real: Float[Tensor, "N D"], fake: Float[Tensor, "M D"], *, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall: whose features lie inside whose manifold.

    A manifold is the union of balls around its samples, each as large as the distance to the k-th nearest other one.

    Parameters
    ----------
    real, fake : Tensor, shapes (N, D) and (M, D)
        Features, real ones first: swapping them swaps the two numbers.
    k : int
        From 1 to the smaller count less one.

    Returns
    -------
    PrecisionRecall
        `precision` is the share of fakes inside the real manifold, `recall` that of reals inside the fake one.

    Raises
    ------
    ShapeError
        If the features are not finite, fewer than two, or of two widths.
    ParameterError
        If `k` is out of range.

    Notes
    -----
    Source: PD-8; T. Kynkäänniemi et al. (2019), Improved precision and recall metric for assessing generative models.
    """
    require_pair(real, fake, ("real", "fake"), least=2)
    k = integer("k", k, least=1, most=min(len(real), len(fake)) - 1)
    return PrecisionRecall(_share_inside(fake, real, k), _share_inside(real, fake, k))


def _share_inside(queries: Tensor, manifold: Tensor, k: int) -> float:
    # the nearest to a sample is itself, so that its k-th neighbour is one further
    radius = nearest(manifold, manifold, k + 1).distance[:, -1].to(manifold.device)
    centre = manifold.double().mean(0)
    balls, points = manifold.double() - centre, queries.double() - centre
    # a point on a ball's surface is inside, however its distance was rounded
    reach = radius.square() + 1e-12 * balls.square().sum(1)
    inside = 0
    for rows in points.split(max(1, ENTRIES // len(balls))):
        norm = rows.square().sum(1, keepdim=True)
        inside += int((_square_distances(rows, balls) <= reach + 1e-12 * norm).any(1).sum())
    return inside / len(queries)


def _square_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """|r - c|^2 for all pairs, through one matrix product; off by rounding of the squared norms."""
    return torch.addmm(columns.square().sum(1), rows, columns.mT, alpha=-2).add_(rows.square().sum(1, keepdim=True))


def nearest(queries: Float[Tensor, "N D"], references: Float[Tensor, "M D"], k: int = 1) -> Nearest:
    """The k nearest references of every query, for instance the training images that a sample resembles.

    Memory for distances is bounded, whatever N and M are.

    Parameters
    ----------
    queries, references : Tensor, shapes (N, D) and (M, D)
    k : int
        From 1 to M.

    Returns
    -------
    Nearest
        float64 distances, exactly 0 for a copy, and int64 indices, both (N, k) on the CPU, nearest first.

    Raises
    ------
    ShapeError
        If the features are not finite, or of two widths.
    ParameterError
        If `k` is out of range.
    """
    require_pair(queries, references, ("queries", "references"), least=1)
    k = integer("k", k, least=1, most=len(references))
    centre = references.double().mean(0)
    where = references.double() - centre
    distances, indices = [], []
    for rows in queries.split(max(1, ENTRIES // max(len(where), k * where.shape[1]))):
        rows = rows.double() - centre
        index = _square_distances(rows, where).topk(k, largest=False).indices
        # the product rounds small distances away; those of the few that are left are taken from differences
        exact = (rows[:, None] - where[index]).norm(dim=2)
        exact, order = exact.sort(dim=1, stable=True)
        distances.append(exact.cpu())
        indices.append(index.gather(1, order).cpu())
    return Nearest(torch.cat(distances), torch.cat(indices))


def spectral_error(
    real: Float[Tensor, "*n H W"], fake: Float[Tensor, "*m H W"], *, cutoff: float = 28 / 256, basis: Basis = "dft"
) -> SpectralError:
    """How far the mean spectra of two image sets lie apart: in two bands, and on every ring of frequencies.

    Parameters
    ----------
    real, fake : Tensor, shape (..., H, W)
        Images of one size, real ones first.
    cutoff : float
        Cycles per pixel; where the low band ends (:func:`fewsteps.spectra.band_error`).
    basis : {"dft", "dct"}
        Of the rings; the band errors are those of Fourier magnitudes in either.

    Returns
    -------
    SpectralError
        Band errors in units of the images, radii in cycles per pixel, log ratios of power without a unit.

    Raises
    ------
    ShapeError
        If the sizes differ, the images are not finite, or a ring has no power to compare.
    ParameterError
        If the cutoff leaves a band empty, or `basis` is unknown.

    Notes
    -----
    Source: SD-3, Table 1, footnote 2; the ratio per frequency is TDAS' gamma by rings.
    """
    low, high = spectra.band_error(fake, real, cutoff=cutoff)
    frequency, real_power, _ = spectra.radial_mean(spectra.power_spectrum(real.double(), basis), basis)
    fake_power = spectra.radial_mean(spectra.power_spectrum(fake.double(), basis), basis).power
    for name, power in (("real", real_power), ("fake", fake_power)):
        if not bool((power > 0).all()):
            raise ShapeError(f"{name} must have power above 0 at every frequency; measure it on more images.")
    return SpectralError(low, high, frequency, (fake_power / real_power).log())

"""How good samples are, in three pure stages: features, then statistics, then a number that says where it is from.

``features(extractor, images)`` turns images into vectors, :class:`Moments` keeps what a Fréchet distance needs of them
in constant memory, and the functions of ``distances`` turn either into a number. ``measure`` does all three and gives
a :class:`Number`, which carries its extractor, counts, seeds, interval, reference and floor. Randomness comes in as a
``torch.Generator``.
"""

from fewsteps.metrics.distances import (
    InceptionScore,
    KernelDistance,
    Nearest,
    PrecisionRecall,
    SpectralError,
    frechet,
    frechet_between,
    frechet_distance,
    inception_score,
    kernel_distance,
    nearest,
    precision_recall,
    spectral_error,
)
from fewsteps.metrics.extractors import INCEPTION, Extractor, features, from_network, inception, logits
from fewsteps.metrics.intervals import Interval, RankAgreement, floor, frechet_interval, rank_agreement, wilson
from fewsteps.metrics.numbers import Number, measure
from fewsteps.metrics.statistics import Moments

__all__ = [
    "INCEPTION",
    "Extractor",
    "InceptionScore",
    "Interval",
    "KernelDistance",
    "Moments",
    "Nearest",
    "Number",
    "PrecisionRecall",
    "RankAgreement",
    "SpectralError",
    "features",
    "floor",
    "frechet",
    "frechet_between",
    "frechet_distance",
    "frechet_interval",
    "from_network",
    "inception",
    "inception_score",
    "kernel_distance",
    "logits",
    "measure",
    "nearest",
    "precision_recall",
    "rank_agreement",
    "spectral_error",
    "wilson",
]

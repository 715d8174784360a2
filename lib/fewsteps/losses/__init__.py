"""What a network is trained to do: each objective is a function of (network, clean images, classes, generator).

It returns one number per image; the training loop averages them. All images come in as [0, 1]; an objective that
works in other units says so, and `predicts` is what the card of a checkpoint records so that the right adapter in
`fewsteps.denoisers` can be chosen again.
"""

from fewsteps.losses.adversarial import (
    Adversarial,
    discriminator_loss,
    feature_difference,
    generator_loss,
    gradient_penalty,
    semantic_share,
)
from fewsteps.losses.autoencoding import Autoencoding, perceptual_distance
from fewsteps.losses.denoising import EDM, Eps, Objective, Poser, ScoreMatching
from fewsteps.losses.distillation import (
    Answering,
    Distillation,
    frequency_distance,
    frequency_weights,
    spatial_distance,
)
from fewsteps.losses.labels import CrossEntropy
from fewsteps.losses.levels import geometric_levels, level_overlap, overlapping_levels, settling_eps
from fewsteps.losses.pixel import ParallelNoise, ScaleEstimation, SingleHead

__all__ = [
    "EDM",
    "Adversarial",
    "Answering",
    "Autoencoding",
    "CrossEntropy",
    "Distillation",
    "Eps",
    "Objective",
    "ParallelNoise",
    "Poser",
    "ScaleEstimation",
    "ScoreMatching",
    "SingleHead",
    "discriminator_loss",
    "feature_difference",
    "frequency_distance",
    "frequency_weights",
    "generator_loss",
    "geometric_levels",
    "gradient_penalty",
    "level_overlap",
    "overlapping_levels",
    "perceptual_distance",
    "semantic_share",
    "settling_eps",
    "spatial_distance",
]

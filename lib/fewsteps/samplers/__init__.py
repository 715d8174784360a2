"""Samplers: generators that walk a grid of times from noise to data.

``sampler(model, start, times, noise=..., filt=..., cond=...)`` yields one frozen :class:`Step` per iteration;
``last(...)`` runs it to its end. A sampler knows a denoiser and nothing of networks; it makes no grid and draws from no
global generator; gradients are kept, so call it under ``torch.no_grad()`` to sample. A filter that asks for what a
sampler cannot do is refused with one sentence.
"""

from fewsteps.samplers.adversarial import ddgan
from fewsteps.samplers.ancestral import analytic, ddim, ddpm, mean_square_eps, ve_ancestral
from fewsteps.samplers.langevin import langevin, langevin_eps, predictor_corrector, snr_step
from fewsteps.samplers.parallel import (
    amplification,
    combined,
    estimates,
    forward_path,
    noises_of,
    renoised,
    reverse_path,
    scale_image,
    split_maps,
)
from fewsteps.samplers.solvers import dpmpp_2m, heun
from fewsteps.samplers.walk import Step, last, slerp, white_noise

__all__ = [
    "Step",
    "amplification",
    "analytic",
    "combined",
    "ddgan",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "estimates",
    "forward_path",
    "heun",
    "langevin",
    "langevin_eps",
    "last",
    "mean_square_eps",
    "noises_of",
    "predictor_corrector",
    "renoised",
    "reverse_path",
    "scale_image",
    "slerp",
    "snr_step",
    "split_maps",
    "ve_ancestral",
    "white_noise",
]

"""Models as samplers see them: the posterior mean of clean data given noisy data.

Adapters turn a network's output, whatever it predicts, into that mean; exact denoisers know it in closed form.
"""

from fewsteps.denoisers.adapters import Clipped, FromEps, FromScore, FromV, FromX0
from fewsteps.denoisers.adversarial import FromGenerator
from fewsteps.denoisers.corrected import Corrected, matching_gain
from fewsteps.denoisers.edm import FromEDM
from fewsteps.denoisers.exact import Empirical, Gaussian, GaussianMixture
from fewsteps.denoisers.guided import Guided
from fewsteps.denoisers.protocol import Denoiser, MeanOnly, score

__all__ = [
    "Clipped",
    "Corrected",
    "Denoiser",
    "Empirical",
    "FromEDM",
    "FromEps",
    "FromGenerator",
    "FromScore",
    "FromV",
    "FromX0",
    "Gaussian",
    "GaussianMixture",
    "Guided",
    "MeanOnly",
    "matching_gain",
    "score",
]

"""The live figures: anywidgets that work with a kernel and in the static page without one.

A laboratory is one class here and one self-contained front-end module, composed from the files beside it. The
mathematics runs in the browser in both worlds; with a kernel the traits reach Python as well.
"""

from fewsteps.widgets.bias import BiasLab
from fewsteps.widgets.errata import ErrataLab
from fewsteps.widgets.few_step import FewStepLab
from fewsteps.widgets.filtering import BoardLab, PdsLab, TdasLab
from fewsteps.widgets.labs import SnrLab, WienerLab
from fewsteps.widgets.one_pass import OnePassLab
from fewsteps.widgets.pixel import PixelLab
from fewsteps.widgets.sampling import SamplingLab
from fewsteps.widgets.semantic import SemanticLab
from fewsteps.widgets.slim import SlimLab
from fewsteps.widgets.steps import StepsLab

__all__ = [
    "BiasLab",
    "BoardLab",
    "ErrataLab",
    "FewStepLab",
    "OnePassLab",
    "PdsLab",
    "PixelLab",
    "SamplingLab",
    "SemanticLab",
    "SlimLab",
    "SnrLab",
    "StepsLab",
    "TdasLab",
    "WienerLab",
]

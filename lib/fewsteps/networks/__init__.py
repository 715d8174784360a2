"""Networks, in torch alone. They know no sampler and no schedule: they are functions of (x, times)."""

from __future__ import annotations

from typing import Any

from torch import nn

from fewsteps.errors import ParameterError
from fewsteps.networks.autoencoder import Autoencoder
from fewsteps.networks.classifier import Classifier
from fewsteps.networks.gan import DDGAN, Discriminator, Generator, LatentPrior, SemanticEncoder
from fewsteps.networks.ncsn import NCSN, NCSNv2
from fewsteps.networks.parallel import Parallel
from fewsteps.networks.scale import ScaleVAE
from fewsteps.networks.signal import SignalNet
from fewsteps.networks.student import Student
from fewsteps.networks.unet import UNet
from fewsteps.networks.wavelet import WaveletDown, WaveletUp
from fewsteps.networks.words import Worded, spell

__all__ = [
    "DDGAN",
    "KINDS",
    "NCSN",
    "Autoencoder",
    "Classifier",
    "Discriminator",
    "Generator",
    "LatentPrior",
    "NCSNv2",
    "Parallel",
    "ScaleVAE",
    "SemanticEncoder",
    "SignalNet",
    "Student",
    "UNet",
    "WaveletDown",
    "WaveletUp",
    "Worded",
    "build",
    "spell",
]

KINDS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "classifier": Classifier,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "student": Student,
    "autoencoder": Autoencoder,
    "worded": Worded,
    "ddgan": DDGAN,
    "prior": LatentPrior,
    "scale": ScaleVAE,
    "parallel": Parallel,
}


def build(description: dict[str, Any]) -> nn.Module:
    """The network that a card or a recipe describes.

    Parameters
    ----------
    description : dict
        ``kind``, one of `KINDS`, and the keyword arguments of that network.

    Raises
    ------
    ParameterError
        If the kind is unknown, or the network does not take such an argument.
    """
    given = dict(description)
    kind = given.pop("kind", None)
    if kind not in KINDS:
        raise ParameterError(f"the kind of a network must be one of {', '.join(KINDS)}, not {kind!r}.")
    try:
        return KINDS[kind](**given)
    except TypeError as error:
        raise ParameterError(f"a network of kind {kind} cannot be built from {given}: {error}.") from error

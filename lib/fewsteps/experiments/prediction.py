"""The power of a network's predictions along a sampler's own way, and the gains that put it right.

A network asked about real noisy images predicts with a known power (:mod:`fewsteps.experiments.onestep`). On the states
of a few-step sampler its predictions have another. The gains between the two are found in one run on images of other
seeds than are judged, and cost nothing afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fewsteps import trained
from fewsteps.denoisers import Denoiser, matching_gain
from fewsteps.errors import ParameterError
from fewsteps.experiments import filtering, onestep, pixels
from fewsteps.schedules import Schedule
from fewsteps.trained import Trained
from fewsteps.transforms import dct2

CALIBRATION_SEED = 2**40  # the largest there is: nobody judges on it by accident
CALIBRATION = 256  # images

HOW = ("as it is", "by frequency", "scaled")
"""What is done to predictions: nothing; a gain for every ring of frequencies; one gain for all of them."""


@dataclass(frozen=True, eq=False)
class Ideal:
    """What the power of predictions should be, images in the range of a schedule.

    Attributes
    ----------
    schedule : Schedule
    errors : OneStep
    data : float64 Tensor, shape (rings,)
        Power of clean training images about their mean.
    around : float64 Tensor, shape (C, H, W)
        Their mean.
    """

    schedule: Schedule
    errors: onestep.OneStep
    data: Tensor
    around: Tensor

    @property
    def scale(self) -> float:
        """Square of the range over that of images in [0, 1]."""
        low, high = trained.span(self.schedule)
        return (high - low) ** 2

    @property
    def levels(self) -> Tensor:
        """Noise over signal where the errors were measured, for images in [0, 1], increasing."""
        return self.errors.levels

    def wanted(self, t: float) -> Tensor:
        """Power of the prediction on real noisy images at a time, by ring."""
        return self.scale * filtering.on_rings(self.errors.known(onestep.level_of(self.schedule, t)))

    def matching(self, how: str = "by frequency") -> Matching:
        """The function that :class:`fewsteps.denoisers.Corrected` asks for gains."""
        return Matching(self, how)


def ideal(model: Trained, schedule: Schedule, *, told: bool = False) -> Ideal:
    """What the power of a network's predictions should be; it is larger where the network is told the class.

    Raises
    ------
    DataError
        If the data set's statistics are not there, or the network's errors were never measured and the images are
        not at hand.
    """
    source = model.card["data"]
    known = pixels.read(source["name"], source["size"])
    variance = (known.dct - dct2(known.mean).square()).mean(0).clamp_min(0)
    return _in_range(schedule, onestep.of(model, told=told), variance, known.mean)


def ideal_of(denoiser: Denoiser, clean: Tensor, *, device: torch.device | str = "cpu") -> Ideal:
    """The same for a denoiser that was made elsewhere, from real images and one call for each at every noise level.

    Parameters
    ----------
    denoiser : Denoiser
    clean : Tensor, shape (N, C, H, W)
        Real images in [0, 1]; a thousand are enough.
    device : optional
        Where the denoiser is.

    Returns
    -------
    Ideal

    Raises
    ------
    ParameterError
        If the noise of its schedule is no single number at a time.

    Notes
    -----
    Source: beyond the papers.
    """
    mean = clean.double().mean(0)
    variance = dct2(clean.double() - mean).square().mean((0, 1))
    return _in_range(denoiser.schedule, onestep.errors_of(denoiser, clean, mean.float(), device=device), variance, mean)


def _in_range(schedule: Schedule, errors: onestep.OneStep, variance: Tensor, mean: Tensor) -> Ideal:
    low, high = trained.span(schedule)
    data = (high - low) ** 2 * filtering.on_rings(variance)
    return Ideal(schedule, errors, data, trained.from_images(mean, schedule))


class Matching:
    """The function of call, time and power that :class:`fewsteps.denoisers.Corrected` asks for gains, and keeps them.

    Parameters
    ----------
    ideal : Ideal
    how : {"as it is", "by frequency", "scaled"}
        "as it is" looks and changes nothing.

    Raises
    ------
    ParameterError
        If `how` is unknown.

    Attributes
    ----------
    gains : list of Tensor, shape (H, W)
        One per network call.
    times : list of float
        When it was made.
    ratios : list of float64 Tensor, shape (rings,)
        Power of the prediction, before its gain, over what it should be; where neither holds much of the data's
        power it goes to 1, as in :func:`fewsteps.denoisers.matching_gain`.

    Notes
    -----
    Source: beyond the papers.
    """

    def __init__(self, ideal: Ideal, how: str) -> None:
        if how not in HOW:
            raise ParameterError(f"prediction must be one of {', '.join(HOW)}, not {how!r}.")
        self.ideal, self.how = ideal, how
        self.gains: list[Tensor] = []
        self.times: list[float] = []
        self.ratios: list[Tensor] = []

    def __call__(self, k: int, t: float, power: Tensor) -> Tensor:
        """The mask of the k-th call, shape (H, W), from the power of the prediction, (H, W)."""
        size = power.shape[-1]
        ring = filtering.rings_of(size)
        found, wanted, data = filtering.on_rings(power.cpu()), self.ideal.wanted(t), self.ideal.data
        self.times.append(t)
        self.ratios.append(matching_gain(found, wanted, data, most=100.0) ** -2)
        if self.how == "as it is":
            self.gains.append(torch.ones(size, size, dtype=torch.float64))
            return self.gains[-1]
        if self.how == "scaled":
            count = torch.bincount(ring.flatten()).double()
            found, wanted, data = ((count * part).sum().expand(len(count)) for part in (found, wanted, data))
        self.gains.append(matching_gain(found, wanted, data)[ring])
        return self.gains[-1]

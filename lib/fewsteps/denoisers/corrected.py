"""A model whose predictions are given back the power that they have on real noisy images.

A sampler's own states are not quite noisy images: its errors have gone into them. The prediction made from such a state
has too little power at some frequencies or too much at others, and the next state inherits it. A gain per frequency on
the prediction, one for every network call, undoes that; filters on the noise act at the wrong place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fewsteps.denoisers.protocol import Denoiser, MeanOnly
from fewsteps.errors import ShapeError
from fewsteps.schedules import Schedule
from fewsteps.schedules.base import Time
from fewsteps.transforms import dct2, idct2


class Corrected(MeanOnly):
    """Another denoiser whose k-th prediction is multiplied by the k-th mask, frequency by frequency.

    One run of a sampler: the calls are counted, since a sampler may ask twice at one time.

    Parameters
    ----------
    model : Denoiser
    gains : sequence of Tensor, shape (H, W), or callable
        One mask over the DCT's frequencies per call; or a function of (k, t, power), with `power` the mean square of
        the k-th prediction about `around`, shape (H, W), that returns it, which is how they are found.
    around : Tensor, shape (C, H, W)
        What the gains leave as it is: the mean of the data.

    Raises
    ------
    ShapeError
        At a call beyond the last mask.

    Notes
    -----
    Source: beyond the papers. With one number for all frequencies it is in the spirit of epsilon scaling, the remedy
    against exposure bias of Ning et al. 2024, which divides the prediction of the noise by a number instead.
    """

    def __init__(
        self, model: Denoiser, gains: Sequence[Tensor] | Callable[[int, float, Tensor], Tensor], around: Tensor
    ) -> None:
        self.model, self.around = model, around
        self.given = gains
        self.calls = 0

    @property
    def schedule(self) -> Schedule:
        """That of the model."""
        return self.model.schedule

    def mean(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """The model's mean with this call's gains."""
        around = self.around.to(x)
        said = dct2(self.model.mean(x, t, cond) - around)
        k, self.calls = self.calls, self.calls + 1
        if callable(self.given):
            gain = self.given(k, float(t), said.double().square().mean((0, 1)))
        elif k < len(self.given):
            gain = self.given[k]
        else:
            raise ShapeError(f"there are gains for {len(self.given)} network calls, and the sampler makes more.")
        return idct2(gain.to(said) * said) + around


def matching_gain(power: Tensor, wanted: Tensor, data: Tensor, *, floor: float = 0.03, most: float = 2.0) -> Tensor:
    """The gain that gives a prediction the power that it should have.

    Parameters
    ----------
    power, wanted : Tensor, any shape
        Mean square of the prediction as it is, and on real noisy images.
    data : Tensor, same shape
        Power of clean data. Where both predictions hold less than about `floor` of it, nothing is known yet and the
        gain goes to 1.
    floor : float
    most : float
        The gain is between 1 / most and most.

    Returns
    -------
    Tensor, same shape

    Notes
    -----
    Source: beyond the papers.
    """
    # Where there is no power in the data either, 0 / 0 should be 1.
    least = floor * data + torch.finfo(data.dtype).tiny
    return ((wanted + least) / (power + least)).sqrt().clamp(1 / most, most)

"""Chapter 09's laboratory: PixelAware's trajectory there and back with the true noises, beside DDPM's."""

from __future__ import annotations

from typing import Any

import torch
import traitlets
from torch import Tensor

from fewsteps import data, samplers
from fewsteps.samplers.parallel import Path
from fewsteps.schedules import PIXEL_MIN, image_scale
from fewsteps.widgets.bundle import bundle
from fewsteps.widgets.labs import Pictures, photographs_of
from fewsteps.widgets.sampling import gaussians

SIZE = 48  # a trajectory of 200 states is walked between two frames of a slider
NAMES = ("astronaut", "chelsea", "coffee")
DIGIT = 3  # of the bundled digits, one with a black ground: nothing of it diffuses
FORMS = {"exact": ("increment", "printed"), "printed": ("marginal", "printed"), "corrected": ("marginal", "posterior")}
"""What Z^j is, and the factor before it, as :func:`fewsteps.samplers.reverse_path` takes them."""


class PixelLab(Pictures):
    """Chapter 09: a grey picture under PixelAware, step by step, and the way back with noises known in advance.

    Three photographs and a digit at 48 px. DDPM has as many steps and the same noises.

    Parameters
    ----------
    t : float
        Where the scrubber stands: step i over T.
    gamma, T, form, error, photo, seed
        Where the other controls stand at first; traits of the same names follow the reader's hand. `error` is the
        standard deviation of what is added to every noise on the way back, the same for every `seed` of the noises.

    Raises
    ------
    ParameterError
        If there is no picture of that number.

    Notes
    -----
    Source: PX-1, PX-2; PX-7; PX-8, Algorithm 1; PX-10, Appendix B.
    """

    _esm = bundle("pixel_lab.js")
    t = traitlets.Float(0.05, min=0, max=1).tag(sync=True)
    gamma = traitlets.Float(20.0, min=1, max=40).tag(sync=True)
    T = traitlets.Enum((50, 100, 200), 200).tag(sync=True)
    form = traitlets.Enum(tuple(FORMS), "exact").tag(sync=True)
    error = traitlets.Float(0.001, min=0, max=0.1).tag(sync=True)
    seed = traitlets.Int(7, min=1, max=50).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        digit = (
            data.load("digits", "train", 8)
            .images[DIGIT, 0]
            .repeat_interleave(SIZE // 8, 0)
            .repeat_interleave(SIZE // 8, 1)
        )
        pictures = torch.cat((photographs_of(SIZE, NAMES).mean(1), digit[None]))
        self._levels = (pictures * 255).round().byte().contiguous()
        super().__init__(photos=self._levels.numpy().tobytes(), names=[*NAMES, "a digit"], size=SIZE, **traits)

    def image(self) -> Tensor:
        """The picture under the controls, (1, 48, 48), pixels in [PIXEL_MIN, 1]."""
        return (self._levels[self.photo : self.photo + 1].double() / 255).clamp(PIXEL_MIN, 1)

    def path(self) -> Path:
        """PixelAware's trajectory under the controls, from the page's own numbers.

        Notes
        -----
        Source: PX-1, Eq. 8 and 9.
        """
        rows = iter(self._numbers(self.seed))
        return samplers.forward_path(self.image(), self.gamma, self.T, lambda shape: next(rows).reshape(shape))

    def back(self) -> Tensor:
        """PixelAware's way back under the controls, (T + 1, 1, 48, 48): x_0 to x_T.

        Notes
        -----
        Source: PX-8, Algorithm 1; PX-10.
        """
        reading, factor = FORMS[self.form]
        path = self.path()
        wrong = self.error * self._numbers(0).reshape(path.increments.shape)
        scale = image_scale(self.image(), self.gamma)
        return samplers.reverse_path(path.states[-1], scale, path.targets(reading) + wrong, factor=factor)

    def _numbers(self, seed: int) -> Tensor:
        return torch.from_numpy(gaussians(self.T * SIZE**2, seed)).reshape(self.T, -1)

"""A student in training: a U-Net, and what takes its features to the widths of its teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fewsteps.errors import ParameterError
from fewsteps.networks.unet import UNet


class Student(nn.Module):
    """A U-Net with a 1 x 1 convolution per scale, which is thrown away when the student has learned.

    Parameters
    ----------
    network : dict
        Description of the U-Net, as a recipe has it.
    widths : sequence of int
        Channels of the teacher's features at every resolution, the coarsest first.

    Raises
    ------
    ParameterError
        If the student has another number of resolutions.

    Notes
    -----
    Source: SD-6, section 5.2: "A single 1x1 CONV layer is used to align the dimensions".
    """

    def __init__(self, network: dict[str, Any], widths: Sequence[int]) -> None:
        super().__init__()
        described = {key: value for key, value in network.items() if key != "kind"}
        self.network = UNet(**described)
        own = [described.get("width", 64) * factor for factor in reversed(described.get("multipliers", (1, 2, 2)))]
        if len(own) != len(widths):
            raise ParameterError(f"widths must name the teacher's {len(own)} resolutions, not {len(widths)}.")
        self.align = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in zip(own, widths, strict=True))

    def forward(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The prediction, and features of the teacher's widths, as :meth:`fewsteps.networks.UNet.taps` orders them."""
        said, features = self.network.taps(x, times, cond)
        return said, [align(feature) for align, feature in zip(self.align, features, strict=True)]

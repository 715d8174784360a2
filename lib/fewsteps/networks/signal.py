"""The toy's network: two layers, and as many independent copies of them as there are seeds, in one product."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fewsteps.parameters import integer


class SignalNet(nn.Module):
    """Two-layer networks on one-dimensional signals, one per seed, trained side by side.

    Every copy has its own weights and sees its own data; they share only the batched matrix product, which is what
    makes five seeds as quick as one.

    Parameters
    ----------
    length : int
        Samples of the signal.
    width : int
        Hidden units, the paper's M.
    copies : int
        Independent networks.
    times : int
        Features of the time, half of them sines; even.
    generator : torch.Generator, optional
        Of the initial weights.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: SD-2, Example 1.
    """

    pace: Tensor

    def __init__(
        self, length: int, width: int, copies: int = 1, *, times: int = 32, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        for name, value in (("length", length), ("width", width), ("copies", copies)):
            integer(name, value, least=1)
        integer("times", times, least=2)

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) / math.sqrt(shape[1]))

        self.inward, self.inward_bias = (
            normal(copies, length + times, width),
            nn.Parameter(torch.zeros(copies, 1, width)),
        )
        self.outward, self.outward_bias = normal(copies, width, length), nn.Parameter(torch.zeros(copies, 1, length))
        self.register_buffer("pace", torch.exp(torch.linspace(0, math.log(1000), times // 2)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predictions for x of shape (B, copies, length) at times t of shape (B,), from 0 to 1."""
        phase = t[:, None] * self.pace
        features = torch.cat((phase.sin(), phase.cos()), dim=1)[:, None].expand(-1, x.shape[1], -1)
        hidden = torch.baddbmm(self.inward_bias, torch.cat((x, features), dim=2).transpose(0, 1), self.inward)
        return torch.baddbmm(self.outward_bias, nn.functional.silu(hidden), self.outward).transpose(0, 1)

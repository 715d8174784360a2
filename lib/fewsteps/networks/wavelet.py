"""Halving and doubling by wavelets, with or without a gate on every band: Spectral Diffusion's WG-Down and WG-Up."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.parameters import integer
from fewsteps.transforms import haar_dwt2, haar_idwt2

BANDS = 4
NARROWEST = 8  # hidden units of a gate, at least


class Gate(nn.Module):
    """A number between 0 and 1 per band and channel, from the mean of the features over all positions.

    Time reaches it through the features alone. The second layer starts at zero, so that every gate starts at 1/2.

    Parameters
    ----------
    before : int
        Channels that are looked at.
    gated : int
        Channels of one band.

    Notes
    -----
    Source: SD-5, Eq. 8. The paper does not say how wide its FFN is: a quarter of the channels here, at least 8.
    """

    def __init__(self, before: int, gated: int) -> None:
        super().__init__()
        self.first = nn.Linear(before, max(NARROWEST, before // 4))
        self.second = nn.Linear(self.first.out_features, BANDS * gated)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gates of shape (4, B, channels of one band, 1, 1), in the order of :class:`fewsteps.transforms.Haar`."""
        gates = self.second(F.silu(self.first(x.mean((-2, -1))))).sigmoid()
        return gates.unflatten(1, (BANDS, -1)).movedim(1, 0)[..., None, None]


class Fixed(nn.Module):
    """A learned number between 0 and 1 per band and channel that sees no features: what a gate has to beat.

    Parameters
    ----------
    gated : int
        Channels of one band.

    Notes
    -----
    Source: SD-5, the control of Eq. 8.
    """

    def __init__(self, gated: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(BANDS, 1, gated, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Weights of shape (4, 1, channels of one band, 1, 1), 1/2 at first."""
        return self.weight.sigmoid()


class WaveletDown(nn.Module):
    """Half the size, the same channels: the four bands of a Haar transform, weighted and summed.

    Parameters
    ----------
    channels : int
    gated : bool
        Whether the weights are gates of the features; without, they are learned numbers. Either begins at 1/2, and four
        equal bands sum to one pixel of four: what is kept of the others has to be learned.

    Raises
    ------
    ParameterError
        If `channels` is below 1.

    Notes
    -----
    Source: SD-5, section 5.1 and Fig. 5: WG-Down.
    """

    def __init__(self, channels: int, *, gated: bool = True) -> None:
        super().__init__()
        self.outgoing = integer("channels", channels, least=1)
        self.gate = Gate(channels, channels) if gated else Fixed(channels)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, H, W) to (B, C, H/2, W/2).

        Raises
        ------
        ShapeError
            If height or width is odd.
        """
        bands = torch.stack(tuple(haar_dwt2(x)))
        return (bands * self.gate(x)).sum(0)


class WaveletUp(nn.Module):
    """Twice the size, a quarter of the channels: they are taken for the four bands, weighted, and transformed back.

    Parameters
    ----------
    channels : int
        Where they are no multiple of 4, a 1 x 1 convolution adds the few that are missing.
    gated : bool
        As for :class:`WaveletDown`. A weight of 1 gives back what WG-Down's transform took apart, and 1/2 half of it:
        the convolution behind it learns the factor.

    Raises
    ------
    ParameterError
        If `channels` is below 1.

    Notes
    -----
    Source: SD-5, section 5.1 and Fig. 5: WG-Up.
    """

    def __init__(self, channels: int, *, gated: bool = True) -> None:
        super().__init__()
        self.outgoing = -(-integer("channels", channels, least=1) // BANDS)
        whole = BANDS * self.outgoing
        self.fill = nn.Conv2d(channels, whole, 1) if whole != channels else nn.Identity()
        self.gate = Gate(whole, self.outgoing) if gated else Fixed(self.outgoing)

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, H, W) to (B, ceil(C/4), 2 H, 2 W)."""
        x = self.fill(x)
        bands = x.unflatten(1, (BANDS, -1)).movedim(1, 0)
        weighted = bands * self.gate(x)
        return haar_idwt2(cast(tuple[Tensor, Tensor, Tensor, Tensor], weighted.unbind(0)))

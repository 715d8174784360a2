"""PixelAware's reverse network: the noises of all steps in one pass, each from a sub-network of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.networks.unet import GROUP, _Block, _Embedding, _norm
from fewsteps.parameters import integer


class Parallel(nn.Module):
    """A U-Net that is told the step and the image scale at every resolution, and T small networks on its features.

    Parameters
    ----------
    channels : int
        Of the images.
    heads : int
        Sub-networks: T, one for every step; or 1 for a network that says one map.
    masked : bool
        Whether the map of step j is zero where j is beyond the step of the input (M_j). A single map has no step of its
        own and needs False.
    width, multipliers, blocks, attention, patch, size
        Of the backbone, as for :class:`fewsteps.networks.UNet`.
    hidden : int
        Channels of each sub-network.
    attending : bool
        Whether self-attention follows each residual block of the sub-networks, as in the paper; the recipes do without.
        Its weights between all positions are `heads` times as many for every image: 50 sub-networks at 16 x 16
        positions have 3.3 million of them.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    All sub-networks are computed at once by grouped convolutions. Each has two residual blocks, as in the paper, and
    attention only if it is asked for. Step and scale are added to the features at the input of every encoder and
    decoder, and of the sub-networks; inside of the blocks the step steers by scale and shift as well. A sub-network
    sees the noisy image beside the features, through a convolution of its own: the linear regression of its noise on
    the input is within its reach from the start.

    Source: PX-6, Eq. 14, Fig. 4 and Appendix C.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        masked: bool = True,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        attention: Sequence[int] = (1,),
        patch: int = 2,
        size: int | None = None,
        hidden: int = 4,
        attending: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("heads", heads), ("blocks", blocks), ("patch", patch)):
            integer(name, value, least=1)
        integer("hidden", hidden, least=1)
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        if not all(0 <= level < len(multipliers) for level in attention):
            raise ParameterError(f"attention must name resolutions from 0 to {len(multipliers) - 1}, not {attention}.")
        self.channels, self.heads, self.masked = channels, heads, masked
        self.patch, self.size, self.levels = patch, size, len(multipliers)
        widths, features, folded = [width * factor for factor in multipliers], 4 * width, channels * patch**2
        self.embed = _Embedding(features, 0)
        self.inward = nn.Conv2d(folded, width, 3, padding=1)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.fuse_encoders, self.fuse_decoders = nn.ModuleList(), nn.ModuleList()
        kept = [now := width]
        for level, wide in enumerate(widths):
            self.fuse_encoders.append(_Fusion(folded, features, now))
            stage = nn.ModuleList()
            for _ in range(blocks):
                stage.append(_Block(now, wide, features, attention=level in attention))
                kept.append(now := wide)
            if level + 1 < self.levels:
                stage.append(_Block(now, now, features, change="down"))
                kept.append(now)
            self.encoders.append(stage)
        self.middle = nn.ModuleList([_Block(now, now, features, attention=bool(attention)), _Block(now, now, features)])
        for level, wide in reversed(list(enumerate(widths))):
            self.fuse_decoders.append(_Fusion(folded, features, now))
            stage = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.append(_Block(now + kept.pop(), wide, features, attention=level in attention))
                now = wide
            if level:
                stage.append(_Block(now, now, features, change="up"))
            self.decoders.append(stage)
        self.norm = _norm(now)
        self.fuse_heads = _Fusion(folded, features, now)
        self.each = _Heads(heads, now, folded, hidden, attending)

    def forward(self, x: Tensor, times: Tensor, scale: Tensor, chosen: Tensor | None = None) -> Tensor:
        """All maps, (B, n C, H, W): those of step 1 first.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            H and W multiples of ``patch * 2 ** (resolutions - 1)``.
        times : Tensor, shape (B,)
            i / T, in (0, 1].
        scale : Tensor, shape (B, C, H, W)
            The estimated image scale.
        chosen : Tensor of int, shape (n,), optional
            Sub-networks to compute, from 0; default all. Training may leave some out to save memory.

        Raises
        ------
        ShapeError
            If channels or sizes are not what the network was made for.
        """
        self._check(x, scale)
        steer = self.embed(times, None)
        folded, seen = F.pixel_unshuffle(x, self.patch), F.pixel_unshuffle(scale, self.patch)
        scales = [seen]
        for _ in range(1, self.levels):
            scales.append(F.avg_pool2d(scales[-1], 2))
        h = self.inward(folded)
        kept = [h]
        for level, (fuse, stage) in enumerate(zip(self.fuse_encoders, self.encoders, strict=True)):
            h = fuse(h, steer, scales[level])
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, steer)
                kept.append(h)
        for block in self.middle:
            h = block(h, steer)
        for step, (fuse, stage) in enumerate(zip(self.fuse_decoders, self.decoders, strict=True)):
            h = fuse(h, steer, scales[self.levels - 1 - step])
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, steer) if block.change else block(torch.cat((h, kept.pop()), dim=1), steer)
        h = self.fuse_heads(F.silu(self.norm(h)), steer, seen)
        maps = F.pixel_shuffle(self.each(h, folded, chosen), self.patch)
        if not self.masked:
            return maps
        j = torch.arange(1, self.heads + 1, device=x.device) if chosen is None else chosen + 1
        open_ = j <= times[:, None] * self.heads + 0.5  # half a step, as i / T is rounded
        return maps * open_.repeat_interleave(self.channels, 1)[:, :, None, None]

    def _check(self, x: Tensor, scale: Tensor) -> None:
        unit = self.patch * 2 ** (self.levels - 1)
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"x must have the shape (B, {self.channels}, H, W), not {tuple(x.shape)}.")
        if self.size and x.shape[-2:] != (self.size, self.size):
            raise ShapeError(f"x must be {self.size} x {self.size} pixels, not {x.shape[-2]} x {x.shape[-1]}.")
        if x.shape[-2] % unit or x.shape[-1] % unit:
            raise ShapeError(f"height and width must be multiples of {unit}, not {x.shape[-2]} and {x.shape[-1]}.")
        if scale.shape != x.shape:
            raise ShapeError(f"scale must have the shape of x, {tuple(x.shape)}, not {tuple(scale.shape)}.")


class _Fusion(nn.Module):
    """Adds learned mappings of the step (P_k) and of the scale (H_k) to features."""

    def __init__(self, folded: int, features: int, width: int) -> None:
        super().__init__()
        self.step = nn.Linear(features, width)
        self.scale = nn.Sequential(nn.Conv2d(folded, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1))

    def forward(self, h: Tensor, steer: Tensor, scale: Tensor) -> Tensor:
        return h + self.step(steer)[:, :, None, None] + self.scale(scale)  # the embedding ends in a SiLU


class _Heads(nn.Module):
    """Small networks side by side. The first axis of every parameter is the sub-network that it belongs to."""

    def __init__(self, heads: int, width: int, folded: int, hidden: int, attending: bool) -> None:
        super().__init__()
        self.hidden, self.folded, self.attending = hidden, folded, attending

        def weights(*shape: int) -> nn.Parameter:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            return nn.Parameter(torch.empty(heads, *shape).uniform_(-bound, bound))

        self.enter = weights(hidden, width + folded, 1, 1)
        self.gain = nn.ParameterList([nn.Parameter(torch.ones(heads, hidden)) for _ in range(3)])
        self.shift = nn.ParameterList([nn.Parameter(torch.zeros(heads, hidden)) for _ in range(3)])
        self.residual = nn.ParameterList([weights(hidden, hidden, 3, 3) for _ in range(2)])
        self.leave = nn.Parameter(torch.zeros(heads, folded, hidden, 1, 1))
        self.direct = nn.Parameter(torch.zeros(heads, folded, folded, 1, 1))
        self.bias = nn.Parameter(torch.zeros(heads, folded))
        if attending:  # silent at first, as what it adds is projected by zeros
            self.ask = nn.ParameterList([weights(3 * hidden, hidden, 1, 1) for _ in range(2)])
            self.tell = nn.ParameterList([nn.Parameter(torch.zeros(heads, hidden, hidden, 1, 1)) for _ in range(2)])
            self.level = nn.ParameterList([nn.Parameter(torch.ones(heads, hidden)) for _ in range(2)])

    def forward(self, h: Tensor, folded: Tensor, chosen: Tensor | None) -> Tensor:
        def of(weight: Tensor) -> Tensor:
            return (weight if chosen is None else weight[chosen]).flatten(0, 1)

        n = len(self.bias) if chosen is None else len(chosen)
        h = F.conv2d(torch.cat((h, folded), dim=1), of(self.enter))
        for k, (gain, shift, weight) in enumerate(zip(self.gain, self.shift, self.residual, strict=False)):
            h = h + F.conv2d(F.silu(F.group_norm(h, n, of(gain), of(shift))), of(weight), padding=1, groups=n)
            if self.attending:
                asked = F.conv2d(F.group_norm(h, n, of(self.level[k])), of(self.ask[k]), groups=n)
                # Every sub-network is a head of its own: none sees the positions of another.
                query, key, value = asked.unflatten(1, (n, 3, self.hidden)).flatten(4).mT.unbind(2)
                told = F.scaled_dot_product_attention(query, key, value).mT.reshape(h.shape)
                h = h + F.conv2d(told, of(self.tell[k]), groups=n)
        h = F.silu(F.group_norm(h, n, of(self.gain[2]), of(self.shift[2])))
        return F.conv2d(h, of(self.leave), of(self.bias), groups=n) + F.conv2d(folded, of(self.direct))

"""The project's U-Net: residual blocks that the noise level and the class steer, self-attention at the coarse end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.networks.wavelet import WaveletDown, WaveletUp
from fewsteps.parameters import integer

RESAMPLE = ("pool", "haar", "gated")
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
GROUP = 8  # channels that share a mean and a spread


class UNet(nn.Module):
    """A small U-Net in the manner of NCSN++ and EDM.

    Images are folded `patch` x `patch` pixels to channels on the way in and unfolded on the way out, so the finest
    resolution that is computed at is H / patch, at a quarter of the work for a patch of 2.

    Parameters
    ----------
    channels : int
        Of the images.
    width : int
        Channels at the finest resolution; a multiple of 8.
    multipliers : sequence of int
        Channels at each resolution, in units of `width`; every further resolution is half the one before.
    blocks : int
        Residual blocks per resolution.
    attention : sequence of int
        Indices of the resolutions that have self-attention, 0 for the finest.
    patch : int
        Side of the patch that becomes one position.
    classes : int
        Number of classes; 0 for a network that knows none. Class -1 is "any".
    size : int, optional
        Side of the images it was made for; others are refused where given.
    direct : bool
        Whether folded pixels also go straight to the output, through one convolution whose gains the noise level
        steers. Where there is little noise a preconditioned network has to return that noise pixel by pixel, and a
        patch of 4 has 48 numbers, nearly as many as there are channels to carry them.
    finish : int
        Channels of three convolutions at the full resolution, after the patches have been unfolded: a multiple of 8, or
        0 for none. What lies between neighbouring pixels a network of patches has to carry through all its channels;
        these look at the pixels themselves. They take a twentieth of a small network's multiply-adds.
    resample : {"pool", "haar", "gated"}
        How a resolution is left for the next: by the mean of 2 x 2 positions and by repeating each; by a Haar transform
        and its inverse with a learned weight for every band; or with Spectral Diffusion's gates in their place.
    context : int
        Width of the vectors that it is told in place of a class, such as a text encoder's: its attention then looks at
        them too. 0 for a network that hears none.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Every residual branch ends in a layer that starts at zero, and so does the network: at first the prediction is
    0, which is the right answer for a preconditioned network that knows nothing.

    Source: BASE-VE-PC (NCSN++), BASE-HEUN (EDM's network), at the project's own scale; SD-5 for the gates; SD-11 for
    the context.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (1,),
        patch: int = 2,
        classes: int = 0,
        size: int | None = None,
        direct: bool = False,
        resample: str = "pool",
        context: int = 0,
        finish: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("blocks", blocks), ("patch", patch)):
            integer(name, value, least=1)
        integer("classes", classes, least=0)
        if integer("finish", finish, least=0) % GROUP:
            raise ParameterError(f"finish must be a multiple of {GROUP}, or 0 for none, not {finish}.")
        if integer("context", context, least=0) and (classes or not attention):
            raise ParameterError("a network that hears a context needs attention, and no classes beside it.")
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        if not all(0 <= level < len(multipliers) for level in attention):
            raise ParameterError(f"attention must name resolutions from 0 to {len(multipliers) - 1}, not {attention}.")
        if resample not in RESAMPLE:
            raise ParameterError(f"resample must be one of {', '.join(RESAMPLE)}, not {resample!r}.")
        self.channels, self.patch, self.classes, self.size = channels, patch, classes, size
        self.context = context
        self.levels = len(multipliers)
        widths = [width * factor for factor in multipliers]
        features = 4 * width
        self.embed = _Embedding(features, classes)
        folded = channels * patch**2
        self.inward = nn.Conv2d(folded, width, 3, padding=1)
        self.direct = nn.Conv2d(folded, folded, 3, padding=1) if direct else None
        self.gain = _zero(nn.Linear(features, folded)) if direct else None

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept = [now := width]
        for level, wide in enumerate(widths):
            for _ in range(blocks):
                self.down.append(_Block(now, wide, features, attention=level in attention, context=context))
                kept.append(now := wide)
            if level + 1 < self.levels:
                self.down.append(_Block(now, now, features, change="down", resample=resample))
                kept.append(now)
        self.middle = nn.ModuleList(
            [_Block(now, now, features, attention=bool(attention), context=context), _Block(now, now, features)]
        )
        for level, wide in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                attended = level in attention
                self.up.append(_Block(now + kept.pop(), wide, features, attention=attended, context=context))
                now = wide
            if level:
                self.up.append(_Block(now, now, features, change="up", resample=resample))
        self.finish = _Finish(channels, finish, features) if finish else None
        self.norm = _norm(now)
        self.outward = _zero(nn.Conv2d(now, folded, 3, padding=1))

    def forward(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> Tensor:
        """Prediction, of the shape of `x`.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            H and W multiples of ``patch * 2 ** (resolutions - 1)``.
        times : Tensor, shape (B,)
            The noise level on a scale on which the whole range is a few units, log(sigma) / 4 for EDM.
        cond : Tensor, shape (B,) or (B, L, D), optional
            Whole-number classes, -1 for any; or, where the network hears a context, L vectors of its width, of which
            zeros say nothing. Without it, any or nothing.

        Raises
        ------
        ShapeError
            If channels, sizes or classes are not what the network was made for.
        """
        return self.taps(x, times, cond)[0]

    def taps(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The prediction, and the last features at each resolution on the way up, the coarsest first.

        Parameters
        ----------
        x, times, cond
            As for :meth:`forward`.

        Returns
        -------
        (Tensor, list of Tensor)
            Features of the shape (B, width at that resolution, h, w).

        Raises
        ------
        ShapeError
            If channels, sizes or classes are not what the network was made for.

        Notes
        -----
        Source: SD-6, section 5.2: what a teacher and a student are compared by.
        """
        self._check(x, cond)
        told = None
        if self.context:
            told, cond = x.new_zeros(len(x), 1, self.context) if cond is None else cond, None
        return self.steered(x, self.embed(times, cond), told)

    def steered(self, x: Tensor, steer: Tensor, told: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`taps`, by vectors that somebody else has made of the time and whatever counts besides.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
        steer : Tensor, shape (B, 4 * width)
            What sets scales and shifts of every block.
        told : Tensor, shape (B, L, context), optional
            For networks that hear a context.

        Notes
        -----
        Source: PD-3 (AdaGN by time and latent vector).
        """
        folded = F.pixel_unshuffle(x, self.patch)
        h = self.inward(folded)
        kept = [h]
        for block in self.down:
            h = block(h, steer, told)
            kept.append(h)
        for block in self.middle:
            h = block(h, steer, told)
        features = []
        for block in self.up:
            if block.change:
                features.append(h)
                h = block(h, steer)
            else:
                h = block(torch.cat((h, kept.pop()), dim=1), steer, told)
        features.append(h)
        h = self.outward(F.silu(self.norm(h)))
        if self.direct is not None and self.gain is not None:
            h = h + self.gain(steer)[:, :, None, None] * self.direct(folded)
        h = F.pixel_shuffle(h, self.patch)
        return h if self.finish is None else self.finish(x, h, steer), features

    def _check(self, x: Tensor, cond: Tensor | None) -> None:
        unit = self.patch * 2 ** (self.levels - 1)
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"x must have the shape (B, {self.channels}, H, W), not {tuple(x.shape)}.")
        if self.size and x.shape[-2:] != (self.size, self.size):
            raise ShapeError(f"x must be {self.size} x {self.size} pixels, not {x.shape[-2]} x {x.shape[-1]}.")
        if x.shape[-2] % unit or x.shape[-1] % unit:
            raise ShapeError(f"height and width must be multiples of {unit}, not {x.shape[-2]} and {x.shape[-1]}.")
        if cond is not None and self.context:
            if cond.ndim != 3 or len(cond) != len(x) or cond.shape[-1] != self.context or not cond.is_floating_point():
                raise ShapeError(
                    f"cond must hold vectors of width {self.context} for every image, ({len(x)}, L, {self.context}), "
                    f"not {tuple(cond.shape)}."
                )
            return
        if cond is not None and not self.classes:
            raise ShapeError("this network knows no classes: leave cond out.")
        if cond is not None and (cond.shape != x.shape[:1] or cond.is_floating_point()):
            raise ShapeError(f"cond must hold one whole-number class per image, {len(x)}, not {tuple(cond.shape)}.")


class _Embedding(nn.Module):
    """What steers the blocks: sines of the noise level, plus a vector per class."""

    pace: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        # Wavelengths from ten units, longer than the whole range, down to a tenth of one.
        self.register_buffer("pace", 2 * math.pi * torch.logspace(-1, 1, features // 8), persistent=False)
        self.first = nn.Linear(2 * (features // 8), features)
        self.second = nn.Linear(features, features)
        self.classes = nn.Embedding(classes + 1, features) if classes else None
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    def forward(self, times: Tensor, cond: Tensor | None) -> Tensor:
        phase = times[:, None] * self.pace
        h = F.silu(self.first(torch.cat((phase.sin(), phase.cos()), dim=1)))
        h = self.second(h)
        if self.classes is not None:
            any_class = self.classes.num_embeddings - 1
            index = torch.full_like(times, any_class, dtype=torch.long) if cond is None else cond
            h = h + self.classes(torch.where(index < 0, any_class, index))
        return F.silu(h)


class _Block(nn.Module):
    """Two convolutions around a residual, steered by scale and shift; perhaps half or double the size; attention."""

    def __init__(
        self,
        before: int,
        after: int,
        features: int,
        *,
        change: str | None = None,
        resample: str = "pool",
        attention: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.change = change
        self.wavelet: WaveletDown | WaveletUp | None = None
        if change and resample != "pool":
            self.wavelet = (WaveletDown if change == "down" else WaveletUp)(before, gated=resample == "gated")
            before = self.wavelet.outgoing
        self.norm = _norm(before)
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.steer = nn.Linear(features, 2 * after)
        self.norm_steered = _norm(after, affine=False)
        self.second = _zero(nn.Conv2d(after, after, 3, padding=1))
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        self.attend = _Attention(after) if attention else None
        self.listen = _Listening(after, context) if attention and context else None

    def forward(self, x: Tensor, steer: Tensor, told: Tensor | None = None) -> Tensor:
        if self.wavelet is not None:  # a layer of its own, as the paper has it
            x = self.wavelet(x)
        h = F.silu(self.norm(x))
        if self.wavelet is None:
            h, x = self._resize(h), self._resize(x)
        h = self.first(h)
        scale, shift = self.steer(steer)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm_steered(h) * (1 + scale) + shift)
        h = self.skip(x) + self.second(h)
        h = h if self.attend is None else self.attend(h)
        return h if self.listen is None or told is None else self.listen(h, told)

    def _resize(self, x: Tensor) -> Tensor:
        if self.change == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.change == "up" else x


class _Finish(nn.Module):
    """What is added to a prediction pixel by pixel, from the noisy image and what was made of it in patches."""

    def __init__(self, channels: int, width: int, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.steer = nn.Linear(features, 2 * width)
        self.norm = _norm(width, affine=False)
        self.last = _zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor, said: Tensor, steer: Tensor) -> Tensor:
        h = self.second(F.silu(self.first(torch.cat((x, said), dim=1))))
        scale, shift = self.steer(steer)[:, :, None, None].chunk(2, dim=1)
        return said + self.last(F.silu(self.norm(h) * (1 + scale) + shift))


class _Attention(nn.Module):
    """Self-attention over positions, heads of 32 channels where they fit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // 32) if width % 32 == 0 else 1
        self.norm = _norm(width)
        self.inward = nn.Conv2d(width, 3 * width, 1)
        self.outward = _zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        queries, keys, values = (
            self.inward(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)
        )
        h = F.scaled_dot_product_attention(queries, keys, values)
        return x + self.outward(h.transpose(-1, -2).reshape(shape))


class _Listening(nn.Module):
    """Attention of positions to what is told. Vectors of zeros are not there; where all are zeros, nothing is said."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.heads = max(1, width // 32) if width % 32 == 0 else 1
        self.norm = _norm(width)
        self.asking = nn.Conv2d(width, width, 1)
        self.told = nn.Linear(context, 2 * width, bias=False)
        self.outward = _zero(nn.Conv2d(width, width, 1, bias=False))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        queries = self.asking(self.norm(x)).flatten(2).unflatten(1, (self.heads, -1)).transpose(-1, -2)
        keys, values = self.told(told).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        there = (told != 0).any(-1)
        # With nothing there all is looked at, and has no value: the projections have no biases.
        there = there | ~there.any(-1, keepdim=True)
        h = F.scaled_dot_product_attention(queries, keys, values, attn_mask=there[:, None, None])
        return x + self.outward(h.transpose(-1, -2).reshape(x.shape))


def _norm(width: int, *, affine: bool = True) -> nn.GroupNorm:
    # A quarter of the channels, behind a wavelet, may be no multiple of a group.
    return nn.GroupNorm(math.gcd(width, max(1, width // GROUP)), width, affine=affine)


def _zero(layer: Layer) -> Layer:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

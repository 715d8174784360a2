"""The networks of NCSN and NCSNv2: a RefineNet whose normalisation keeps what instance normalisation throws away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number


class _RefineNet(nn.Module):
    """Four stages of residual blocks, at full and thrice at half resolution, the last two dilated; refined backwards.

    Every normalisation takes scale, weight of the means and shift from row `level` of a table.
    """

    def __init__(self, channels: int, width: int, patch: int, levels: int) -> None:
        super().__init__()
        integer("channels", channels, least=1)
        integer("width", width, least=2)
        integer("patch", patch, least=1)
        self.channels, self.patch = channels, patch
        wide = 2 * width
        self.inward = _conv(channels * patch**2, width)
        self.blocks = nn.ModuleList([_Block(width, width, levels), _Block(width, width, levels)])  # two per stage
        self.blocks.extend([_Block(width, wide, levels, down=True), _Block(wide, wide, levels)])
        for dilation in (2, 4):
            self.blocks.append(_Block(wide, wide, levels, dilation=dilation, enter=True))
            self.blocks.append(_Block(wide, wide, levels, dilation=dilation))
        self.refine = nn.ModuleList([_Refine([wide], wide, levels), _Refine([wide, wide], wide, levels)])
        self.refine.append(_Refine([wide, wide], width, levels))
        self.refine.append(_Refine([width, width], width, levels, units=3))
        self.norm = _Norm(width, levels)
        self.outward = _conv(width, channels * patch**2)

    def through(self, x: Tensor, sigma: Tensor, level: Tensor, cond: Tensor | None) -> Tensor:
        """From images in [0, 1] to a float32 output of their shape, with row `level` of every table."""
        self._check(x, sigma, cond)
        # The first and the last convolution stay in single precision under autocast: half would round away a part of
        # the smallest noise, and of the score that answers it.
        with torch.autocast(x.device.type, enabled=False):
            h = self.inward(F.pixel_unshuffle(2 * x - 1, self.patch))
        kept = []
        for place, block in enumerate(self.blocks):
            h = block(h, level)
            if place % 2:
                kept.append(h)
        refined: list[Tensor] = []
        for refine in self.refine:
            refined = [refine([kept.pop(), *refined], level)]
        h = F.elu(self.norm(refined[0], level))
        with torch.autocast(x.device.type, enabled=False):
            return F.pixel_shuffle(self.outward(h.to(x.dtype)), self.patch)

    def _check(self, x: Tensor, sigma: Tensor, cond: Tensor | None) -> None:
        unit = 2 * self.patch
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"x must have the shape (B, {self.channels}, H, W), not {tuple(x.shape)}.")
        if x.shape[-2] % unit or x.shape[-1] % unit:
            raise ShapeError(f"height and width must be multiples of {unit}, not {x.shape[-2]} and {x.shape[-1]}.")
        if sigma.shape != x.shape[:1]:
            raise ShapeError(f"sigma must hold one noise level per image, ({len(x)},), not {tuple(sigma.shape)}.")
        if cond is not None:
            raise ShapeError("this network knows no classes: leave cond out.")


class NCSN(_RefineNet):
    """Noise-conditional score network: the output is the score, and only the normalisation knows the noise level.

    Parameters
    ----------
    channels : int
        Of the images.
    sigmas : sequence of float
        The noise levels it is trained at.
    width : int
        Channels at the finest resolution, half of those at the other; 128 in the paper.
    patch : int
        Side of the patch that becomes one position. Folding pixels to channels, a quarter of the work at 2, is the
        one deviation from the paper's form, which is `patch` 1.

    Raises
    ------
    ParameterError
        If there is no level, one is not above 0, or a number is out of range.

    Notes
    -----
    A score is about 1 / sigma, and only the normalisation tells levels apart. So the scales of the last one begin at
    1 / sigma. From the paper's 1 they move by a learning rate per step: after 300 steps the scores at sigma = 0.01
    had a twentieth of the right size. What the network can represent is the same.

    Source: BASE-NCSN (Song & Ermon 2019, appendix A).
    """

    log_sigmas: Tensor

    def __init__(self, channels: int, sigmas: Sequence[float], *, width: int = 32, patch: int = 2) -> None:
        if not len(sigmas):
            raise ParameterError("sigmas must be at least one noise level above 0, not none.")
        levels = torch.tensor([number("every one of sigmas", sigma, above=0) for sigma in sigmas])
        super().__init__(channels, width, patch, len(sigmas))
        self.register_buffer("log_sigmas", levels.log(), persistent=False)
        with torch.no_grad():
            self.norm.table.weight[:, :width] /= levels[:, None]

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """Score at the trained level whose logarithm is nearest, of the shape of `x`.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Noisy images, the clean ones in [0, 1]; H and W multiples of ``2 * patch``.
        sigma : Tensor, shape (B,)
            Standard deviation of the noise, above 0.
        cond : None
            There are no classes.

        Raises
        ------
        ShapeError
            If channels or sizes are not what the network was made for, or a class is given.
        """
        level = (sigma.log()[..., None] - self.log_sigmas).abs().argmin(-1)
        return self.through(x, sigma, level, cond)


class NCSNv2(_RefineNet):
    """NCSNv2's network: it knows no noise level, and its output is divided by sigma.

    Parameters
    ----------
    channels, width, patch
        As for `NCSN`.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: BASE-NCSNv2 (Song & Ermon 2020, section 3.3, Technique 3).
    """

    def __init__(self, channels: int, *, width: int = 32, patch: int = 2) -> None:
        super().__init__(channels, width, patch, 1)

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """Score at any noise level, of the shape of `x`; arguments and errors as for `NCSN`."""
        level = torch.zeros_like(sigma, dtype=torch.long)
        return self.through(x, sigma, level, cond) / sigma[:, None, None, None]


class _Norm(nn.Module):
    """InstanceNorm++: channels standardised per image, plus their means standardised across the channels."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(levels, 3 * width)
        with torch.no_grad():
            self.table.weight[:, : 2 * width].normal_(1, 0.02)
            self.table.weight[:, 2 * width :].zero_()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, weight, shift = self.table(level).chunk(3, dim=1)
        means = x.mean((2, 3)).float()
        across, mean = torch.var_mean(means, 1, keepdim=True)
        shift = shift + scale * weight * (means - mean) * (across + 1e-5).rsqrt()
        # Images become channels, as that normalises, scales and shifts each by its own numbers in one pass.
        one = x.reshape(1, -1, *x.shape[2:])
        return F.group_norm(one, one.shape[1], scale.flatten(), shift.flatten()).view(x.shape)


class _Block(nn.Module):
    """Two convolutions around a residual, each after a normalisation; perhaps half the size, or dilated."""

    def __init__(
        self, before: int, after: int, levels: int, *, dilation: int = 1, down: bool = False, enter: bool = False
    ) -> None:
        super().__init__()
        self.down = down
        self.norms = nn.ModuleList([_Norm(before, levels), _Norm(before if down else after, levels)])
        self.first = _conv(before, before if down else after, dilation)
        self.second = _conv(before if down else after, after, dilation)
        # The first block of a dilated stage has a dilated convolution beside it although its width stays.
        self.skip = nn.Conv2d(before, after, 1) if down else _conv(before, after, dilation) if enter else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = self.first(F.elu(self.norms[0](x, level)))
        h = self.second(F.elu(self.norms[1](h, level)))
        return self.skip(F.avg_pool2d(x, 2)) + F.avg_pool2d(h, 2) if self.down else self.skip(x) + h


class _Units(nn.Module):
    """Residual convolution units: normalise, activate, convolve, twice around each residual."""

    def __init__(self, width: int, units: int, levels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_Norm(width, levels) for _ in range(2 * units)])
        self.convs = nn.ModuleList([_conv(width, width, bias=False) for _ in range(2 * units)])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = x
        for place, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = conv(F.elu(norm(h, level)))
            if place % 2:
                h = x = x + h
        return h


class _Refine(nn.Module):
    """A refinement block: adapt a stage and what was refined before, fuse them at the finer size, pool in a chain."""

    def __init__(self, inputs: Sequence[int], width: int, levels: int, *, units: int = 1) -> None:
        super().__init__()
        self.adapt = nn.ModuleList([_Units(before, 2, levels) for before in inputs])
        fused = inputs if len(inputs) > 1 else []
        self.fuse_norms = nn.ModuleList([_Norm(before, levels) for before in fused])
        self.fuse = nn.ModuleList([_conv(before, width) for before in fused])
        self.pool_norms = nn.ModuleList([_Norm(width, levels) for _ in range(2)])
        self.pool = nn.ModuleList([_conv(width, width, bias=False) for _ in range(2)])
        self.end = _Units(width, units, levels)

    def forward(self, inputs: Sequence[Tensor], level: Tensor) -> Tensor:
        paths = [adapt(x, level) for adapt, x in zip(self.adapt, inputs, strict=True)]
        size = paths[0].shape[-2:]
        if self.fuse:
            paths = [conv(norm(h, level)) for conv, norm, h in zip(self.fuse, self.fuse_norms, paths, strict=True)]
            finer = [F.interpolate(h, size, mode="bilinear", align_corners=True) for h in paths[1:]]
            paths = [sum(finer, start=paths[0])]
        h = path = F.elu(paths[0])
        for norm, conv in zip(self.pool_norms, self.pool, strict=True):
            path = conv(_pooled(norm(path, level)))
            h = h + path
        return self.end(h, level)


def _pooled(x: Tensor) -> Tensor:
    """``avg_pool2d(x, 5, stride=1, padding=2)`` as two products with a band of fifths: a tenth of the time on a CPU."""
    rows, columns = (torch.ones(n, n, dtype=x.dtype, device=x.device).tril(2).triu(-2) / 5 for n in x.shape[-2:])
    return rows @ x @ columns


def _conv(before: int, after: int, dilation: int = 1, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=bias)

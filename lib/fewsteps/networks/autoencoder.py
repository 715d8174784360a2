"""A KL autoencoder: images to a few channels at a fraction of the size, and back."""

from __future__ import annotations

from torch import Tensor, nn

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer

GROUP = 8
ENDS = (-30.0, 20.0)  # of the logarithm of a latent's variance


class Autoencoder(nn.Module):
    """Convolutions that halve the size until one position stands for `factor` squared pixels, and their mirror image.

    Parameters
    ----------
    channels : int
        Of the images.
    latent : int
        Channels of a latent.
    width : int
        Channels at full resolution, a multiple of 8; doubled with every halving, up to four times as many.
    factor : int
        Pixels along a side of what one position stands for, a power of 2.
    blocks : int
        Residual blocks per resolution.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: BASE-LDM (Rombach et al. 2022, the KL-regularised first stage), at the project's own scale.
    """

    def __init__(self, channels: int, *, latent: int = 4, width: int = 32, factor: int = 4, blocks: int = 1) -> None:
        super().__init__()
        integer("channels", channels, least=1)
        integer("latent", latent, least=1)
        integer("blocks", blocks, least=1)
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        if integer("factor", factor, least=2) & (factor - 1):
            raise ParameterError(f"factor must be a power of 2, not {factor}.")
        self.channels, self.latent, self.factor = channels, latent, factor
        halvings = factor.bit_length() - 1
        widths = [width * min(2**level, 4) for level in range(halvings + 1)]

        inward: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
        outward: list[nn.Module] = [nn.Conv2d(latent, widths[-1], 3, padding=1)]
        for level, wide in enumerate(widths):
            inward += [_Residual(wide) for _ in range(blocks)]
            if level < halvings:
                inward.append(nn.Conv2d(wide, widths[level + 1], 3, stride=2, padding=1))
        for level, wide in reversed(list(enumerate(widths))):
            outward += [_Residual(wide) for _ in range(blocks)]
            if level:
                outward += [
                    nn.Upsample(scale_factor=2.0, mode="nearest"),
                    nn.Conv2d(wide, widths[level - 1], 3, padding=1),
                ]
        self.inward = nn.Sequential(*inward, *_end(widths[-1], 2 * latent))
        self.outward = nn.Sequential(*outward, *_end(width, channels))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents, each (B, latent, H/factor, W/factor).

        Parameters
        ----------
        images : Tensor, shape (B, C, H, W)
            In [0, 1].

        Raises
        ------
        ShapeError
            If the channels are others, or `factor` does not divide the size.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ShapeError(f"images must have the shape (B, {self.channels}, H, W), not {tuple(images.shape)}.")
        if images.shape[-2] % self.factor or images.shape[-1] % self.factor:
            raise ShapeError(
                f"height and width must be multiples of {self.factor}, not {images.shape[-2]} and {images.shape[-1]}."
            )
        mean, log_variance = self.inward(2 * images - 1).chunk(2, dim=1)
        return mean, (log_variance.clamp(*ENDS) / 2).exp()

    def decode(self, latents: Tensor) -> Tensor:
        """Images, near [0, 1] and not cut to it, (B, C, H, W).

        Raises
        ------
        ShapeError
            If the latents have other channels.
        """
        if latents.ndim != 4 or latents.shape[1] != self.latent:
            raise ShapeError(f"latents must have the shape (B, {self.latent}, h, w), not {tuple(latents.shape)}.")
        return (self.outward(latents) + 1) / 2

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The image of one draw of the latents, with their mean and standard deviation."""
        mean, std = self.encode(images)
        return self.decode(mean + std * noise), mean, std


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_end(width, width), *_end(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _end(before: int, after: int) -> list[nn.Module]:
    return [nn.GroupNorm(before // GROUP, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)]

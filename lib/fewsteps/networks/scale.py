"""PixelAware's scale estimator: a variational autoencoder that sees a noisy image and its step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.networks.unet import GROUP, _Block, _Embedding, _norm, _zero
from fewsteps.parameters import integer

COARSE = 4  # positions along a side of what is flattened
ENDS = (-10.0, 10.0)  # of the logarithm of a latent's variance
OUTPUTS = ("sigmoid", "linear")


class ScaleVAE(nn.Module):
    """From a noisy image and its step to a map of the image's size, through one vector.

    Residual blocks that the step steers halve the image down to 4 x 4 positions, which are flattened and projected to a
    vector of mean and spread; their mirror image makes a map of a draw. There are no connections around the vector, so
    what comes out has passed it.

    Parameters
    ----------
    channels : int
        Of the images.
    size : int
        Side of the images.
    width : int
        Channels at the finest resolution, a multiple of 8.
    multipliers : sequence of int
        Channels at each resolution, in units of `width`; the last is at 4 x 4 positions.
    patch : int
        Side of the patch that becomes one position.
    kept : int
        Channels at 4 x 4 positions that are flattened.
    latent : int
        Numbers in the vector; the paper projects to more than were flattened, 16 `kept`.
    output : {"sigmoid", "linear"}
        Whether the map is kept in (0, 1), as an image scale is, or free, as its logarithm is.

    Raises
    ------
    ParameterError
        If a number is out of range, or the last resolution is not 4 x 4.

    Notes
    -----
    Source: PX-5, section 3.2.3 and Appendix C; PX-10, Appendix F (the same network, told to give the image).
    """

    def __init__(
        self,
        channels: int,
        *,
        size: int = 32,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 3),
        patch: int = 2,
        kept: int = 8,
        latent: int = 256,
        output: str = "sigmoid",
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("patch", patch), ("kept", kept), ("latent", latent)):
            integer(name, value, least=1)
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        if output not in OUTPUTS:
            raise ParameterError(f"output must be one of {', '.join(OUTPUTS)}, not {output!r}.")
        wanted = COARSE * patch * 2 ** (len(multipliers) - 1)
        if size != wanted:
            raise ParameterError(
                f"size must be {wanted} for {len(multipliers)} resolutions and a patch of {patch}, so that the last is "
                f"{COARSE} x {COARSE}, not {size!r}."
            )
        self.channels, self.size, self.patch, self.kept = channels, size, patch, kept
        self.latent, self.output = latent, output
        widths, features = [width * factor for factor in multipliers], 4 * width
        folded = channels * patch**2
        self.embed = _Embedding(features, 0)
        self.inward = nn.Conv2d(folded, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now = width
        for level, wide in enumerate(widths):
            if level:
                self.down.append(_Block(now, now, features, change="down"))
            self.down.append(_Block(now, wide, features))
            now = wide
        self.flatten = nn.Sequential(_norm(now), nn.SiLU(), nn.Conv2d(now, kept, 1))
        self.mean_and_spread = nn.Linear(kept * COARSE**2, 2 * latent)
        self.spread_out = nn.Linear(latent, kept * COARSE**2)
        self.widen = nn.Conv2d(kept, now, 3, padding=1)
        for level, wide in reversed(list(enumerate(widths))):
            self.up.append(_Block(now, wide, features))
            now = wide
            if level:
                self.up.append(_Block(now, now, features, change="up"))
        self.outward = nn.Sequential(_norm(now), nn.SiLU(), _zero(nn.Conv2d(now, folded, 3, padding=1)))

    def encode(self, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the vector, each (B, latent).

        Parameters
        ----------
        x : Tensor, shape (B, C, size, size)
            Noisy images, as they are.
        times : Tensor, shape (B,)
            i / T, in (0, 1].

        Raises
        ------
        ShapeError
            If the images have another shape.
        """
        if x.ndim != 4 or x.shape[1:] != (self.channels, self.size, self.size):
            raise ShapeError(
                f"x must have the shape (B, {self.channels}, {self.size}, {self.size}), not {tuple(x.shape)}."
            )
        steer = self.embed(times, None)
        h = self.inward(F.pixel_unshuffle(x, self.patch))
        for block in self.down:
            h = block(h, steer)
        mean, log_variance = self.mean_and_spread(self.flatten(h).flatten(1)).chunk(2, dim=1)
        return mean, (log_variance.clamp(*ENDS) / 2).exp()

    def decode(self, latents: Tensor, times: Tensor) -> Tensor:
        """The map of a vector, (B, C, size, size).

        Raises
        ------
        ShapeError
            If the vectors have another length.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent:
            raise ShapeError(f"latents must have the shape (B, {self.latent}), not {tuple(latents.shape)}.")
        steer = self.embed(times, None)
        h = self.widen(self.spread_out(latents).unflatten(1, (self.kept, COARSE, COARSE)))
        for block in self.up:
            h = block(h, steer)
        h = F.pixel_shuffle(self.outward(h), self.patch)
        return torch.sigmoid(h) if self.output == "sigmoid" else h

    def forward(self, x: Tensor, times: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The map of one draw of the vector, of its mean without `noise`; with the mean and the standard deviation."""
        mean, std = self.encode(x, times)
        return self.decode(mean if noise is None else mean + std * noise, times), mean, std

"""Denoising diffusion GANs: generator, time-conditioned discriminator, semantic encoder, and a prior of its vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.networks.unet import GROUP, UNet, _Embedding
from fewsteps.parameters import integer
from fewsteps.shapes import require_vectors

SLOPE = 0.2  # of the leaky rectifiers
PER_GROUP = 4  # images whose spread a discriminator sees together


class Generator(nn.Module):
    """A U-Net that draws a clean image given a noisy one: what it draws depends on a latent vector.

    The latent vector is made of unit mean square, goes through a mapping network, and steers together with the time
    the scales and shifts of every block (AdaGN). Whether it is white noise or what a semantic encoder saw in an image,
    it enters at the same place.

    Parameters
    ----------
    channels : int
    latent : int
        Width of the latent vector.
    depth : int
        Layers of the mapping network.
    **network
        As for :class:`fewsteps.networks.UNet`.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: PD-3, BASE-DDGAN (Xiao et al. 2022, section 4 and appendix C), at the project's own scale.
    """

    def __init__(
        self,
        channels: int,
        *,
        latent: int = 64,
        depth: int = 3,
        size: int | None = None,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        attention: Sequence[int] = (1,),
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.latent = integer("latent", latent, least=1)
        integer("depth", depth, least=1)
        self.body = UNet(
            channels,
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            patch=patch,
            size=size,
        )
        features = 4 * width
        layers: list[nn.Module] = []
        for layer in range(depth):
            layers += [nn.Linear(latent if not layer else features, features), nn.SiLU()]
        self.mapping = nn.Sequential(*layers)
        # Joined before a nonlinearity: a sum would give every latent vector the same effect at all times.
        self.join = nn.Linear(2 * features, features)

    def forward(self, x: Tensor, times: Tensor, z: Tensor) -> Tensor:
        """A clean image in [-1, 1], of the shape of `x`.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
        times : Tensor, shape (B,)
            As for :meth:`fewsteps.networks.UNet.forward`.
        z : Tensor, shape (B, latent)

        Raises
        ------
        ShapeError
            If an image has another size or a latent vector another width than it was made for.
        """
        require_vectors("z", z, len(x), self.latent)
        self.body._check(x, None)
        return self.unchecked(x, times, z)

    def unchecked(self, x: Tensor, times: Tensor, z: Tensor) -> Tensor:
        """:meth:`forward` without a look at the shapes, which would fix the batch of an exported graph."""
        steer = F.silu(self.join(torch.cat((self.body.embed(times, None), self.mapping(unit(z))), dim=1)))
        return torch.tanh(self.body.steered(x, steer)[0])


class Discriminator(nn.Module):
    """Whether a less noisy image goes with a noisier one: convolutions on both, told the time.

    Parameters
    ----------
    channels : int
        Of one image.
    width : int
        Channels at the finest resolution, a multiple of 8.
    multipliers : sequence of int
        Channels at each resolution, in units of `width`.
    patch : int
        Side of the patch that becomes one position.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    The paper's section 5.1 calls it time-independent and its Eq. 6 gives it the time; here it gets it. The spread
    within groups of four images is one more feature, so that a generator that always draws the same is seen.

    Source: PD-3, Eq. 6; BASE-DDGAN.
    """

    def __init__(
        self, channels: int, *, width: int = 32, multipliers: Sequence[int] = (1, 2, 4), patch: int = 2
    ) -> None:
        super().__init__()
        self.channels = integer("channels", channels, least=1)
        features = 4 * width
        self.trunk = _Trunk(2 * channels, width, multipliers, patch, features)
        self.embed = _Embedding(features, 0)
        now = width * multipliers[-1]
        self.last = nn.Conv2d(now + 1, now, 3, padding=1)
        self.outward = nn.Linear(now, 1)

    def forward(self, x_s: Tensor, x_t: Tensor, times: Tensor) -> Tensor:
        """Logits, (B,): positive where the pair looks real.

        Parameters
        ----------
        x_s, x_t : Tensor, shape (B, C, H, W)
            The less noisy image and the noisier one.
        times : Tensor, shape (B,)
            Of the noisier one.

        Raises
        ------
        ShapeError
            If the two differ, or B is no multiple of 4.
        """
        if x_s.shape != x_t.shape or x_s.ndim != 4 or x_s.shape[1] != self.channels:
            raise ShapeError(
                f"x_s and x_t must both have the shape (B, {self.channels}, H, W), not {tuple(x_s.shape)} and "
                f"{tuple(x_t.shape)}."
            )
        h = self.trunk(torch.cat((x_s, x_t), dim=1), self.embed(times, None))
        h = F.leaky_relu(self.last(torch.cat((h, group_spread(h)), dim=1)), SLOPE)
        return self.outward(h.sum((2, 3)))[:, 0]


class SemanticEncoder(nn.Module):
    """From an image to the vector z_T that says what is on it.

    Vectors have unit mean square, as the generator makes them so in any case: nothing is lost, and their size is
    settled. It keeps the first two moments of what it says of training images, from which :meth:`normalise` and
    :meth:`gaussian` come; :meth:`measure` takes them, of the averaged weights whenever a checkpoint is written.

    Parameters
    ----------
    channels : int
    size : int
        Side of the images.
    latent : int
        Width of a vector.
    width, multipliers, patch
        As for :class:`Discriminator`.

    Raises
    ------
    ParameterError
        If a number is out of range, or the size does not fit the resolutions.

    Notes
    -----
    Source: PD-3, BASE-DIFFAE (which calls the normalisation of its vectors crucial for the prior).
    """

    centre: Tensor
    """Mean of the vectors of training images, (latent,)."""
    covariance: Tensor
    """Of these vectors, (latent, latent): about the mean, for about 0 it would be lost in half precision."""

    def __init__(
        self,
        channels: int,
        *,
        size: int,
        latent: int = 64,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 4),
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.channels, self.size = channels, integer("size", size, least=1)
        self.latent = integer("latent", latent, least=2)
        unit_of_size = patch * 2 ** (len(multipliers) - 1)
        side, rest = divmod(size, unit_of_size)
        if rest:
            raise ParameterError(f"size must be a multiple of {unit_of_size}, not {size}.")
        self.trunk = _Trunk(channels, width, multipliers, patch, 0)
        self.outward = nn.Linear(width * multipliers[-1] * side**2, latent)
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("covariance", torch.eye(latent))

    def forward(self, images: Tensor) -> Tensor:
        """z_T, (B, latent).

        Parameters
        ----------
        images : Tensor, shape (B, C, size, size)
            In [-1, 1].

        Raises
        ------
        ShapeError
            If the images have other channels or another size.
        """
        wanted = (self.channels, self.size, self.size)
        if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
            raise ShapeError(f"images must have the shape (B, {', '.join(map(str, wanted))}), not {_s(images)}.")
        return unit(self.outward(F.leaky_relu(self.trunk(images, None), SLOPE).flatten(1)))

    @torch.no_grad()
    def measure(self, images: Tensor) -> None:
        """Take the moments of the vectors of these images, shaped as for :meth:`forward`."""
        z = torch.cat([self(part) for part in images.split(256)])
        self.centre.copy_(z.mean(0))
        self.covariance.copy_(z.mT.cov(correction=0))

    @property
    def spread(self) -> Tensor:
        """Standard deviation of every entry, (latent,)."""
        return self.covariance.diagonal().clamp(min=1e-6).sqrt()

    def normalise(self, z: Tensor) -> Tensor:
        """Vectors (B, latent) with every entry of mean 0 and variance 1 over the training images."""
        return (z - self.centre) / self.spread

    def denormalise(self, z: Tensor) -> Tensor:
        """What :meth:`normalise` takes away, put back."""
        return self.centre + self.spread * z

    def gaussian(self, noise: Tensor) -> Tensor:
        """Vectors of the Gaussian law with the moments of the training images, from white noise (B, latent).

        Notes
        -----
        Source: PD-6, the baseline that costs no network call.
        """
        values, vectors = torch.linalg.eigh(self.covariance.double())
        # Rounding of the moments may leave a smallest eigenvalue below 0.
        root = vectors * values.clamp(min=0).sqrt()
        return self.centre + noise @ root.mT.to(noise)


class LatentPrior(nn.Module):
    """A network of vectors for a diffusion model of them: every layer sees the vector anew, and the noise level.

    Parameters
    ----------
    channels : int
        Width of a vector.
    width : int
        Of the layers.
    depth : int
        Layers.
    size : int
        1: a vector is an image of one pixel to everything that trains and samples.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: PD-6; BASE-DIFFAE (10 layers of 2048 with skips), at the project's own scale.
    """

    def __init__(self, channels: int, *, width: int = 192, depth: int = 5, size: int = 1) -> None:
        super().__init__()
        self.channels = integer("channels", channels, least=1)
        integer("depth", depth, least=1)
        integer("size", size, least=1, most=1)
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        self.embed = _Embedding(width, 0)
        self.layers = nn.ModuleList(nn.Linear(channels + width * bool(k), width) for k in range(depth))
        self.steers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.outward = nn.Linear(channels + width, channels)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)

    def forward(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> Tensor:
        """Prediction, (B, channels, 1, 1), for noisy vectors of that shape.

        Raises
        ------
        ShapeError
            If the vectors have another width, or a class is given.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != (self.channels, 1, 1):
            raise ShapeError(f"x must have the shape (B, {self.channels}, 1, 1), not {_s(x)}.")
        if cond is not None:
            raise ShapeError("this network knows no classes: leave cond out.")
        z, steer = x[:, :, 0, 0], self.embed(times, None)
        h = z[:, :0]
        for layer, scale, norm in zip(self.layers, self.steers, self.norms, strict=True):
            h = F.silu(norm(layer(torch.cat((z, h), dim=1)) * (1 + scale(steer))))
        return self.outward(torch.cat((z, h), dim=1))[:, :, None, None]


class DDGAN(nn.Module):
    """Everything that trains together: a generator, its discriminator, and perhaps a semantic encoder.

    Parameters
    ----------
    channels : int
    size : int
        Side of the images.
    latent : int
        Width of the latent vector, be it noise or semantic.
    semantic : bool
        Whether there is an encoder.
    critic : int
        Width of discriminator and encoder.
    levels : int
        Resolutions of discriminator and encoder: widths 1, 2, 4 ... times `critic`.
    depth, width, multipliers, blocks, attention, patch
        Of the generator, see :class:`Generator`.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: PD-3, BASE-DDGAN.
    """

    def __init__(
        self,
        channels: int,
        *,
        size: int,
        latent: int = 64,
        semantic: bool = False,
        critic: int = 32,
        levels: int = 3,
        depth: int = 3,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        attention: Sequence[int] = (1,),
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.latent = latent
        self.generator = Generator(
            channels,
            latent=latent,
            depth=depth,
            size=size,
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            patch=patch,
        )
        wider = [2**level for level in range(integer("levels", levels, least=1))]
        self.discriminator = Discriminator(channels, width=critic, multipliers=wider, patch=patch)
        self.encoder = (
            SemanticEncoder(channels, size=size, latent=latent, width=critic, multipliers=wider, patch=patch)
            if semantic
            else None
        )

    def forward(self, x: Tensor, times: Tensor, z: Tensor | None = None) -> Tensor:
        """The generator's clean image in [-1, 1]; without a latent vector for one of zeros."""
        return self.generator(x, times, x.new_zeros(len(x), self.latent) if z is None else z)


class _Trunk(nn.Module):
    """Residual blocks without norms, each resolution but the first at half the size of the one before."""

    def __init__(self, channels: int, width: int, multipliers: Sequence[int], patch: int, features: int) -> None:
        super().__init__()
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        self.patch = integer("patch", patch, least=1)
        self.inward = nn.Conv2d(channels * patch**2, width * multipliers[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        now = width * multipliers[0]
        for level, factor in enumerate(multipliers):
            self.blocks.append(_Halving(now, width * factor, features, halve=level > 0))
            now = width * factor

    def forward(self, x: Tensor, steer: Tensor | None) -> Tensor:
        h = self.inward(F.pixel_unshuffle(x, self.patch))
        for block in self.blocks:
            h = block(h, steer)
        return h


class _Halving(nn.Module):
    """Two convolutions around a residual; the time, where it is told, is added between them."""

    def __init__(self, before: int, after: int, features: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1, bias=False)
        self.told = nn.Linear(features, after) if features else None

    def forward(self, x: Tensor, steer: Tensor | None) -> Tensor:
        h = self.first(F.leaky_relu(x, SLOPE))
        if self.told is not None and steer is not None:
            h = h + self.told(steer)[:, :, None, None]
        h = F.leaky_relu(h, SLOPE)
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return (self.second(h) + self.skip(x)) / math.sqrt(2)


def unit(z: Tensor) -> Tensor:
    """Vectors (B, d) of unit mean square: pixel norm.

    Notes
    -----
    Source: BASE-DDGAN.
    """
    return z * (_wide(z).square().mean(1, keepdim=True) + 1e-8).rsqrt().to(z.dtype)


def group_spread(h: Tensor) -> Tensor:
    """Mean over channels and positions of the standard deviation within groups of four images, (B, 1, H, W).

    Parameters
    ----------
    h : Tensor, shape (B, C, H, W)
        Image k of a group is B / 4 images away from the next.

    Raises
    ------
    ShapeError
        If B is no multiple of 4.

    Notes
    -----
    Source: BASE-DDGAN (minibatch standard deviation).
    """
    if len(h) % PER_GROUP:
        raise ShapeError(f"a discriminator compares {PER_GROUP} images: a batch must be a multiple, not {len(h)}.")
    grouped = _wide(h).unflatten(0, (PER_GROUP, -1))
    spread = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.to(h.dtype).repeat(PER_GROUP)[:, None, None, None].expand(-1, 1, *h.shape[-2:])


def _wide(x: Tensor) -> Tensor:
    """Squares are summed in single precision at least."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _s(x: Tensor) -> str:
    return str(tuple(x.shape))

"""A small residual classifier: what it knows about a data set serves as the features of a Fréchet distance."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer

GROUP = 8


class Classifier(nn.Module):
    """Residual network whose last average-pooled activations are features of fixed width.

    Parameters
    ----------
    channels : int
        Of the images.
    classes : int
        At least 2.
    width : int
        Channels at full resolution, a multiple of 8; the features are four times as many.
    blocks : int
        Residual blocks at each of three resolutions.

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Group normalisation, so that an image's features do not depend on its batch.

    Source: SD-3, PX-9 and PD-8 measure in the feature space of such a network where Inception's weights are not.
    """

    def __init__(self, channels: int, classes: int, *, width: int = 32, blocks: int = 2) -> None:
        super().__init__()
        integer("channels", channels, least=1)
        integer("classes", classes, least=2)
        integer("blocks", blocks, least=1)
        if width % GROUP or width < GROUP:
            raise ParameterError(f"width must be a multiple of {GROUP}, not {width!r}.")
        self.channels, self.width = channels, 4 * width
        self.inward = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers, now = [], width
        for level, wide in enumerate((width, 2 * width, 4 * width)):
            for block in range(blocks):
                layers.append(_Block(now, wide, stride=2 if level and not block else 1))
                now = wide
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(now // GROUP, now)
        self.outward = nn.Linear(now, classes)

    def features(self, x: Tensor) -> Tensor:
        """Features of images in [0, 1], (B, 4 * width).

        Raises
        ------
        ShapeError
            If the images have another number of channels.
        """
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ShapeError(f"x must have the shape (B, {self.channels}, H, W), not {tuple(x.shape)}.")
        return F.relu(self.norm(self.body(self.inward(2 * x - 1)))).mean((2, 3))

    def taps(self, x: Tensor) -> list[Tensor]:
        """Activations at the end of each of the three resolutions, (B, C, h, w), for a perceptual distance.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Images in [0, 1].

        Notes
        -----
        Source: BASE-LDM.
        """
        found, h = [], self.inward(2 * x - 1)
        last = [len(self.body) * level // 3 - 1 for level in (1, 2, 3)]
        for place, block in enumerate(self.body):
            h = block(h)
            if place in last:
                found.append(h)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self.outward(self.features(x))


class _Block(nn.Module):
    """Two convolutions around a residual, normalised before each."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(before // GROUP, before), nn.GroupNorm(after // GROUP, after)
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        same = stride == 1 and before == after
        self.skip = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(F.relu(self.norm_1(x)))
        return self.skip(x) + self.second(F.relu(self.norm_2(h)))

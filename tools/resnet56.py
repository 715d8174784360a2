"""ResNet-56 of CIFAR-10 in torch, to read published weights into: a second opinion on Fréchet distances.

The weights are somebody else's and are not shipped: they are read from ``weights`` of the folder that FEWSTEPS_DATA
names. The network is that of He et al. 2016, section 4.2, with subsampled, zero-padded shortcuts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps import metrics
from published import weights

FILE = "resnet56-4bfd9763.th"
# What the pixels were standardised with when the weights were trained.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.stride, self.extra = stride, (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        skip = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(h + skip)


class ResNet56(nn.Module):
    """Features of 64 numbers, logits of ten classes; images in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for level in (1, 2, 3):
            blocks = [
                _Block(widths[level - (k == 0)], widths[level], 2 if level > 1 and not k else 1) for k in range(9)
            ]
            setattr(self, f"layer{level}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """(B, 64)."""
        h = F.relu(self.bn1(self.conv1((x - self.get_buffer("mean")) / self.get_buffer("std"))))
        for level in (1, 2, 3):
            h = getattr(self, f"layer{level}")(h)
        return h.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 10)."""
        return self.linear(self.features(x))


def resnet56() -> metrics.Extractor:
    """The extractor.

    Raises
    ------
    DataError
        If the weights are not there.
    """
    said = torch.load(weights(FILE), map_location="cpu", weights_only=True)["state_dict"]
    network = ResNet56()
    network.load_state_dict({name.removeprefix("module."): value for name, value in said.items()})
    return metrics.from_network("ResNet56", network.eval(), channels=3)

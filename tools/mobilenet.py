"""MobileNetV2 of ImageNet in torch, to read published weights into: a second opinion on Fréchet distances.

The weights are somebody else's (Apache 2.0) and are not shipped: they are read from ``weights`` of the folder that
FEWSTEPS_DATA names, eight bits each with a scale per channel, and a list of layers beside them. The network is that of
Sandler et al. 2018 with its norms folded into the convolutions.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fewsteps import metrics
from published import weights

FILE = "mobilenet_v2_imagenet_int8.npz"
SIDE = 96  # of what it looks at; it was trained at 224, which takes five times as long
RELU6, RELU = 3, 1  # as the list of layers calls them


class MobileNetV2(nn.Module):
    """Features of 1280 numbers, logits of 1001 classes; colour images in [0, 1].

    Parameters
    ----------
    layers : list
        Of every layer: number of its weights, kind, stride, what follows, and the layers that it takes, -1 the image.
    arrays : mapping of str to array
        ``w0``, ``s0``, ``b0`` and so on: weights, their scales by channel, and biases.
    """

    def __init__(self, layers: list, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.layers = layers
        for number, kind, *_ in layers:
            if kind not in ("add", "mean"):
                weight, scale, bias = (torch.from_numpy(arrays[f"{name}{number}"]).float() for name in "wsb")
                self.register_buffer(f"w{number}", weight * scale[:, None, None, None])
                self.register_buffer(f"b{number}", bias)

    def _through(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made, features = [], x
        for number, kind, stride, then, first, second in self.layers:
            h = x if first == -1 else made[first]
            if kind == "add":
                h = h + (x if second == -1 else made[second])
            elif kind == "mean":
                h = features = h.mean((2, 3), keepdim=True)
            else:
                weight = self.get_buffer(f"w{number}")
                h = _padded(h, weight.shape[-1], stride)
                groups = h.shape[1] if kind == "dw" else 1
                h = F.conv2d(h, weight, self.get_buffer(f"b{number}"), stride, groups=groups)
            if then in (RELU6, RELU):
                h = h.clamp(0, 6 if then == RELU6 else None)
            made.append(h)
        return features.flatten(1), made[-1].flatten(1)

    def features(self, x: Tensor) -> Tensor:
        """(B, 1280)."""
        return self._through(2 * x - 1)[0]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1001)."""
        return self._through(2 * x - 1)[1]


def _padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """As many zeros around an image as TensorFlow's "same" puts there, the odd one on the right and below."""
    down, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


def mobilenet() -> metrics.Extractor:
    """The extractor.

    Raises
    ------
    DataError
        If the weights are not there.
    """
    with np.load(weights(FILE), allow_pickle=False) as file:
        network = MobileNetV2(json.loads(str(file["spec"])), dict(file))
    return metrics.from_network("MobileNetV2", network.eval(), channels=3, size=SIDE)

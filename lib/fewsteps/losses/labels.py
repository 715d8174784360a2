"""The objective of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fewsteps.errors import DataError
from fewsteps.losses.denoising import Network


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of the classes; images in [0, 1]."""

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "class"."""
        return {"kind": "class"}

    def __call__(self, network: Network, x0: Tensor, cond: Tensor | None, generator: torch.Generator) -> Tensor:
        """Losses, (B,).

        Raises
        ------
        DataError
            If the images have no classes.
        """
        if cond is None:
            raise DataError("a classifier needs a data set with classes: mnist, fashion_mnist, cifar10 or digits.")
        return cross_entropy(network(x0), cond, reduction="none")

"""A constant tensor that is wanted next to whatever it meets: one copy per device and dtype, made once.

A mask sent to the GPU anew at every step would cost more than the filter does.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Resident:
    """A tensor kept in float64 on the CPU, handed out on the device and in the dtype of another.

    Parameters
    ----------
    tensor : Tensor
    """

    def __init__(self, tensor: Tensor) -> None:
        self.exact = tensor.detach().to("cpu", torch.float64)
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """The copy beside `x`; half precision is answered in float32, the least that a mask needs."""
        return self.on(x.device, torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype)

    def on(self, device: torch.device, dtype: torch.dtype = torch.float64) -> Tensor:
        """The copy on `device` in `dtype`."""
        key = (device, dtype)
        if key not in self._copies:
            with torch.inference_mode(False):  # what is cached while sampling must serve a backward pass later
                self._copies[key] = self.exact.to(device, dtype)
        return self._copies[key]

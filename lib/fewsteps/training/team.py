"""One process or several: the loop does not need to know which."""

from __future__ import annotations

import os
from types import TracebackType

import torch
from torch import Tensor, nn

from fewsteps.errors import ParameterError, TrainingError


def _device(wanted: str | torch.device) -> torch.device:
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(f"device must be cpu, or a GPU that torch sees on this machine, not {wanted}.") from error
    return device


class Team:
    """The processes of one training run; ``torchrun`` or ``accelerate launch`` start several.

    Parameters
    ----------
    device : optional
        Default: a GPU where there is one. Several processes take the device that accelerate gives them.

    Attributes
    ----------
    rank, size : int
        This process's number, and how many there are.
    device : torch.device
    """

    def __init__(self, device: str | torch.device | None) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self._shared = None
        if self.size > 1:
            try:
                from accelerate import Accelerator
            except ImportError as error:
                raise TrainingError(
                    "Several processes need accelerate: pip install accelerate, or start one."
                ) from error

            self._shared = Accelerator(cpu=str(device) == "cpu" or not torch.cuda.is_available())
            self.rank, self.device = self._shared.process_index, self._shared.device
        else:
            self.rank = 0
            self.device = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shared is not None:
            self._shared.end_training()

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over all processes."""
        return network if self._shared is None else self._shared.prepare_model(network)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over all processes."""
        if self._shared is None:
            return value
        gathered = self._shared.reduce(value, reduction="mean")
        assert isinstance(gathered, Tensor)
        return gathered

    def agree(self, *mine: bool) -> tuple[bool, ...]:
        """Which of these any process says: clocks differ, and all must do the same at the same step."""
        if self._shared is None:
            return mine
        said = self._shared.reduce(torch.tensor([float(one) for one in mine], device=self.device), reduction="sum")
        assert isinstance(said, Tensor)
        return tuple((said > 0).tolist())

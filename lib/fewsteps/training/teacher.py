"""A trained network as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fewsteps import checkpoints
from fewsteps.errors import CheckpointError
from fewsteps.losses.denoising import Objective
from fewsteps.networks import UNet, build


class Teacher:
    """The outputs and features of a checkpoint, on the device of what it is shown.

    Parameters
    ----------
    name : str
    pupil : Objective
        What the student is trained for; the teacher must have been trained for the same.
    folder : Path, optional

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, it is no U-Net, or it predicts something else than the student is to.

    Notes
    -----
    Source: SD-6, section 5.2.
    """

    def __init__(self, name: str, pupil: Objective, folder: Path = checkpoints.FOLDER) -> None:
        card, weights = checkpoints.load(name, folder)
        network = build(card["network"])
        if not isinstance(network, UNet):
            raise CheckpointError(f"the teacher must be a U-Net, and {name} is a {card['network']['kind']}.")
        if card["predicts"] != pupil.predicts:
            raise CheckpointError(
                f"teacher and student must predict the same: {name} predicts {card['predicts']}, the student is to "
                f"predict {pupil.predicts}. Train both on the same data and sizes."
            )
        network.load_state_dict(weights)
        self.network = network.eval().requires_grad_(False)
        self.name, self.sha256 = name, card["weights"]["sha256"]

    def __repr__(self) -> str:
        return f"Teacher({self.name}, {self.sha256[:16]})"

    @torch.no_grad()
    def __call__(self, x: Tensor, times: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Sequence[Tensor]]:
        """As :meth:`fewsteps.networks.UNet.taps`."""
        self.network.to(x.device)
        return self.network.taps(x, times, cond)

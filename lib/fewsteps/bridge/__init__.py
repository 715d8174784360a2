"""Models that were not made here: any torch module as a denoiser, diffusers' schedulers with a filter, and its files.

:func:`denoiser` needs torch alone. What needs diffusers says so where it is missing (`pip install 'fewsteps[book]'`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fewsteps.bridge.modules import Time, denoiser
from fewsteps.bridge.pretrained import Pretrained, pretrained

if TYPE_CHECKING:
    from fewsteps.bridge.schedulers import (
        FilteredDDIMScheduler,
        FilteredDDPMScheduler,
        FilteredScoreSdeVeScheduler,
        filtered,
    )

_DIFFUSERS = ("FilteredDDIMScheduler", "FilteredDDPMScheduler", "FilteredScoreSdeVeScheduler", "filtered")

__all__ = [
    "FilteredDDIMScheduler",
    "FilteredDDPMScheduler",
    "FilteredScoreSdeVeScheduler",
    "Pretrained",
    "Time",
    "denoiser",
    "filtered",
    "pretrained",
]


def __getattr__(name: str) -> Any:
    """The schedulers, whose parents are diffusers' own, only when they are asked for."""
    if name not in _DIFFUSERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fewsteps.bridge import needed

    needed.diffusers()
    from fewsteps.bridge import schedulers

    return getattr(schedulers, name)

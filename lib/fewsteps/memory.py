"""Memory that runs out, on a GPU or a CPU, told with the batch that would fit."""

from __future__ import annotations

from collections.abc import Callable

import torch

_SAID = ("can't allocate memory", "could not create a primitive")  # torch on the CPU, and oneDNN below it


def ran_out(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out; the CPU's has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)
    )


def largest_batch(attempt: Callable[[int], object], batch: int, multiple: int = 1) -> int:
    """The largest of batch / 2, batch / 4 ... 1 with which `attempt` does not run out of memory; 0 if none.

    Each is rounded down to a multiple.

    Parameters
    ----------
    attempt : callable
        Does the work with a batch of that many.
    batch : int
        What did not fit.
    multiple : int
        Of which every batch must be one.
    """
    while batch := batch // 2 // multiple * multiple:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(batch)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        else:
            return batch
    return 0

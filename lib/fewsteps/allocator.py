"""The C allocator of processes that sample or train: what they free, they keep.

A network asks for the same activations at every call. Handed back to the system in between, as an allocator does with
large pieces, they come back as fresh pages, and a process spends as long on page faults as on computing.
"""

from __future__ import annotations

import ctypes
import sys

_MMAP, _TRIM = 2**25, 2**30  # the first can be no larger
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(_MMAP), "MALLOC_TRIM_THRESHOLD_": str(_TRIM)}
"""For the environment of processes that are to be started."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_freed() -> bool:
    """Have this process keep up to 1 GiB of what it frees; whether it does.

    Only glibc has the switch: elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    switch = getattr(ctypes.CDLL(None), "mallopt", None)
    if switch is None:
        return False
    return bool(switch(_M_MMAP_THRESHOLD, _MMAP)) and bool(switch(_M_TRIM_THRESHOLD, _TRIM))

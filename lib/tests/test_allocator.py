"""What a process frees, it keeps: asked of the C library itself, since page faults depend on the machine."""

import os
import platform
import subprocess
import sys

import pytest

from fewsteps.allocator import KEPT

FREED = """
import ctypes
import sys
from fewsteps.allocator import keep_freed

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

library = ctypes.CDLL(None)
library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
library.free.argtypes, library.mallinfo2.restype = [ctypes.c_void_p], Info
if sys.argv[1] == "kept":
    assert keep_freed()
library.free(library.malloc(20 * 2**20))
print(library.mallinfo2().fordblks)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the switch")
def test_what_is_freed_is_kept():
    """20 MiB, as a layer's activations: handed back as a rule, and afterwards among what lies ready in the process."""
    clean = {name: value for name, value in os.environ.items() if name not in KEPT}  # Dask leaves its own here

    def ready(how):
        command = [sys.executable, "-c", FREED, how]
        return int(subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout)

    assert ready("usual") < 4 * 2**20 < 20 * 2**20 <= ready("kept")

"""What a process frees, it keeps: counted in page faults, which nothing else of this size makes."""

import os
import platform
import subprocess
import sys

import pytest

from fewsteps.allocator import KEPT

FAULTS = """
import resource
import sys
from fewsteps.allocator import keep_freed

if sys.argv[1] == "kept":
    assert keep_freed()
import torch

torch.set_num_threads(1)
def work():
    held = [torch.ones(20 * 2**20 // 4) for _ in range(6)]  # pieces of 20 MiB
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the switch")
def test_what_is_freed_is_kept():
    clean = {name: value for name, value in os.environ.items() if name not in KEPT}  # Dask leaves its own here
    command = [sys.executable, "-c", FAULTS, "kept"]
    # How many there are otherwise depends on the machine's huge pages; thousands, or none.
    assert int(subprocess.run(command, env=clean, check=True, capture_output=True, text=True).stdout) < 200

"""How processes of ours behave."""

import platform
import subprocess
import sys

import pytest

FREED = """
import sys
import numpy as np
from lib.workers import keep_memory
if sys.argv[1:]:
    keep_memory()
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
many = [np.ones(2 * 10**6) for _ in range(12)]  # 16 MB each
del many
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_stays_when_told_to():
    returned, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", FREED, *told], capture_output=True, text=True, check=True
            ).stdout
        )
        for told in ([], ["keep"])
    )
    assert returned < 50e6 < 150e6 < kept

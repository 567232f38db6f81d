"""Freed memory stays in the process, so that the next batch need not get it page by page."""

import os
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from synood.models.memory import keep_freed_memory

def faults():
    blocks = [bytearray(100_000) for _ in range(100)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    keep_freed_memory()
faults()
before = faults()
for _ in range(10):
    after = faults()
print(after - before)
"""


def page_faults(how, **environment):
    """Page faults of ten batches of 10 MB each, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run(
        [sys.executable, "-c", CODE, how],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_what_is_freed_is_used_again():
    given_back = page_faults("as it is")
    if given_back < 10_000:
        pytest.skip("this C library keeps what is freed")
    assert page_faults("keep") < given_back / 20
    assert page_faults("keep", MALLOC_TRIM_THRESHOLD_="100000") > given_back / 2

"""CPU time of a process and of those that it has started."""

import os
import subprocess
import sys

import pytest

from synood.benchmark.speed import processes

WORK = (
    "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
)
STARTS_IT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORK!r}])"


@pytest.mark.skipif(not processes.can_be_watched(), reason="Linux's /proc")
def test_what_a_process_has_started_counts_too():
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_IT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        parent.stdout.readline()
        assert 0.3 <= processes.family_seconds(parent.pid) < 3
        assert processes.family_seconds(os.getpid()) > processes.family_seconds(parent.pid)
        parent.stdin.close()


def test_a_process_that_is_gone_has_used_nothing():
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, check=True)  # fmt: skip
    if processes.can_be_watched():
        assert processes.family_seconds(int(gone.stdout)) == 0

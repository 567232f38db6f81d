"""A cluster that is started for one command: its workers have the niceness of the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")

CODE = """
import os
from spreading import Niceness
from synood.pipeline.executors.ray import connected

with connected(None, workers=1) as executor:
    ((_, niceness),) = executor.run(Niceness(), ["batch"])
print(niceness - os.nice(0))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="niceness")
def test_a_worker_of_our_own_cluster_stands_back_behind_nobody():
    helpers = Path(__file__).parents[2] / "helpers"
    places = os.pathsep.join((str(helpers), os.environ.get("PYTHONPATH", "")))
    result = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(result.stdout) == 0

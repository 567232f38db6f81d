"""The whole job with the embedded models on the embedded benchmark, as people run it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from synood.benchmark.results.results import read_results

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def synood(*arguments: object) -> str:
    words = [sys.executable, "-m", "synood", *map(str, arguments)]
    run = subprocess.run(words, capture_output=True, text=True, env=ENV, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_two_commands_measure_the_embedded_models_on_the_mini_benchmark(tmp_path):
    out, suite = tmp_path / "run", tmp_path / "suite"
    told = synood("fit", "--models", "mini", "--recipe", "paper", "--benchmark", "mini",
                  "--root", suite, "--out", out, "--per-class", 1)  # fmt: skip
    assert f"next: synood evaluate {out}/detector --benchmark mini --root {suite}" in told
    table = synood("evaluate", out / "detector", "--benchmark", "mini", "--root", suite)
    assert "NegLabel" in table
    assert "SynOOD" in table
    assert synood("benchmark", "check", "mini", "--root", suite).endswith("all there\n")

    rows = read_results(out / "results-mini.json").rows
    assert len(rows) == 2 * 7
    assert {row.group for row in rows} == {"near", "far"}
    auroc = {
        method: sum(row.auroc for row in rows if row.method == method) / 7
        for method in ("neglabel", "synood")
    }
    assert auroc["neglabel"] > 0.9  # 0.966 as measured: the encoder knows these drawings' kind
    assert auroc["synood"] > 0.9

"""Every experiment on the layouts of the public benchmarks, one run each, through the command."""

from __future__ import annotations

import pytest

from made_up import write_imagenet, write_mos, write_openood
from small_suite import tiny_bundle
from synood.benchmark.experiments import experiments
from synood.benchmark.results.results import read_results
from synood.cli.app import main


def write_imagenet_4(root):
    write_imagenet(root / "ImageNet")
    write_mos(root)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark", "write", "sets"),
    [("imagenet-4", write_imagenet_4, 4), ("openood", write_openood, 5)],
)
def test_all_experiments_run_on_a_public_benchmark(benchmark, write, sets, tmp_path, capsys):
    root, out = tmp_path / "data", tmp_path / "out"
    write(root)
    bundle = tiny_bundle(tmp_path / "bundle")
    given = ["--models", str(bundle), "--benchmark", benchmark, "--root", str(root)]
    assert main(["reproduce", "all", *given, "--out", str(out), "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    for name, experiment in experiments().items():
        results = read_results(out / "reproduce" / name / "results.json")
        assert experiment.title in printed
        assert len({row.ood_set for row in results.rows}) in (0, sets)
    table = read_results(out / "reproduce" / "table-1" / "results.json")
    assert {"neglabel", "synood", "synood-plus"} <= {row.method for row in table.rows}
    assert {row["method"] for row in table.published} >= {"neglabel", "synood"}

"""`synood demo`: its defaults and what it refuses."""

import inspect

from synood.benchmark.experiments import demo
from synood.cli.demo import demo as command


def test_demo_has_the_seeds_of_the_benchmark():
    assert inspect.signature(command).parameters["seeds"].default == demo.SEEDS


def test_demo_of_too_few_seeds(refused, tmp_path):
    assert "at least 3" in refused("demo", "--seeds", "1", "--out", tmp_path / "demo")
    assert not (tmp_path / "demo").exists()

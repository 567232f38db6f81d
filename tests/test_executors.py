"""Executors: the same batches, the same results, in the order of the batches."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from bundling import tiny_bundle
from small_run import make_pictures
from synood import InputError
from synood.files import sha256_file
from synood.models.bundles import load_bundle
from synood.pipeline._models import Models
from synood.pipeline._work import Encode
from synood.pipeline.executors import LocalExecutor


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers; refuses 13."""

    begun: list[str | None]

    def begin(self, device=None):
        self.begun.append(device)

        def work(numbers):
            if 13 in numbers:
                raise InputError("13: is not wanted here")
            return [2 * number for number in numbers]

        return work


def test_local_results_come_in_order_and_one_by_one():
    task = Doubling([])
    results = LocalExecutor().run(task, [[1, 2], [3], [13], [4]])
    assert not task.begun
    assert [next(results), next(results)] == [(0, [2, 4]), (1, [6])]
    assert task.begun == [None]
    with pytest.raises(InputError, match="13"):
        next(results)


def test_without_batches_nothing_is_begun():
    task = Doubling([])
    assert list(LocalExecutor().run(task, [])) == []
    assert not task.begun


def test_a_task_that_was_sent_loads_the_same_models_anew(tmp_path):
    bundle = load_bundle(tiny_bundle(tmp_path / "bundle"))
    paths = sorted(make_pictures(tmp_path / "images").rglob("*.png"))
    files = [(path, sha256_file(path)) for path in paths]
    here = Models(bundle, "cpu")
    sent = pickle.loads(pickle.dumps(Encode(here)))

    assert sent.models is not here
    assert sent.models.describer_print == here.describer_print
    assert sent.models.encoder is not here.encoder
    np.testing.assert_array_equal(Encode(here).begin()(files), sent.begin("cpu")(files))


def test_models_on_the_same_device_are_not_loaded_twice(tmp_path):
    models = Models(load_bundle(tiny_bundle(tmp_path / "bundle")), "cpu")
    assert models.on("cpu") is models.on(None) is models
    assert models.on("meta").device == "meta"

"""Executors: the same batches, the same results, in the order of the batches."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bundling import tiny_bundle
from small_run import make_pictures
from synood import InputError
from synood.cli.options import ExecutorOptions
from synood.features.extractor import ImageFile
from synood.files import sha256_file
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline.executors import ray as _ray
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.executors.tasks import Encode, Synthesize
from synood.pipeline.rundir.shards import SynthesisRequest
from synood.settings import GuidanceSettings


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
    files = [ImageFile(path, sha256_file(path)) for path in paths]
    here = Models(bundle, "cpu")
    sent = pickle.loads(pickle.dumps(Encode(here)))

    assert sent.models is not here
    assert sent.models.describer_fingerprint == here.describer_fingerprint
    assert sent.models.encoder is not here.encoder
    np.testing.assert_array_equal(Encode(here).begin()(files), sent.begin("cpu")(files))


def test_models_on_the_same_device_are_not_loaded_twice(tmp_path):
    models = Models(load_bundle(tiny_bundle(tmp_path / "bundle")), "cpu")
    assert models.on("cpu") is models.on(None) is models
    assert models.on("meta").device == "meta"


def test_another_number_of_threads_moves_a_pixel_by_one_grey_level_at_most(tmp_path):
    """The tolerance that docs/cluster.md states where workers have other threads than this."""
    models = Models(load_bundle(tiny_bundle(tmp_path / "bundle", inpainter=True)), "cpu")
    paths = sorted(make_pictures(tmp_path / "images").rglob("*.png"))
    orders = [
        SynthesisRequest(path.name, path, sha256_file(path), "a photo of a tree", seed, str(seed))
        for seed, path in enumerate(paths)
    ]
    before, pictures = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            work = Synthesize(
                models, None, GuidanceSettings(num_inference_steps=4, rounds=2), 8
            ).begin()
            pictures.append(
                np.stack(
                    [made.image for made in work([(order, None) for order in orders[:8]]).results]
                ).astype(int)
            )
    finally:
        torch.set_num_threads(before)
    difference = np.abs(pictures[0] - pictures[1])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


def test_options_of_workers_need_a_cluster_and_the_cluster_needs_ray(monkeypatch):
    with (
        pytest.raises(InputError, match="need --executor ray"),
        ExecutorOptions(workers=2).opened(),
    ):
        pass
    with ExecutorOptions().opened() as executor:
        assert isinstance(executor, LocalExecutor)
    monkeypatch.setattr(_ray, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"synood\[ray\]"), ExecutorOptions("ray").opened():
        pass

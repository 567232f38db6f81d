"""Checkpoints in a local hub cache load by id, with the features and commit they should have."""

from __future__ import annotations

import numpy as np
import pytest

import hub_cache
import tiny
from synood.errors import CheckpointError
from synood.models.clip import ClipEncoder
from synood.models.hub import cached_commit
from synood.models.inpainting import Inpainter


def test_an_id_loads_what_its_directory_held(tmp_path):
    directory = tiny.tiny_clip(tmp_path / "clip")
    expected = ClipEncoder.from_pretrained(directory).encode_texts(["a photo of a cat"])
    commit = hub_cache.put(tmp_path / "hub", "somebody/small-clip", directory)
    with hub_cache.using_cache(tmp_path / "hub"):
        encoder = ClipEncoder.from_pretrained("somebody/small-clip")
        assert encoder.name == "somebody/small-clip"
        np.testing.assert_array_equal(encoder.encode_texts(["a photo of a cat"]), expected)
        assert cached_commit("somebody/small-clip") == commit
    with pytest.raises(CheckpointError, match="somebody/small-clip: no complete checkpoint"):
        ClipEncoder.from_pretrained("somebody/small-clip")


def test_a_pipeline_of_folders_loads_by_id_too(tmp_path):
    directory = tiny.tiny_inpainting(tmp_path / "inpainter")
    hub_cache.put(tmp_path / "hub", "somebody/painter", directory)
    with hub_cache.using_cache(tmp_path / "hub"):
        assert Inpainter.from_pretrained("somebody/painter").image_size == 32


def test_another_revision_of_an_id_is_found_by_its_name(tmp_path):
    for seed, revision in enumerate(["main", "better"]):
        directory = tiny.tiny_clip(tmp_path / revision, seed=seed)
        hub_cache.put(tmp_path / "hub", "somebody/small-clip", directory, revision)
    with hub_cache.using_cache(tmp_path / "hub"):
        main, better = (
            ClipEncoder.from_pretrained("somebody/small-clip", revision=name).fingerprint
            for name in ("main", "better")
        )
    assert main != better


def test_a_branch_that_moved_on_is_another_encoder(tmp_path):
    marks = set()
    for seed in (0, 1, 0):
        directory = tiny.tiny_clip(tmp_path / "clip", seed=seed)
        hub_cache.put(tmp_path / "hub", "somebody/small-clip", directory)
        with hub_cache.using_cache(tmp_path / "hub"):
            marks.add(ClipEncoder.from_pretrained("somebody/small-clip").fingerprint)
    assert len(marks) == 2

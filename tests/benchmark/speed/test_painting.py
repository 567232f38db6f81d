"""The plain loop over the pipeline of diffusers paints what the package paints."""

from dataclasses import replace

import numpy as np
import pytest

from synood.benchmark.speed import painting
from synood.benchmark.speed.painting import SETTINGS, Painting, guided

pytestmark = pytest.mark.numerical


def test_both_sides_paint_the_same_image():
    pytest.importorskip("diffusers")
    work = Painting.embedded()
    few = replace(SETTINGS, rounds=2, num_inference_steps=4)
    ours, plain = work.ours(few), work.plain(few)
    assert ours.std() > 5
    assert np.abs(ours.astype(int) - plain).max() <= 1
    unguided = work.ours(few.unguided())
    assert np.abs(ours.astype(int) - unguided).max() > 1  # so the guidance is part of it


def test_without_diffusers_the_row_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(painting, "find_spec", lambda name: None)
    (row,) = guided(tmp_path, 1)
    assert (row.ours, row.peers, row.missing) == (None, {}, ("the extra synth",))

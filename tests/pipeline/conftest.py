"""One whole run in shards of two images, for tests of what a run leaves and makes again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from small_run import run
from synood.pipeline.rundir import shards


@pytest.fixture
def one_thread():
    """Forked children must not wait for threads that only the parent has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 2)


@pytest.fixture(scope="module")
def first(bundle, images, tmp_path_factory):
    """One whole run that others are compared with; nobody may write to it."""
    out = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        torch.set_num_threads(1)
        run(images, bundle, out)
    return out


@pytest.fixture
def again(first, tmp_path):
    """A copy of the first run that may be continued."""
    return Path(shutil.copytree(first, tmp_path / "again"))

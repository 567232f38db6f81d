"""A saved detector that nobody may write to, and a copy of it that may be damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from small_detector import make_detector

    path = tmp_path_factory.mktemp("saved") / "detector"
    make_detector().calibrate([0.5, 0.6, 0.7], tpr=0.7).save_pretrained(path)
    return path


@pytest.fixture
def directory(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "detector"))

"""A tiny in-painting model, made once for each file of tests."""

import pytest

import tiny
from synood.models.inpainting import Inpainter


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.tiny_inpainting(tmp_path_factory.mktemp("paint"))


@pytest.fixture(scope="module")
def inpainter(directory):
    return Inpainter.from_pretrained(directory)

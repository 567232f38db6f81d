"""Files of features: tensors are mapped, not read beforehand."""

from __future__ import annotations

import tracemalloc

import pytest

from synood.errors import InputError
from synood.features.files import read_features


def test_a_large_file_is_not_held_in_memory_only_to_be_checked(tmp_path):
    path = tmp_path / "features.safetensors"
    with path.open("wb") as file:
        file.truncate(2**28)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="not readable as safetensors"):
            read_features(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()

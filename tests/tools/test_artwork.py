"""The artwork pack is written with stable bytes and read back as it was."""

import pytest

from synood.mini.artwork import Artwork
from synood.mini.suite import ARTWORK
from tools.mini.artwork import write_pack


@pytest.fixture(scope="module")
def artwork():
    return Artwork.load(ARTWORK)


def test_a_pack_comes_back_as_written_and_has_stable_bytes(artwork, tmp_path):
    chosen = artwork.sprites[:6]
    for name in ("a.zip", "b.zip"):
        assert write_pack(chosen, tmp_path / name) == 6
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    back = Artwork.load(tmp_path / "a.zip").sprites
    assert [(s.concept, s.vendor, s.image.size) for s in back] == [
        (s.concept, s.vendor, s.image.size) for s in chosen
    ]

"""Validation by an unseen artist: the hard split in training, other concepts to measure on."""

import json

import pytest

from synood.benchmark.suites.mini import prepare_mini
from synood.benchmark.suites.suite import check_disjoint, read_suite
from synood.mini.artwork import Artwork
from synood.mini.suite import ARTWORK, Counts, write_suite
from tools.mini.unseen import UnseenWriter, draw_artist

ARTIST = "noto"  # has drawn every part
FEW = Counts(train=1, validation=1, test=1, ood=5, validation_ood=5)


@pytest.fixture(scope="module")
def artwork():
    return Artwork.load(ARTWORK)


def pictures(root, *parts):
    return {
        path.relative_to(root): path.read_bytes()
        for p in parts
        for path in (root / p).rglob("*.png")
    }


def test_it_is_the_hard_split_with_other_sets_to_measure_on(artwork, tmp_path):
    write_suite(tmp_path / "hard", split="hard", counts=FEW)
    UnseenWriter(tmp_path / "unseen", artwork, ARTIST, FEW).write()
    hard, unseen = (pictures(tmp_path / name, "train", "validation") for name in ("hard", "unseen"))
    assert hard
    assert hard == unseen
    suite = read_suite(tmp_path / "unseen")
    check_disjoint(suite)
    assert [(item.name, item.group, item.n) for item in suite.ood("test")] == [
        ("unseen-near", "near", 5),
        ("unseen-far", "far", 5),
    ]
    assert prepare_mini(tmp_path / "unseen", split="hard").sets == suite.sets


def test_scenes_show_concepts_kept_for_validation_alone(artwork, tmp_path, monkeypatch):
    writer = UnseenWriter(tmp_path, artwork, ARTIST, FEW)
    drawn = []
    scene = writer.test.scene
    monkeypatch.setattr(
        type(writer.test),
        "scene",
        lambda self, subject, rng: (drawn.append((self, subject)), scene(subject, rng))[1],
    )
    writer.write()
    subjects = {subject for world, subject in drawn if world is writer.test}
    assert subjects <= set(artwork.concepts("id", "validation-near", "validation-far"))
    assert len(subjects) > len(artwork.concepts("id"))


def test_an_artist_is_drawn_as_far_as_the_package_goes(artwork, tmp_path):
    pytest.importorskip("resvg_py")
    package, names = tmp_path / "@iconify-json" / "somebody", tmp_path / "emojibase-data"
    for folder in (package, names / "en", names / "meta"):
        folder.mkdir(parents=True)
    icons = {"x-panda": {"body": '<circle cx="8" cy="8" r="6" fill="#f00"/>'}}
    (package / "icons.json").write_text(json.dumps({"icons": icons}))
    (package / "chars.json").write_text(json.dumps({"1f43c": "x-panda"}))
    wanted = artwork.concepts("id", "context", "validation-near", "validation-far")
    rows = [
        {
            "label": name,
            "hexcode": "1F43C" if name == "panda" else "1",
            "order": i,
            "group": 0,
            "subgroup": 0,
        }
        for i, name in enumerate(wanted)
    ]
    (names / "en" / "data.json").write_text(json.dumps(rows))
    groups = {"groups": {"0": "animals-nature"}, "subgroups": {"0": "animal-mammal"}}
    (names / "meta" / "groups.json").write_text(json.dumps(groups))
    drawn = draw_artist("somebody", tmp_path, artwork)
    assert [(s.concept, s.part, s.vendor) for s in drawn.sprites] == [("panda", "id", "somebody")]
    assert drawn.sprites[0].image.convert("RGB").getpixel((20, 20)) == (255, 0, 0)

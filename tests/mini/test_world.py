"""The mini world and its benchmark: seeded scenes, sets that share no meaning and no picture."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from synood.benchmark.suites.suite import check_disjoint, read_suite
from synood.errors import InputError
from synood.files import read_json
from synood.mini.artwork import Artwork
from synood.mini.concepts import CONTEXT, HELD_OUT_VENDOR, IN_DISTRIBUTION, spoken
from synood.mini.suite import ARTWORK, Counts, write_suite
from synood.mini.world import SEEN_VENDORS, World, background, caption
from tools.mini.photographs import WITH_SUBJECT, WITHOUT_SUBJECT

FEW = Counts(train=1, validation=1, test=1, ood=12, validation_ood=12)


@pytest.fixture(scope="module")
def artwork():
    return Artwork.load(ARTWORK)


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    roots = {}
    for name, split in [
        ("main", "main"), ("again", "main"), ("hard", "hard"), ("crowded", "crowded"),
        ("crowded-again", "crowded"),
    ]:  # fmt: skip
        roots[name] = tmp_path_factory.mktemp(name)
        write_suite(roots[name], seed=0, split=split, counts=FEW)
    return roots


def contents(root):
    files = sorted(path for path in root.rglob("*.png"))
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_there_are_more_than_fifty_classes_and_each_is_drawn_by_several_vendors(artwork):
    assert len(IN_DISTRIBUTION) >= 50
    for concept in (*IN_DISTRIBUTION, *CONTEXT):
        assert len(artwork.drawings(concept, SEEN_VENDORS)) >= 3, concept
        assert artwork.drawings(concept, (HELD_OUT_VENDOR,)), concept


def test_names_are_unique_also_as_spoken():
    names = [spoken(concept) for concept in (*IN_DISTRIBUTION, *CONTEXT)]
    assert len(set(names)) == len(names)


def test_a_concept_plays_one_part(artwork):
    parts = {sprite.concept: {sprite.part} for sprite in artwork.sprites}
    for sprite in artwork.sprites:
        parts[sprite.concept].add(sprite.part)
    assert all(len(found) == 1 for found in parts.values())


def test_the_held_out_vendor_is_in_no_training_scene(artwork):
    assert HELD_OUT_VENDOR not in World(artwork).vendors


def test_photographs_of_training_are_in_no_test_set():
    assert not set(WITH_SUBJECT) & set(WITHOUT_SUBJECT)


def test_scenes_depend_on_the_seed_alone(artwork):
    world = World(artwork)
    first, second, other = (world.scene("panda", np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.names == second.names
    np.testing.assert_array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)
    assert first.names[0] == "panda"
    assert set(first.names[1:]) <= set(CONTEXT)


def test_a_scene_shows_its_subject_on_the_background(artwork):
    """Where nothing is pasted the background stays; where the subject is, it does not."""
    world, changed = World(artwork), []
    for seed in range(20):
        plain = np.asarray(background(np.random.default_rng(seed)))
        scene = world.scene("strawberry", np.random.default_rng(seed)).image
        changed.append(np.any(plain != scene, axis=-1).mean())
    assert 0.15 < np.mean(changed) < 0.85


def test_captions_name_what_is_there_in_plain_words():
    rng = np.random.default_rng(0)
    texts = {caption(("lady beetle", "postbox"), rng) for _ in range(60)}
    assert len(texts) > 4
    assert all("ladybug" in text and "mailbox" in text for text in texts)


def test_painter_batches_favour_context(artwork):
    world = World(artwork)
    _, captions = world.painter_batch(np.random.default_rng(0), 300)
    context = {spoken(name) for name in CONTEXT}
    hits = Counter(any(name in text for name in context) for text in captions)
    assert hits[True] > 0.7 * 300


def test_the_same_seed_writes_the_same_bytes(suites):
    assert contents(suites["main"]) == contents(suites["again"])
    assert contents(suites["crowded"]) == contents(suites["crowded-again"])


@pytest.mark.parametrize("split", ["main", "crowded"])
def test_sets_share_no_picture_and_suite_json_counts_them(suites, split):
    suite = read_suite(suites[split])
    check_disjoint(suite)
    assert len({record.path for item in suite.sets for record in item.index().records}) == sum(
        item.n for item in suite.sets
    )
    groups = Counter((item.group, item.role) for item in suite.sets)
    assert groups[("near", "test")] >= 2
    assert groups[("far", "test")] >= 4
    assert groups[("id", "train")] == groups[("id", "test")] == 1


def test_the_hard_split_differs_in_every_test_scene(suites):
    main, hard = contents(suites["main"]), contents(suites["hard"])
    drawn = [name for name in main if name.startswith("test/id/")]
    assert all(main[name] != hard[name] for name in drawn)
    assert read_json(suites["hard"] / "suite.json")["split"] == "hard"


def test_every_image_of_the_crowded_split_is_crowded(suites):
    """Training, validation and test images alike: none is the main split's."""
    main, crowded = contents(suites["main"]), contents(suites["crowded"])
    assert main.keys() == crowded.keys()
    assert not set(main.values()) & set(crowded.values())
    assert read_json(suites["crowded"] / "suite.json")["split"] == "crowded"


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(InputError, match="main, hard or crowded"):
        write_suite(tmp_path, split="easy", counts=FEW)


def test_a_missing_pack_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match=r"tools\.mini\.artwork makes one"):
        Artwork.load(tmp_path / "none.zip")

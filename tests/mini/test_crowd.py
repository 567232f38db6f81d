"""Crowded scenes: the subject stays in sight, and every image set stands in the same crowd."""

import io

import numpy as np
import pytest
from PIL import Image

from synood.mini.artwork import Artwork, Sprite
from synood.mini.concepts import CONTEXT
from synood.mini.crowd import CrowdedWorld, Crowding, photographed
from synood.mini.suite import ARTWORK

MAGENTA, GREEN = (255, 0, 255), (0, 255, 0)


def solid(concept, part, colour):
    return Sprite(concept, part, "", "noto", Image.new("RGBA", (40, 40), colour))


@pytest.fixture(scope="module")
def world():
    return CrowdedWorld(Artwork.load(ARTWORK))


@pytest.fixture(scope="module")
def blocks():
    """A world of a magenta subject and green context objects."""
    context = [solid(name, "context", GREEN) for name in CONTEXT]
    return CrowdedWorld(Artwork([solid("panda", "id", MAGENTA), *context]))


def coloured(image, colour):
    """Return the fraction of pixels that are near `colour`."""
    return (np.abs(image.astype(int) - colour).sum(axis=-1) < 200).mean()


def test_scenes_depend_on_the_seed_alone(world):
    first, second, other = (world.scene("panda", np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, second.image)
    assert first.names == second.names
    assert not np.array_equal(first.image, other.image)


def test_a_scene_names_its_subject_then_its_crowd(world):
    scenes = [world.scene("panda", np.random.default_rng(seed)) for seed in range(80)]
    assert {scene.names[0] for scene in scenes} == {"panda"}
    assert {name for scene in scenes for name in scene.names[1:]} <= set(CONTEXT)
    assert {len(scene.names) for scene in scenes} == {2, 3, 4, 5, 6, 7}
    assert all(scene.image.shape == (64, 64, 3) for scene in scenes)


def test_the_subject_is_small_or_cut_off_or_covered_but_never_lost(blocks):
    seen = [
        coloured(blocks.scene("panda", np.random.default_rng(seed)).image, MAGENTA)
        for seed in range(150)
    ]
    assert 0.12 < min(seen) < 0.25  # a quarter is the smallest subject, in full view
    assert 0.4 < max(seen) <= 0.7


def test_there_is_no_subject_where_there_should_be_none(blocks):
    surface = Image.new("RGB", (64, 64), (90, 90, 90))
    for seed in range(20):
        for image in (
            blocks.empty(np.random.default_rng(seed)),
            blocks.texture(surface, np.random.default_rng(seed)),
        ):
            assert coloured(image, MAGENTA) < 0.01
    crowds = [coloured(blocks.empty(np.random.default_rng(seed)), GREEN) for seed in range(20)]
    assert np.mean(crowds) > 0.03


def test_the_crowd_of_a_subject_is_the_crowd_of_an_empty_scene(world):
    """The subject is pasted last: far from it both images show the same."""
    for seed in range(10):
        scene = world.scene("strawberry", np.random.default_rng(seed)).image.astype(int)
        empty = world.empty(np.random.default_rng(seed)).astype(int)
        changed = (np.abs(scene - empty).max(axis=-1) > 50).mean()
        assert 0.03 < changed < 0.5


def test_a_photographed_thing_is_cut_out_of_its_black(world):
    picture = Image.new("L", (28, 28), 0)
    picture.paste(220, (6, 6, 22, 22))
    image = world.single(picture, np.random.default_rng(0))
    black = (image.max(axis=-1) < 20).mean()
    assert black < 0.1
    assert coloured(image, (220, 220, 220)) > 0.03


def test_the_camera_saves_a_jpeg(world):
    scene = Image.fromarray(world.empty(np.random.default_rng(3)))
    kept = photographed(scene, np.random.default_rng(0), Crowding(blur=(0, 0), quality=(60, 60)))
    data = io.BytesIO()
    scene.save(data, "JPEG", quality=60)
    np.testing.assert_array_equal(kept, np.asarray(Image.open(data).convert("RGB")))
    sharp = np.asarray(scene, int)
    blurred = photographed(scene, np.random.default_rng(0), Crowding(blur=(2, 2), quality=(95, 95)))
    assert (
        np.abs(np.diff(blurred.astype(int), axis=0)).mean() < np.abs(np.diff(sharp, axis=0)).mean()
    )

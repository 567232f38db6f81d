"""Making a detector of names, of images and of a directory: what is mined, loaded and refused."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from bundling import WORDS, tiny_bundle
from colours import ColourEncoder, picture
from small_detector import COLOUR_BUNDLE, ColourBundle, colour_detector
from synood import OODDetector
from synood.errors import CheckpointError, InputError
from synood.labels.wordnet import Word
from synood.models.bundles import load_bundle

pytestmark = pytest.mark.numerical


def test_negatives_are_mined_from_the_bundles_words_far_from_the_classes():
    mined = OODDetector.from_classes(["red", "yellow"], COLOUR_BUNDLE, share=0.3, quantile=1.0)
    texts = [word.text for word in ColourBundle.candidates if word.text not in ("red", "yellow")]
    features = ColourEncoder().encode_texts([f"a photo of a {text}" for text in texts])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    closeness = (features @ mined.class_features.T).max(axis=1)
    nearest_two = {f"a photo of a {texts[row]}" for row in np.argsort(closeness)[:2]}
    assert set(mined.negative_prompts) == nearest_two
    assert mined.prompt_set == "photo"


def test_mining_that_keeps_nothing_is_said():
    with pytest.raises(InputError, match="mining kept none; give more words or a larger "):
        OODDetector.from_classes(["red"], COLOUR_BUNDLE, share=0.01)


def test_a_detector_from_a_real_bundle_on_disk(tmp_path):
    bundle = load_bundle(tiny_bundle(tmp_path / "bundle"))
    made = OODDetector.from_classes(["cat", "dog"], bundle, share=0.5)
    assert len(made.negative_prompts) == (len(WORDS) - 1) // 2 + 1
    assert "a mossy photo" in made.negative_prompts or "a brisk photo" in made.negative_prompts
    assert "a photo of a cat" not in made.negative_prompts
    encoder = bundle.encoder()
    image = picture("red", 40)
    expected = made.score_features(encoder.encode_images([image]))  # another batch size
    np.testing.assert_allclose(made.score(image), expected, rtol=1e-4)


def test_given_negatives_take_the_template_unless_they_have_it(tmp_path):
    given = ["blue", " cyan ", "blue", "a photo of a yellow", Word("pale", "adjective", "")]
    expected = ["a photo of a blue", "a photo of a cyan", "a photo of a yellow", "a pale photo"]
    assert list(colour_detector(negatives=given).negative_prompts) == expected
    (tmp_path / "words.txt").write_text("blue\n\ncyan\n")
    from_file = colour_detector(negatives=tmp_path / "words.txt")
    assert list(from_file.negative_prompts) == expected[:2]


def test_given_negatives_that_are_classes_are_left_out():
    made = colour_detector(negatives=["Red", "a photo of a green", "blue"])
    assert made.negative_prompts == ("a photo of a blue",)
    with pytest.raises(InputError, match="negative labels: none left"):
        colour_detector(negatives=["red"])
    with pytest.raises(InputError, match=r"absent\.txt: no such file"):
        colour_detector(negatives="absent.txt")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "the list is empty"),
        (["red", ""], "number 2 is empty"),
        (["red", "  "], "number 2 is empty"),
        (["red", "green", "red"], r"'red' is listed twice \(numbers 1 and 3\)"),
        (["Dark red", "dark  Red"], r"is listed twice \(numbers 1 and 2\)"),
        ("red", "not the one text 'red'"),
    ],
)
def test_names_that_make_no_detector_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        colour_detector(names)


def test_an_unknown_prompt_set_lists_the_known():
    with pytest.raises(InputError, match=r"prompt set 'foto' is unknown; use one of .*photo"):
        colour_detector(prompt_set="foto")


def test_the_encoder_is_loaded_late_and_must_be_the_recorded_one(tmp_path):
    root = tiny_bundle(tmp_path / "bundle")
    made = OODDetector.from_classes(["cat", "dog"], root, negatives=["rope", "bell"])
    made.save_pretrained(tmp_path / "detector")
    image = picture("red", 40)
    loaded = OODDetector.from_pretrained(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.score(image), made.score(image))

    moved = root.rename(tmp_path / "moved")
    lost = OODDetector.from_pretrained(tmp_path / "detector")
    np.testing.assert_allclose(lost.score_features(made.embed(image)), made.score(image), rtol=1e-5)
    with pytest.raises(CheckpointError, match=r"bundle\.json: no such file"):
        lost.score(image)
    found = OODDetector.from_pretrained(tmp_path / "detector", models=moved)
    np.testing.assert_array_equal(found.score(image), made.score(image))
    other = tiny_bundle(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="is not the one the detector was made with"):
        OODDetector.from_pretrained(tmp_path / "detector", models=other)


def test_fit_refuses_a_folder_without_images_before_anything_is_written(tmp_path):
    for name in ("red", "green"):
        (tmp_path / "images" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="holds no images"):
        OODDetector.fit(tmp_path / "images", run=tmp_path / "run", models=COLOUR_BUNDLE)
    with pytest.raises(InputError, match="absent"):
        OODDetector.fit(Path("absent"), run=tmp_path / "run", models=COLOUR_BUNDLE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"images": ["a.png"]}, "images: give the folder of a folder per class"),
        ({"recipe": {"a": 1}}, "recipe: give a name, a TOML file or a Recipe"),
        ({"seed": 1.5}, "seed: must be from 0 to"),
        ({"batch_size": "big"}, "batch size: must be at least 1, or 'auto', not 'big'"),
        ({"run": "s3://bucket/run"}, "is a URL"),
    ],
)
def test_fit_refuses_what_it_cannot_use_before_the_work(bundle, images, tmp_path, options, reason):
    given = {"images": images, "run": tmp_path / "run", "models": bundle, **options}
    with pytest.raises(InputError, match=reason):
        OODDetector.fit(given.pop("images"), **given)
    assert not (tmp_path / "run").exists()


def test_fit_has_the_options_and_defaults_of_the_pipeline():
    from synood.pipeline.run import fit

    own, run = (inspect.signature(call).parameters for call in (OODDetector.fit, fit))
    shared = own.keys() & run.keys() - {"recipe"}  # the pipeline's has no default
    assert run.keys() - own.keys() == {"index", "bundle", "run_dir"}
    assert {name: own[name].default for name in shared} == {
        name: run[name].default for name in shared
    }

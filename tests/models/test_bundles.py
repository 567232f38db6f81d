"""Bundles: every part loads through the real libraries, and nothing altered is opened."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bundling import CLASSES, WORDS, change_spec, tiny_bundle
from colours import ColourEncoder, picture
from synood.errors import CheckpointError, InputError
from synood.files import sha256_file
from synood.labels.wordnet import shipped_words
from synood.models.bundles import EMBEDDED, load_bundle
from synood.pipeline.recipe import resolve_recipe


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), inpainter=True)


@pytest.fixture
def root(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def test_every_part_loads_and_works(original):
    bundle = load_bundle(original)
    encoder = bundle.encoder()
    assert encoder.encode_texts(["a photo of a cat"]).shape == (1, encoder.dim)
    assert bundle.classifier().class_names == CLASSES
    assert bundle.inpainter().image_size == 32
    assert bundle.describer(encoder).describe([picture("red")], ["cat"])[0] in "rope lamp river"
    assert bundle.name == "tiny"


def test_words_of_the_bundle_come_before_the_shipped_ones(root):
    words = load_bundle(root).words()
    assert [word.text for word in words if word.pos == "noun"] == list(WORDS)
    assert [word.text for word in words if word.pos == "adjective"] == ["mossy", "brisk"]
    change_spec(root, words=None)
    assert load_bundle(root).words() == shipped_words()


def test_the_bundles_recipe_fits_the_recipe_room(root):
    recipe = resolve_recipe("paper", load_bundle(root).recipe_defaults)
    assert recipe.select.per_class == 3
    assert recipe.mining.prompt_set == "photo"
    change_spec(root, recipe={"mining": {"prompt_set": "released"}})
    recipe = resolve_recipe("paper", load_bundle(root).recipe_defaults)
    assert recipe.mining.prompt_set == "released"


def test_a_bundle_without_classifier_says_none_and_without_describer_says_so(root):
    change_spec(root, classifier=None, describer=None, inpainter=None)
    bundle = load_bundle(root)
    assert bundle.classifier() is None
    with pytest.raises(InputError, match=r"bundle\.json: has no 'describer'"):
        bundle.describer(ColourEncoder())
    with pytest.raises(InputError, match=r"bundle\.json: has no 'inpainter'"):
        bundle.inpainter()


def test_a_describer_may_be_a_file(root):
    (root / "texts.jsonl").write_text('{"id": "a.jpg", "text": "a rope"}\n')
    change_spec(root, describer={"type": "file", "path": "texts.jsonl"}, files=None)
    bundle = load_bundle(root)
    assert bundle.describer(ColourEncoder()).texts(["a.jpg"]) == ["a rope"]


LOADERS = {
    "encoder": lambda bundle: bundle.encoder(),
    "classifier": lambda bundle: bundle.classifier(),
    "inpainter": lambda bundle: bundle.inpainter(),
    "vocabulary.txt": lambda bundle: bundle.describer(ColourEncoder()),
    "words.tsv": lambda bundle: bundle.words(),
}
FILES = [
    ("encoder", "encoder/model.safetensors"),
    ("encoder", "encoder/merges.txt"),
    ("classifier", "classifier/preprocessor_config.json"),
    ("inpainter", "inpainter/unet/diffusion_pytorch_model.safetensors"),
    ("inpainter", "inpainter/scheduler/scheduler_config.json"),
    ("vocabulary.txt", "vocabulary.txt"),
    ("words.tsv", "words.tsv"),
]


@pytest.mark.parametrize(("part", "name"), FILES)
def test_an_altered_file_is_refused_by_name(root, part, name):
    data = bytearray((root / name).read_bytes())
    data[-1] ^= 1
    (root / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: altered"):
        LOADERS[part](load_bundle(root))


@pytest.mark.parametrize(("part", "name"), FILES)
def test_a_missing_file_is_refused_by_name(root, part, name):
    (root / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing"):
        LOADERS[part](load_bundle(root))


def test_a_missing_part_is_refused_by_name(root):
    shutil.rmtree(root / "classifier")
    with pytest.raises(CheckpointError, match="classifier: missing; restore"):
        load_bundle(root).classifier()


def test_a_file_that_is_not_listed_is_refused_but_papers_are_not_looked_at(root):
    (root / "encoder" / "README.md").write_text("changed")
    (root / "encoder" / "LICENSE").write_text("new")
    assert load_bundle(root).encoder()
    (root / "encoder" / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: not listed"):
        load_bundle(root).encoder()


def test_a_link_out_of_the_bundle_is_refused(root, tmp_path):
    weights = root / "encoder" / "model.safetensors"
    shutil.move(weights, tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is a link out of the bundle"):
        load_bundle(root).encoder()


@pytest.mark.parametrize("name", ["../outside", "/etc", "a/../../b", "..", ""])
def test_a_path_out_of_the_bundle_is_refused(root, name):
    change_spec(root, encoder={"type": "clip", "path": name})
    with pytest.raises(CheckpointError, match="is not inside the bundle"):
        load_bundle(root).encoder()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "`schema` must be 1"),
        ({"schema": None}, "`schema` must be 1"),
        ({"nmae": "x"}, "unknown field 'nmae'"),
        ({"name": None}, "needs a `name`"),
        ({"encoder": None}, "needs a `name` and an `encoder`"),
        ({"encoder": "clip"}, "`encoder` must be an object"),
        ({"encoder": {"type": "blip", "path": "x"}}, "`encoder.type` is 'blip'"),
        ({"encoder": {"type": "clip"}}, "`encoder` needs exactly one of `path`, `id`"),
        ({"encoder": {"type": "clip", "path": "x", "id": "y"}}, "exactly one of `path`, `id`"),
        ({"describer": {"type": "tagger"}}, "`describer` needs exactly one of `vocabulary`"),
        ({"encoder": {"path": "x", "colour": "y"}}, "`encoder` has no field 'colour'"),
        ({"files": []}, "`files` must be an object"),
        ({"recipe": 3}, "`recipe` must be an object"),
    ],
)
def test_a_bundle_that_cannot_be_used_names_file_and_field(root, changes, message):
    change_spec(root, **changes)
    with pytest.raises(CheckpointError, match=rf"bundle\.json: .*{message}"):
        load_bundle(root)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent/bundle\.json: no such file; give 'mini'"):
        load_bundle(tmp_path / "absent")
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(InputError, match=r"bundle\.json: not readable as JSON"):
        load_bundle(tmp_path)
    (tmp_path / "bundle.json").write_text("[]")
    with pytest.raises(CheckpointError, match="`schema`"):
        load_bundle(tmp_path)


def test_the_papers_bundle_without_a_hub_is_one_sentence():
    bundle = load_bundle("paper")
    assert bundle.prompt_set == "neglabel"
    for load in (bundle.encoder, bundle.classifier, lambda: bundle.describer(None)):
        with pytest.raises(
            CheckpointError, match="no complete checkpoint in the local cache"
        ) as caught:
            load()
        assert "\n" not in str(caught.value)


def test_a_directory_of_ones_own_needs_no_hashes_and_is_told_apart_by_contents(root):
    change_spec(root, files=None)
    prints = [load_bundle(root).fingerprint]
    for name in ("vocabulary.txt", "encoder/merges.txt", "words.tsv"):
        assert load_bundle(root).fingerprint == prints[-1]
        (root / name).write_text("another\n")
        prints.append(load_bundle(root).fingerprint)
    assert len(set(prints)) == 4
    assert load_bundle(root).classifier().class_names == CLASSES


def test_the_fingerprint_follows_the_spec_and_not_the_place(root, original):
    assert load_bundle(root).fingerprint == load_bundle(original).fingerprint
    change_spec(root, prompts="neglabel")
    assert load_bundle(root).fingerprint != load_bundle(original).fingerprint


def test_a_copy_elsewhere_encodes_alike(root, original):
    first, second = (load_bundle(place).encoder() for place in (root, original))
    assert first.fingerprint == second.fingerprint
    image = [picture("green", 40)]
    np.testing.assert_array_equal(first.encode_images(image), second.encode_images(image))


def test_finding_a_bundle_loads_neither_torch_nor_transformers():
    code = (
        "import sys; from synood.models.bundles import load_bundle; load_bundle('paper');"
        "sys.exit(bool({'torch', 'transformers', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_part_may_be_an_embedded_bundles(root):
    """By a change of the name, where `painter` stands for `inpainter`, or in bundle.json."""
    bundle = load_bundle("photo+painter=mini")
    assert bundle.name == "photo+inpainter=mini"
    assert bundle.spec["inpainter"] == {"path": "mini:inpainter"}
    assert bundle.inpainter().image_size == 64
    assert bundle.fingerprint != load_bundle("photo").fingerprint
    change_spec(root, inpainter={"path": "mini:inpainter"})
    own = load_bundle(root)
    assert own.inpainter().image_size == 64
    files = own.foreign_files("inpainter")
    assert files["mini:inpainter/model_index.json"] == sha256_file(
        EMBEDDED["mini"] / "inpainter" / "model_index.json"
    )
    with pytest.raises(InputError, match="bundle 'photo' has no 'inpainter'"):
        load_bundle("mini+painter=photo")


@pytest.mark.parametrize("place", ["mini:../photo/encoder", "mini:/etc", "mini:", "mini:nothing"])
def test_a_place_outside_the_embedded_bundle_is_refused(root, place):
    change_spec(root, inpainter={"path": place})
    with pytest.raises(CheckpointError):
        load_bundle(root).inpainter()

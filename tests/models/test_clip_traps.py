"""Known traps of CLIP in transformers 5, and the layout of OpenAI's repositories on the hub."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hub_cache
import tiny
from synood.errors import InputError
from synood.models.bundles import load_bundle
from synood.models.clip import ClipEncoder
from synood.models.precision import chosen_dtype

pytestmark = pytest.mark.numerical

PROMPTS = ["the nice cat", "the nice tree", "a photo of a zebra crossing the only river", "dog"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.tiny_clip(tmp_path_factory.mktemp("clip"))


def test_the_libraries_features_are_objects_and_ours_are_arrays(directory):
    encoder = ClipEncoder.from_pretrained(directory)
    ids = torch.tensor(encoder._tokenizer(["cat"])["input_ids"])
    theirs = encoder._model.get_text_features(input_ids=ids)
    assert not isinstance(theirs, torch.Tensor)  # what the adapter is there for
    np.testing.assert_allclose(encoder.encode_texts(["cat"]), theirs.pooler_output, atol=1e-6)


def as_openai(directory):
    """Ids that no vocabulary has, old preprocessing, a pickle with tensors that are no weights."""
    config = json.loads((directory / "config.json").read_text())
    config["text_config"] |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    (directory / "config.json").write_text(json.dumps(config))
    steps = json.loads((directory / "preprocessor_config.json").read_text())
    size = steps["size"]["shortest_edge"]
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": size, "crop_size": size}
    kept = ("do_center_crop", "do_normalize", "do_resize", "image_mean", "image_std", "resample")
    old |= {key: steps[key] for key in kept}
    (directory / "preprocessor_config.json").write_text(json.dumps(old))
    tensors = load_file(directory / "model.safetensors")
    for tower in ("text_model", "vision_model"):
        tensors[f"{tower}.embeddings.position_ids"] = torch.arange(9)[None]
    torch.save(tensors, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    return directory


def test_the_layout_of_openais_repositories_gives_the_same_features(directory, tmp_path):
    """Text features are read at the end token, though such a configuration calls it 2."""
    expected = ClipEncoder.from_pretrained(directory)
    openai = as_openai(tiny.tiny_clip(tmp_path / "clip"))
    digest = hub_cache.blob_name(openai / "pytorch_model.bin")
    hub_cache.put(tmp_path / "hub", hub_cache.LISTED, openai, hub_cache.COMMIT)
    with (
        hub_cache.using_cache(tmp_path / "hub"),
        hub_cache.table_of(tmp_path, pytorch_model__bin=digest),
    ):
        found = load_bundle(f"mini+encoder={hub_cache.LISTED}").encoder()
    picture = [Image.linear_gradient("L").convert("RGB").resize((90, 60))]
    np.testing.assert_allclose(
        found.encode_texts(PROMPTS), expected.encode_texts(PROMPTS), atol=1e-5
    )
    np.testing.assert_allclose(
        found.encode_images(picture), expected.encode_images(picture), atol=1e-5
    )


def test_short_prompts_cost_what_they_are_long(directory, monkeypatch):
    """The features are those of full padding (see test_clip); here is what is computed for them."""
    encoder = ClipEncoder.from_pretrained(directory)
    seen = []
    whole = encoder._model.get_text_features
    monkeypatch.setattr(
        encoder._model,
        "get_text_features",
        lambda **inputs: seen.append(inputs["input_ids"].numel()) or whole(**inputs),
    )
    prompts = [f"the nice {name}" for name in ("cat", "dog", "tree", "photo") * 64]
    encoder.encode_texts([*prompts, "this is a photo of the only nice tree"], batch_size=64)
    assert sum(seen) < 0.1 * 77 * (len(prompts) + 1)


def test_a_prompt_of_the_full_context_is_taken_and_one_more_is_not(directory):
    encoder = ClipEncoder.from_pretrained(directory)
    assert encoder.encode_texts(["tree " * 75]).shape == (1, 16)
    with pytest.raises(InputError, match="takes 78 tokens and the text tower 77; shorten it"):
        encoder.encode_texts(["tree " * 76])


@pytest.mark.parametrize("name", ["bfloat16", "float16", "auto"])
def test_the_precision_of_the_weights_is_chosen_by_name(directory, name):
    single = load_bundle(f"mini+encoder={directory}").encoder()
    encoder = load_bundle(f"mini+encoder={directory}+encoder.dtype={name}").encoder()
    assert encoder._model.dtype == chosen_dtype(name, "cpu")
    assert encoder.logit_scale == pytest.approx(single.logit_scale, rel=1e-2)
    one, two = encoder.encode_texts(PROMPTS), single.encode_texts(PROMPTS)
    assert one.dtype == np.float32
    similar = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    assert similar.min() > 0.99
    assert (encoder.fingerprint == single.fingerprint) == (name == "auto")


def test_a_precision_that_is_not_known_is_refused(directory):
    with pytest.raises(InputError, match="dtype 'int4': is not one of auto, float32, bfloat16"):
        load_bundle(f"mini+encoder={directory}+encoder.dtype=int4").encoder()


def test_auto_is_half_precision_where_the_accelerator_has_it(monkeypatch):
    assert chosen_dtype("auto", "cpu") == torch.float32
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda: True)
    assert chosen_dtype("auto", "xpu") == torch.bfloat16
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda: False)
    assert chosen_dtype("auto", "xpu:0") == torch.float32

"""A local multimodal model answers alike alone and in a batch, without torchvision."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_chat
from bundling import change_spec, tiny_bundle
from colours import ColourEncoder
from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.describer import NoDescription
from synood.models.image_text import ImageTextDescriber

pytestmark = pytest.mark.numerical

MAKERS = {
    "llava": tiny_chat.tiny_llava,
    "qwen": tiny_chat.tiny_qwen,
    "qwen3": tiny_chat.tiny_qwen3,
    "smolvlm": tiny_chat.tiny_smolvlm,
    "idefics3": tiny_chat.tiny_idefics3,
}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def checkpoint(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


def pictures(count=5):
    rng = np.random.default_rng(0)
    sizes = [(24, 40), (40, 24), (32, 32), (17, 51), (64, 48)]
    return [
        Image.fromarray(rng.integers(0, 256, (*sizes[i % 5], 3), np.uint8)) for i in range(count)
    ]


NAMES = ["dog", "red panda", "a very long name of a class", "ant", "tree"]


def last_logits(describer, images, names):
    """What the model thinks comes after each question, (N, vocabulary)."""
    with torch.inference_mode():
        return describer._model(**describer._inputs(images, names)).logits[:, -1].numpy()


def test_answers_do_not_depend_on_the_batch(checkpoint):
    describer = ImageTextDescriber.from_pretrained(str(checkpoint))
    images = pictures()
    together = last_logits(describer, images, NAMES)
    for row, image in enumerate(images):
        alone = last_logits(describer, [image], [NAMES[row]])
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)
    one_question = last_logits(describer, images, ["dog"] * 5)
    assert len({row.tobytes() for row in one_question}) == 5  # it looks at the pictures


def test_an_answer_holds_nothing_of_the_question(checkpoint):
    describer = ImageTextDescriber.from_pretrained(str(checkpoint), batch_size=2)
    describer._question = replace(describer._question, max_tokens=12)
    said = [text for text, _ in describer._answers(pictures(3), NAMES[:3])]
    assert len(said) == 3
    assert all(0 < len(answer.encode()) < 80 and "USER" not in answer for answer in said)


def test_the_first_token_is_the_likeliest_one(checkpoint):
    describer = ImageTextDescriber.from_pretrained(str(checkpoint))
    describer._question = replace(describer._question, max_tokens=1)
    inputs = describer._inputs(pictures(1), NAMES[:1])
    logits = describer._model(**inputs).logits[0, -1]
    tokenizer = describer._processor.tokenizer
    expected = tokenizer.decode([int(logits.argmax())], skip_special_tokens=True)
    whole = int(logits.argmax()) == tokenizer.eos_token_id
    assert describer._answers(pictures(1), NAMES[:1]) == [(expected, whole)]


def test_every_image_has_a_short_line_or_a_reason_and_torchvision_stays_away(checkpoint):
    describer = ImageTextDescriber.from_pretrained(str(checkpoint), batch_size=2)
    found = describer.describe(pictures(3), NAMES[:3], ["a", "b", "c"])
    assert len(found) == 3
    for name, text in zip("abc", found, strict=True):
        if isinstance(text, NoDescription):  # a random model writes what comes
            assert text.reason.startswith(f"{name}: no description: the answer")
        else:
            assert text.isascii()
    assert describer.describe([], []) == []
    assert "torchvision" not in sys.modules


def test_answers_are_read_and_those_cut_short_up_to_the_last_whole_item(checkpoint):
    describer = ImageTextDescriber.from_pretrained(str(checkpoint))
    assert describer._read(("<think>hm</think>sofa, lamp", True), "dog") == "sofa, lamp"
    assert describer._read(("sofa, lamp, ru", False), "dog") == "sofa, lamp"
    assert "refused" in describer._read(("I'm sorry, I can't.", True), "dog").reason


def test_an_image_that_the_processor_refuses_stops_no_other(tmp_path):
    describer = ImageTextDescriber.from_pretrained(str(tiny_chat.tiny_qwen(tmp_path)))
    good, strip = pictures(2), Image.new("RGB", (1200, 4))
    found = describer.describe([good[0], strip, good[1]], NAMES[:3], ["a", "b", "c"])
    assert found[1].reason.startswith("b: no description: the model does not take the image (abs")
    assert [found[0], found[2]] == describer.describe(good, [NAMES[0], NAMES[2]], ["a", "c"])
    (alone,) = describer.describe([strip], ["dog"], ["b"])
    assert alone == found[1]


def test_the_id_follows_weights_question_and_precision(tmp_path):
    one = tiny_chat.tiny_llava(tmp_path / "one")
    other = tiny_chat.tiny_llava(tmp_path / "other", seed=1)
    ids = [ImageTextDescriber.from_pretrained(str(path)).id for path in (one, one, other)]
    assert ids[0] == ids[1] != ids[2]
    half = ImageTextDescriber.from_pretrained(str(one), dtype="bfloat16")
    assert half.id != ids[0]
    assert half._model.dtype == torch.bfloat16
    assert len(half.describe(pictures(1), ["dog"])) == 1


def test_what_cannot_be_used_is_named(tmp_path):
    mute = tiny_chat.tiny_llava(tmp_path / "mute", template=False)
    with pytest.raises(CheckpointError, match="has no chat template"):
        ImageTextDescriber.from_pretrained(str(mute))
    with pytest.raises(CheckpointError, match="no complete checkpoint there"):
        ImageTextDescriber.from_pretrained(str(tmp_path / "absent"))
    with pytest.raises(InputError, match="question 'why' is unknown"):
        ImageTextDescriber.from_pretrained(str(mute), question="why")
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        ImageTextDescriber.from_pretrained(str(mute), batch_size=0)


def test_a_bundle_brings_one_or_has_its_describer_exchanged(tmp_path):
    root, model = tiny_bundle(tmp_path / "bundle"), tiny_chat.tiny_llava(tmp_path / "model")
    exchanged = load_bundle(f"{root}+describer={model}").describer(ColourEncoder())
    change_spec(root, describer={"type": "image-text", "id": str(model), "batch_size": 3})
    own = load_bundle(root).describer(ColourEncoder())
    assert isinstance(exchanged, ImageTextDescriber)
    assert own.id == exchanged.id
    assert own._batch_size == 3
    paper = load_bundle("paper").spec["describer"]
    assert (paper["type"], paper["id"]) == ("image-text", "llava-hf/llava-1.5-7b-hf")

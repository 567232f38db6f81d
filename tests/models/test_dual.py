"""The mini bundle's encoder: folded weights, packed rows, padding, too long texts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synood.errors import CheckpointError, InputError
from synood.mini.artwork import Artwork
from synood.mini.suite import ARTWORK
from synood.mini.world import World
from synood.models.bundles import EMBEDDED
from synood.models.dual import DualEncoder
from synood.models.efficientnet_lite import EfficientNetLite0, fold_batch_norms
from synood.models.sentences import pack_rows, unpack_rows

pytestmark = pytest.mark.numerical

ROWS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def encoder():
    return DualEncoder.from_pretrained(EMBEDDED["mini"] / "encoder")


def unfolded(folded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A checkpoint in the package's layout whose folding must give `folded` back."""
    state = {}
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    parts = {"expand": "0", "depthwise": "1", "project": "2"}
    for key in {name.rpartition(".")[0] for name in folded}:
        if key.startswith("blocks"):
            _, index, part = key.split(".")
            conv, norm = f"_blocks.{index}._{part}_conv", f"_blocks.{index}._bn{parts[part]}"
        else:
            conv, norm = names[key]
        bias = folded[f"{key}.bias"]
        gain = torch.linspace(0.5, 2, len(bias))
        state[f"{conv}.weight"] = folded[f"{key}.weight"] / gain[:, None, None, None]
        state[f"{norm}.weight"] = gain * torch.sqrt(torch.tensor(4.0 + 1e-3))
        state[f"{norm}.running_var"] = torch.full_like(bias, 4.0)
        state[f"{norm}.running_mean"] = torch.full_like(bias, 0.3)
        state[f"{norm}.bias"] = bias + 0.3 * gain
    return state


def test_folding_undoes_batch_normalisation():
    torch.manual_seed(0)
    plain = EfficientNetLite0().state_dict()
    folded = fold_batch_norms(unfolded(plain))
    assert folded.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(folded[name], value, atol=1e-5, rtol=1e-4)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_packed_rows_come_back_within_half_a_step(seed, size):
    rows = torch.from_numpy(np.random.default_rng(seed).normal(0, size, (5, 8)).astype(np.float32))
    back = unpack_rows(pack_rows({ROWS: rows}))[ROWS]
    step = rows.abs().amax(dim=1, keepdim=True) / 127
    assert ((back - rows).abs() <= 0.51 * step + 1e-3 * rows.abs()).all()


def test_texts_do_not_depend_on_their_neighbours(encoder):
    texts = ["a panda", "a photo of a very long and rather winding description of a panda", "key"]
    together = encoder.encode_texts(texts)
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_images_do_not_depend_on_their_neighbours(encoder):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(5)]
    together = encoder.encode_images(images, batch_size=2)
    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_pixels_and_images_agree(encoder):
    """Both ways into the encoder resize a square picture alike."""
    world = World(Artwork.load(ARTWORK))
    image = Image.fromarray(world.scene("panda", np.random.default_rng(0)).image)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
    one = encoder.encode_images([image])[0]
    other = encoder.encode_pixels(pixels)[0].numpy()
    assert (
        one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.995
    )  # rounding to bytes between the steps is all that differs


def test_gradient_passes_to_the_pixels(encoder):
    pixels = torch.rand(1, 3, 64, 64, requires_grad=True)
    encoder.encode_pixels(pixels).square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


def test_too_long_a_text_is_refused(encoder):
    with pytest.raises(InputError, match="the text tower takes 512"):
        encoder.encode_texts(["word " * 600])


def test_nothing_gives_nothing(encoder):
    assert encoder.encode_texts([]).shape == (0, encoder.dim)
    assert encoder.encode_images([]).shape == (0, encoder.dim)


def test_missing_tensor_is_refused(tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(EMBEDDED["mini"] / "encoder", tmp_path / "encoder")
    file = tmp_path / "encoder" / "model.safetensors"
    state = load_file(file)
    del state["image_map.bias"]
    save_file(state, file)
    with pytest.raises(CheckpointError, match=r"image_map\.bias"):
        DualEncoder.from_pretrained(tmp_path / "encoder")


def test_the_mean_over_the_cells_is_the_picture(encoder):
    rng = np.random.default_rng(3)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)) for _ in range(3)
    ]
    cells = encoder.encode_image_patches(pictures, batch_size=2)
    assert cells.shape == (3, 9, encoder.dim)
    assert cells.mean(axis=1) == pytest.approx(encoder.encode_images(pictures), abs=1e-4)
    assert encoder.encode_image_patches([]).shape == (0, 9, encoder.dim)

"""The paper's models at full size with random weights, loaded offline by id, through `synood fit`.

Minutes and some gigabytes of disk, which are given back. What is smaller than in the paper is
said where it is set: pictures, steps, rounds, the classifier's classes, negatives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import full_size
import hub_cache
from synood.files import read_jsonl
from synood.models.catalog import catalog
from synood.models.image_text import ImageTextDescriber

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("cat", "dog")  # the classifier's head is as wide; the paper's has 1,000
# the catalog's hashes are those of the trained weights, so another revision is asked for
MODELS = "paper+encoder.revision=main+classifier.revision=main"
ENCODER, PAINTER, CLASSIFIER = (
    "openai/clip-vit-base-patch16",
    "sd2-community/stable-diffusion-2-inpainting",
    "microsoft/resnet-50",
)
DESCRIBER = "llava-hf/llava-1.5-7b-hf"
LAYERS = 2  # of LLaVA's 32, for 7 billion weights take 14 GB
PARAMETERS = {"unet": 866e6, "text_encoder": 340e6, "vae": 83.6e6}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A hub cache with the three checkpoints under the ids of the real ones; deleted at the end."""
    root = tmp_path_factory.mktemp("hub")
    made, cache = root / "made", root / "cache"
    hub_cache.put(cache, ENCODER, full_size.clip_vit_b16(made / "encoder"))
    hub_cache.put(cache, CLASSIFIER, full_size.resnet_50(made / "classifier", CLASSES))
    painter = full_size.stable_diffusion_2(made / "painter", torch.bfloat16)
    hub_cache.put(cache, PAINTER, painter, catalog()[PAINTER].revision)
    yield cache
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC)
            picture.save(root / name / f"{number}.jpg")
    return root


def synood(*arguments, cache):
    """Run the real command line with the cache as the only hub; return what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "synood", *map(str, arguments)]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    print(f"synood {arguments[0]}: {time.monotonic() - start:.0f} s")  # noqa: T201
    return done.stdout


def test_two_pictures_go_through_every_stage_at_512_pixels(cache, images, tmp_path):
    contexts = tmp_path / "contexts.jsonl"
    rows = [{"id": f"{name}/{n}.jpg", "text": "a red sofa"} for name in CLASSES for n in range(2)]
    contexts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    negatives = tmp_path / "negatives.txt"
    negatives.write_text("".join(f"word number {number}\n" for number in range(40)))
    out = tmp_path / "run"
    synood(
        "fit", images, "--out", out, "--models", MODELS, "--device", "cpu",
        "--descriptions", contexts, "--negatives", negatives, "--batch-size", 1, "--per-class", 1,
        "--set", "guidance.num_inference_steps=4", "--set", "guidance.rounds=2",
        cache=cache,
    )  # fmt: skip
    pictures = sorted((out / "synthesize").rglob("*.png"))
    assert len(pictures) == 2
    for path in pictures:
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (512, 512, 3)
        assert pixels.std() > 1
    rows = [row for path in (out / "synthesize").rglob("rows.jsonl") for row in read_jsonl(path)]
    for row in rows:
        assert len(row["losses"]) == 2
        assert np.isfinite(row["losses"]).all()
    (record,) = [row for row in read_jsonl(out / "events.jsonl") if "images_per_hour" in row]
    print(record)  # noqa: T201
    assert record["dtype"] == "float32"  # what `auto` is on a CPU
    config = json.loads((out / "detector" / "config.json").read_text())
    assert CLASSIFIER in (out / "run.toml").read_text()
    assert "linear probe" not in (out / "run.toml").read_text()
    assert config["backbone"]["bundle"].startswith("paper+encoder.revision=main")
    verdicts = synood(
        "score", out / "detector", images / "cat", "--format", "jsonl", "--device", "cpu",
        cache=cache,
    )  # fmt: skip
    assert len(verdicts.splitlines()) == 2


def test_the_architectures_have_the_published_numbers_of_weights(cache):
    from safetensors import safe_open

    folder = cache / f"models--{PAINTER.replace('/', '--')}" / "snapshots"
    for part, expected in PARAMETERS.items():
        (file,) = folder.glob(f"*/{part}/*.safetensors")
        with safe_open(file, "pt") as tensors:
            shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
        assert sum(int(np.prod(shape)) for shape in shapes) == pytest.approx(expected, rel=0.01)


def test_llava_answers_at_its_own_widths(tmp_path):
    cache = tmp_path / "cache"
    hub_cache.put(cache, DESCRIBER, full_size.llava(tmp_path / "made", LAYERS))
    with hub_cache.using_cache(cache):
        describer = ImageTextDescriber.from_pretrained(DESCRIBER, revision="main", device="cpu")
        image = Image.fromarray(np.full((480, 640, 3), 90, np.uint8))
        texts = describer.describe([image], ["cat"])
    assert sum(weight.numel() for weight in describer._model.parameters()) > 900e6
    assert len(texts) == 1
    shutil.rmtree(cache)

"""The paper's bundle from a local hub cache: with HF_HUB_OFFLINE=1 nobody tries the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import hub_cache
import tiny
from tiny_encoders import tiny_siglip
from tiny_resnet_clip import tiny_resnet_clip

if TYPE_CHECKING:
    from pathlib import Path

# Refuses and records whatever goes out, also where a library would swallow the refusal.
GUARD = """
import json, sys
tried = []
def refuse(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        tried.append([event, repr(details)])
        raise OSError("the network was tried")
sys.addaudithook(refuse)
"""
PARTS = """
from synood.errors import CheckpointError
from synood.models.bundles import load_bundle
from synood import OODDetector
name = "paper{variant}+encoder.revision=main+inpainter.revision=main+classifier.revision=main"
bundle = load_bundle(name)
encoder, classifier, inpainter = bundle.encoder(), bundle.classifier(), bundle.inpainter()
detector = OODDetector.from_classes(["cat", "dog"], models=bundle, negatives=["lamp", "river"])
detector.save_pretrained("detector")
again = OODDetector.from_pretrained("detector")
found = [encoder.dim, len(classifier.class_names), inpainter.image_size, len(again.class_names)]
try:
    load_bundle("paper").encoder()  # at the pinned revision, which the cache has not
except CheckpointError as error:
    found += [str(error).count(chr(10)), "clip-vit-base-patch16" in str(error)]
"""
ASK = """
from huggingface_hub import HfApi
try:
    HfApi().model_info("openai/clip-vit-base-patch16")
except Exception:
    pass
found = []
"""
REPORT = "\nprint(json.dumps([tried, found]))"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Tiny checkpoints under the ids of the paper's bundle and of its variants."""
    root = tmp_path_factory.mktemp("offline")
    parts = {
        "openai/clip-vit-base-patch16": tiny.tiny_clip(root / "clip"),
        "openai/clip-vit-base-patch32": tiny.tiny_clip(root / "clip32", seed=1),
        "timm/resnet50_clip.openai": tiny_resnet_clip(root / "rn50"),
        "google/siglip-base-patch16-224": tiny_siglip(root / "siglip"),
        "sd2-community/stable-diffusion-2-inpainting": tiny.tiny_inpainting(root / "inpainter"),
        "microsoft/resnet-50": tiny.tiny_resnet(root / "resnet", ["cat", "dog", "tree"]),
    }
    for repo_id, directory in parts.items():
        hub_cache.put(root / "hub", repo_id, directory)
    return root / "hub"


def run(code: str, cache: Path, offline: str, cwd: Path) -> tuple[list[list[str]], list[int]]:
    """What a fresh interpreter tried of the network, and what it found."""
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": offline}
    done = subprocess.run(
        [sys.executable, "-c", GUARD + code + REPORT],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tried, found = json.loads(done.stdout.splitlines()[-1])
    return tried, found


@pytest.mark.parametrize(
    ("variant", "dim"),
    [
        ("", 16),
        pytest.param("+encoder=timm/resnet50_clip.openai", 24, marks=pytest.mark.slow),
        pytest.param("+encoder=google/siglip-base-patch16-224", 16, marks=pytest.mark.slow),
    ],
)
def test_every_part_loads_by_id_without_the_network(cache, tmp_path, variant, dim):
    tried, found = run(PARTS.replace("{variant}", variant), cache, "1", tmp_path)
    assert tried == []
    assert found == [dim, 3, 32, 2, 0, True]


def test_the_guard_sees_a_call(cache, tmp_path):
    tried, _ = run(ASK, cache, "0", tmp_path)
    assert "huggingface.co" in str(tried)

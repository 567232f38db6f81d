"""Assembles the bundle `photo`, with hashes and a card, from what `tools.photo.fetch` left.

    python -m tools.photo.assemble --work DIR [--out src/synood/mini/photo]

The same inputs give the same bytes on one machine.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synood.files import (
    read_json,
    replacing,
    replacing_directory,
    sha256_file,
    write_json,
    write_text,
)
from synood.images.decoding import read_image
from synood.labels.imagenet import imagenet_classes
from synood.labels.prompts import find_prompt_set
from synood.models.bundles import EMBEDDED, load_bundle
from synood.models.dual import CONFIG, MEAN, SCHEMA, STD
from synood.models.efficientnet_lite import EfficientNetLite0, fold_batch_norms
from synood.models.photo import preprocess_of
from synood.models.sentences import (
    KNOWN,
    KNOWN_TEXTS,
    TENSORS,
    SentenceTower,
    pack_sentences,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
PROMPTS = "photo"
CROPS = 64  # of each photograph, for the mean of the image features
SETTINGS = {"image_size": 224, "resize": 256}


def sentence_tower() -> SentenceTower:
    """Return the sentence model that ships with the bundle `mini`."""
    return SentenceTower(EMBEDDED["mini"] / "encoder" / "text")


def network(weights: Path) -> tuple[EfficientNetLite0, Tensor, Tensor]:
    """Return the authors' network, batch norms folded, and its classifier's weight and bias."""
    state = torch.load(weights, weights_only=True)
    tower = EfficientNetLite0()
    tower.load_state_dict(fold_batch_norms(state))
    return tower.eval(), state["_fc.weight"], state["_fc.bias"]


@torch.inference_mode()
def mean_features(tower: EfficientNetLite0, photographs: Path, seed: int = 0) -> Tensor:
    """Return the mean of the network's features (1280,) over random crops of photographs."""
    steps = preprocess_of(SETTINGS)
    rng = np.random.default_rng(seed)
    means = []
    for path in sorted(photographs.iterdir()):
        image = read_image(path)
        crops = []
        for _ in range(CROPS):
            side = int(min(image.size) * rng.uniform(0.4, 1.0))
            left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
            crop = image.crop((left, top, left + side, top + side))
            crops.append(torch.from_numpy(steps.pixels(crop)))
        means.append(tower((torch.stack(crops) - MEAN) / STD).mean(dim=0))
    return torch.stack(means).mean(dim=0)


def write_encoder(work: Path, folder: Path) -> None:
    """Write network, classifier, mean and text side in float16, and the configuration."""
    from safetensors.torch import save_file

    tower, weight, bias = network(work / "efficientnet-lite0.pth")
    names = [f"a photo of a {known.openai}" for known in imagenet_classes()]
    tensors = {
        **{f"tower.{name}": value for name, value in tower.state_dict().items()},
        "classifier.weight": weight,
        "classifier.bias": bias,
        "image_mean": mean_features(tower, work / "photographs"),
        "anchors": sentence_tower().encode(names),
        "log_scale": torch.tensor(3.0),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / TENSORS) as part:
        save_file({name: value.half().contiguous() for name, value in tensors.items()}, part)
    config = {"schema": SCHEMA, "name": "photo", "dim": tower.dim, **SETTINGS, "sharpness": 20.0}
    write_json(folder / CONFIG, config)


def write_known(folder: Path) -> None:
    """Write the sentence features of the default negative labels' prompts."""
    from safetensors.torch import save_file

    words = load_bundle("mini").words()
    prompts = find_prompt_set(PROMPTS)
    texts = [text for word in words for text in prompts.word_prompts(word)]
    texts = list(dict.fromkeys(texts))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / KNOWN_TEXTS, "".join(f"{text}\n" for text in texts))
    with replacing(folder / KNOWN) as part:
        save_file(pack_sentences(sentence_tower().encode(texts, 32)), part)


def bundle_spec(folder: Path) -> dict[str, Any]:
    """Return bundle.json's content for the parts that lie in `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "schema": 1,
        "name": "photo",
        "encoder": {
            "type": "photo", "path": "encoder", "text": "mini:encoder/text", "known": "known",
        },
        "classifier": {"type": "photo", "path": "encoder"},
        "describer": {"type": "tagger", "vocabulary": "vocabulary.txt", "tags": 2},
        "words": "mini:words.txt",
        "prompts": PROMPTS,
        "recipe": read_json(HERE / "photo-recipe.json"),
        "files": {
            path.relative_to(folder).as_posix(): sha256_file(path)
            for path in files
            if path.name not in ("bundle.json", "README.md", "scores.json")
        },
    }  # fmt: skip


def assemble(work: Path, out: Path) -> int:
    """Write the bundle; returns its size in bytes."""
    with replacing_directory(out) as folder:
        write_encoder(work, folder / "encoder")
        write_known(folder / "known")
        shutil.copyfile(HERE / "vocabulary.txt", folder / "vocabulary.txt")
        for kept in ("README.md", "scores.json"):
            if (out / kept).is_file():
                shutil.copyfile(out / kept, folder / kept)
        write_json(folder / "bundle.json", bundle_spec(folder))
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.photo.assemble --work DIR."""
    parser = argparse.ArgumentParser(description="Assemble the bundle `photo`.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=EMBEDDED["photo"])
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    size = assemble(options.work, options.out)
    log.info("%s: %.1f MB", options.out, size / 1e6)


if __name__ == "__main__":
    main()

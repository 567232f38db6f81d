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

import torch

from synood.files import (
    read_json,
    replacing,
    replacing_directory,
    write_json,
    write_text,
)
from synood.labels.prompts import find_prompt_set
from synood.models.bundles import EMBEDDED, load_bundle
from synood.models.dual import CONFIG, SCHEMA, load_towers, read_config
from synood.models.efficientnet_lite import EfficientNetLite0, fold_batch_norms
from synood.models.photo import CLASSES, KNOWN, KNOWN_TEXTS, PhotoEncoder, PhotoTowers
from synood.models.sentences import TENSORS, pack_rows
from tools.mini.assemble import ABOUT, file_hashes
from tools.photo.text_side import RANK, SHARPNESS, TextSide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tools.photo.text_side import Bank

log = logging.getLogger(__name__)
HERE = Path(__file__).parent
PROMPTS = "photo"
SETTINGS = {"image_size": 224, "resize": 256}


def network(weights: Path) -> tuple[EfficientNetLite0, Tensor, Tensor, Tensor]:
    """Return the authors' network, its classifier's weight and bias, and the mean feature."""
    state = torch.load(weights, weights_only=True)
    tower = EfficientNetLite0()
    tower.load_state_dict(fold_batch_norms(state))
    mean = clipped_mean(state["_bn1.bias"], state["_bn1.weight"].abs())
    return tower.eval(), state["_fc.weight"], state["_fc.bias"], mean


def clipped_mean(centre: Tensor, spread: Tensor, top: float = 6.0) -> Tensor:
    """Return the mean of normal variables (centre, spread) that are clipped to [0, top] (ReLU6).

    After a batch norm a channel has over the training images the norm's bias as mean and its weight
    as deviation. So the network itself says what the mean of its pooled features was in training:
    on 998 ImageNet photographs, one a class, the mean differs from it by a sixth of its length.
    """
    low, high = (-centre / spread, (top - centre) / spread)
    below, above = torch.special.ndtr(low), 1 - torch.special.ndtr(high)
    density = (torch.exp(-(low**2) / 2) - torch.exp(-(high**2) / 2)) / (2 * torch.pi) ** 0.5
    mean: Tensor = centre * (1 - below - above) + spread * density + top * above
    return mean


def packed(tower: EfficientNetLite0, weight: Tensor, bias: Tensor, mean: Tensor, bank: Bank) -> (
    tuple[dict[str, Tensor], dict[str, object]]
):  # fmt: skip
    """Return the encoder's tensors, the text side as int8, and its configuration."""
    rows = torch.from_numpy(bank.rows)
    basis = torch.linalg.svd(rows[:CLASSES], full_matrices=False)[2][:RANK]
    state = {
        **{f"tower.{name}": value for name, value in tower.state_dict().items()},
        "classifier.weight": weight,
        "classifier.bias": bias,
        "image_mean": mean,
        "anchors": torch.from_numpy(bank.anchors),
        "log_counts": torch.from_numpy(bank.log_counts),
        "rows": rows[CLASSES:] @ basis.T,
        "basis": basis,
        "log_scale": torch.tensor(SHARPNESS).log(),
    }
    config = {
        "schema": SCHEMA, "name": "photo", "dim": tower.dim, **SETTINGS, "sharpness": SHARPNESS,
        "names": len(bank.anchors), "sentence_dim": bank.anchors.shape[1], "rank": RANK,
    }  # fmt: skip
    return pack_rows(state, ("anchors", "rows")), config


def write_encoder(work: Path, folder: Path) -> None:
    """Write network, classifier, mean and text side, and the configuration."""
    from safetensors.torch import save_file

    tower, weight, bias, mean = network(work / "efficientnet-lite0.pth")
    bank = TextSide(work / "wordnet", weight.numpy(), work).bank()
    tensors, config = packed(tower, weight, bias, mean, bank)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / TENSORS) as part:
        save_file(tensors, part)
    write_json(folder / CONFIG, config)


def write_known(encoder: Path, folder: Path) -> None:
    """Write the features of the default negative labels' prompts, in int8 steps along the basis."""
    from safetensors.torch import save_file

    words, prompts = load_bundle("mini").words(), find_prompt_set(PROMPTS)
    texts = list(dict.fromkeys(text for word in words for text in prompts.word_prompts(word)))
    made = PhotoEncoder.from_pretrained(encoder, text=EMBEDDED["mini"] / "encoder" / "text")
    features = torch.from_numpy(made.encode_texts(texts, 32))
    config = read_config(encoder)
    rows = features @ load_towers(lambda: PhotoTowers(config), encoder, "cpu").basis.T
    steps = (rows / rows.abs().amax(dim=1, keepdim=True) * 127).round().to(torch.int8)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / KNOWN_TEXTS, "".join(f"{text}\n" for text in texts))
    with replacing(folder / KNOWN) as part:
        save_file({"rows": steps}, part)


def bundle_spec(folder: Path) -> dict[str, Any]:
    """Return bundle.json's content for the parts that lie in `folder`."""
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
        "files": file_hashes(folder),
    }  # fmt: skip


def assemble(work: Path, out: Path) -> int:
    """Write the bundle; returns its size in bytes."""
    with replacing_directory(out) as folder:
        write_encoder(work, folder / "encoder")
        write_known(folder / "encoder", folder / "known")
        shutil.copyfile(HERE / "vocabulary.txt", folder / "vocabulary.txt")
        for kept in ABOUT:
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

"""Measures a bundle on photographs that Debian packages carry, from names alone.

    python -m tools.photo.evaluate --stamps DIR [--fashion DIR] [--models photo] [--out FILE]

The names are what the files are called ("cow white", "donkey eating"). Zero-shot accuracy over all
names and over the animals', and NegLabel with the bundle's own settings: animals by their names
against plants and food, things, and grey clothes (Fashion-MNIST). Intervals are 95 % over images.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from synood import OODDetector
from synood.files import write_json
from synood.labels.prompts import find_prompt_set
from synood.metrics import ood_metrics
from synood.models.bundles import load_bundle
from synood.scores import cosine_similarity
from tools.mini.photographs import read_idx
from tools.photo.stamps import photographs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.models.clip import ImageTextEncoder
    from tools.photo.stamps import Stamp

log = logging.getLogger(__name__)
CLOTHES = 1000  # of Fashion-MNIST's test images
REDRAWN = 1000  # bootstrap samples of the intervals


def accuracy(
    features: NDArray[np.float32], stamps: Sequence[Stamp], encoder: ImageTextEncoder, prompts: str
) -> dict[str, Any]:
    """Return how often an image's own name is the best, or among the five best, of all names."""
    names = sorted({stamp.name for stamp in stamps})
    texts = [row[0] for row in find_prompt_set(prompts).class_prompts(names)]
    cosines = cosine_similarity(features, encoder.encode_texts(texts))
    own = np.array([names.index(stamp.name) for stamp in stamps])
    ranks = (cosines > cosines[np.arange(len(own)), own][:, None]).sum(axis=1)
    return {
        "images": len(stamps), "names": len(names),
        "top1": _mean(ranks == 0), "top5": _mean(ranks < 5),
    }  # fmt: skip


def separation(own: NDArray[np.float32], others: NDArray[np.float32]) -> dict[str, Any]:
    """Return AUROC and FPR95 of in-distribution scores against others, with intervals."""
    rng = np.random.default_rng(0)
    found = ood_metrics(own, others)
    drawn = [
        ood_metrics(rng.choice(own, len(own)), rng.choice(others, len(others)))
        for _ in range(REDRAWN)
    ]
    return {
        name: [
            round(float(value), 4)
            for value in (
                getattr(found, name),
                *np.quantile([getattr(one, name) for one in drawn], (0.025, 0.975)),
            )
        ]
        for name in ("auroc", "fpr95")
    }


def _mean(hits: NDArray[np.bool_]) -> list[float]:
    """Return a fraction with Wilson's interval of 95 %."""
    n, p, z = len(hits), float(hits.mean()), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return [round(value, 4) for value in (p, float(middle - half), float(middle + half))]


def measure(models: str, stamps: Path, fashion: Path | None) -> dict[str, Any]:
    """Return all figures, as fractions: value, lower and upper end of the interval."""
    bundle = load_bundle(models)
    encoder = bundle.encoder()
    found = photographs(stamps)
    animals = [stamp for stamp in found if stamp.group == "animal"]
    names = sorted({stamp.name for stamp in animals})
    detector = OODDetector.from_classes(names, bundle)
    features = detector.embed([stamp.path for stamp in found])
    groups = np.array([stamp.group for stamp in found])
    scores = detector.score_features(features)
    result: dict[str, Any] = {
        "models": models,
        "encoder": encoder.fingerprint,
        "all names": accuracy(features, found, encoder, bundle.prompt_set),
        "animal names": accuracy(features[groups == "animal"], animals, encoder, bundle.prompt_set),
        "animals against plants and food": separation(
            scores[groups == "animal"], scores[groups == "plant"]
        ),
        "animals against things": separation(scores[groups == "animal"], scores[groups == "thing"]),
    }
    if fashion is not None:
        pixels = read_idx(fashion / "t10k-images-idx3-ubyte.gz")[:CLOTHES]
        grey = detector.score([Image.fromarray(one).convert("RGB") for one in pixels])
        result["animals against grey clothes"] = separation(scores[groups == "animal"], grey)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.photo.evaluate."""
    parser = argparse.ArgumentParser(description="Measure a bundle on photographs.")
    parser.add_argument("--stamps", type=Path, required=True, help="tuxpaint's stamps folder")
    parser.add_argument("--fashion", type=Path, help="dataset-fashion-mnist's folder")
    parser.add_argument("--models", default="photo")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = measure(options.models, options.stamps, options.fashion)
    for name, figures in result.items():
        log.info("%s: %s", name, figures)
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()

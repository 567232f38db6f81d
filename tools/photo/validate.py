"""Validates the text side of `photo` by leaving classes out; no photograph is needed.

    python -m tools.photo.validate --work DIR [--photographs DIR]

In each of five folds (three seeds) 200 of ImageNet's 1,000 classes are hidden: their rows are
predicted from the other 800, and a prediction is right where the hidden class's own row is nearer
to it than those of the other 199. "known" names are in WordNet, whose place in the hierarchy and
definition are used; "unknown" names are hidden from the text side as well, so only the sentence
model knows them. With `--photographs` (a folder per class, named as a class is) the same is
measured with images: the features of a hidden class's images against the 200 predicted rows.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from synood.images.decoding import read_image
from synood.labels.imagenet import imagenet_classes
from synood.models.dual import MEAN, STD
from synood.models.photo import preprocess_of
from tools.photo.assemble import SETTINGS, network
from tools.photo.text_side import Bank, TextSide, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Predict = Callable[[NDArray[np.bool_], NDArray[np.int64]], Array]

log = logging.getLogger(__name__)
SEEDS, FOLDS = 3, 5
CLOSED = 1 / 0.07  # sharpness of the closed form over the classes' own names


def folds() -> list[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
    """Return (seed, which classes are seen, which are hidden) of every fold."""
    found = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(1000)
        for fold in range(FOLDS):
            hidden = np.sort(order[fold::FOLDS])
            seen = np.ones(1000, bool)
            seen[hidden] = False
            found.append((seed, seen, hidden))
    return found


def hits(queries: Array, rows: Array, own: NDArray[np.int64]) -> tuple[float, float]:
    """Return how often a query's own row is the nearest, and among the five nearest."""
    cosines = unit(queries) @ unit(rows).T
    ranks = (cosines > cosines[np.arange(len(own)), own][:, None]).sum(axis=1)
    return float((ranks == 0).mean()), float((ranks < 5).mean())


def measure(side: TextSide, predict: Predict, images: tuple[Array, NDArray[np.int64]]) -> str:
    """Return mean and spread over seeds of the hits in percent, in words."""
    features, labels = images
    table: dict[int, list[tuple[float, ...]]] = {}
    for seed, seen, hidden in folds():
        rows = predict(seen, hidden)
        values: tuple[float, ...] = hits(
            rows, side.rows[hidden].astype(np.float32), np.arange(len(hidden))
        )
        chosen = np.isin(labels, hidden)
        if chosen.any():
            own = np.searchsorted(hidden, labels[chosen])
            values += hits(features[chosen], rows, own)
        table.setdefault(seed, []).append(values)
    seeds = 100 * np.array([np.mean(rows, axis=0) for rows in table.values()])
    titles = ("rows, first", "rows, first five", "images, first", "images, first five")
    return ", ".join(
        f"{title} {mean:.1f} (seeds {low:.1f} to {high:.1f})"
        for title, mean, low, high in zip(
            titles, seeds.mean(axis=0), seeds.min(axis=0), seeds.max(axis=0), strict=False
        )
    )


def by_names(side: TextSide, *, known: bool) -> Predict:
    """Return the text side without groups: every name of WordNet, or none of a hidden class's."""
    own = np.array([side.names.index(known.openai) for known in imagenet_classes()])
    place = {name: row for row, name in enumerate(side.names)}

    def predict(seen: NDArray[np.bool_], hidden: NDArray[np.int64]) -> Array:
        counts = np.zeros(len(side.names), np.float32)  # logarithms
        if not known:
            words = {w for row in hidden for w in side.nouns.synsets[side.classes[row]].words}
            counts[[place[word] for word in sorted(words) if word in place]] = -np.inf
            counts[own[hidden]] = -np.inf
        bank = Bank(side.sentences, counts, side.name_rows(seen))
        return bank(side.sentences[own[hidden]])

    return predict


def closed_form(side: TextSide) -> Predict:
    """Return the text side that knows nothing but the seen classes' names and rows."""
    own = np.array([side.names.index(known.openai) for known in imagenet_classes()])

    def predict(seen: NDArray[np.bool_], hidden: NDArray[np.int64]) -> Array:
        rows = side.rows[seen].astype(np.float32)
        bank = Bank(side.sentences[own[seen]], np.zeros(len(rows), np.float32), rows)
        return bank(side.sentences[own[hidden]], CLOSED)

    return predict


@torch.inference_mode()
def image_features(work: Path, folder: Path | None) -> tuple[Array, NDArray[np.int64]]:
    """Return the centred features (N, 1280) of photographs, and the row of each one's class."""
    tower, _, _, mean = network(work / "efficientnet-lite0.pth")
    steps = preprocess_of(SETTINGS)
    rows: dict[str, int] = {}
    for row, known in enumerate(imagenet_classes()):
        for name in (known.openai, *known.synonyms):
            rows.setdefault(name.casefold(), row)
    features, labels = [], []
    for path in sorted(folder.glob("*/*")) if folder else []:
        if path.parent.name.casefold() in rows:
            pixels = torch.from_numpy(steps.pixels(read_image(path)))[None]
            features.append((tower((pixels - MEAN) / STD)[0] - mean).numpy())
            labels.append(rows[path.parent.name.casefold()])
    return np.array(features, np.float32).reshape(-1, 1280), np.array(labels, np.int64)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.photo.validate --work DIR."""
    parser = argparse.ArgumentParser(description="Validate the text side of the bundle `photo`.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, help="a folder per class of ImageNet images")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _, weight, _, _ = network(options.work / "efficientnet-lite0.pth")
    side = TextSide(options.work / "wordnet", weight.numpy(), options.work)
    images = image_features(options.work, options.photographs)
    for title, predict in (
        ("closed form over the classes' names", closed_form(side)),
        ("unknown names", by_names(side, known=False)),
        ("known names", by_names(side, known=True)),
    ):
        log.info("%s: %s", title, measure(side, predict, images))


if __name__ == "__main__":
    main()

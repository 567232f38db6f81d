"""Grouped NegLabel and the mining of negative labels compared with direct implementations.

python perf/scoring.py; sizes as for ImageNet-1k with CLIP ViT-B/16, random features.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from side_by_side import compare

from synood.labels.mining import class_closeness, neglabel_pool
from synood.scores import NegLabelScorer, cosine_similarity, group_order, neglabel

N_IMAGES, N_CLASSES, N_NEGATIVES, WIDTH, GROUPS = 1_024, 1_000, 10_499, 512, 100
N_WORDS, SHARE, QUANTILE = 16_384, 0.15, 0.95


def group_by_group(classes: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Share of the classes in one softmax per group, the shape of NegLabel's own code."""
    shares = []
    for group in group_order(negatives.shape[1], GROUPS, 0):
        logits = torch.from_numpy(np.concatenate([classes, negatives[:, group]], axis=1)) / 0.01
        shares.append(logits.softmax(dim=1)[:, : classes.shape[1]].sum(dim=1))
    return torch.stack(shares).mean(dim=0).numpy()


def sorted_with_torch(words: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Sort every row in full, a thousand words at a time, as NegLabel's code does."""
    blocks = [torch.quantile(block @ classes.T, QUANTILE, dim=1) for block in words.split(1_000)]
    return torch.cat(blocks)


def sorted_with_numpy(words: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Sort every row in full and interpolate."""
    similarity = np.sort(words @ classes.T, axis=1)
    place = QUANTILE * (similarity.shape[1] - 1)
    low, high = similarity[:, int(place)], similarity[:, int(place) + 1]
    return low + np.float32(place - int(place)) * (high - low)


def score_side_by_side(features: np.ndarray, runs: int) -> None:
    images, classes, negatives = np.split(features, [N_IMAGES, N_IMAGES + N_CLASSES])
    similarity = cosine_similarity(images, classes), cosine_similarity(images, negatives)
    scorer = NegLabelScorer.from_features(classes, negatives, groups=GROUPS)
    expected = group_by_group(*similarity)
    np.testing.assert_allclose(neglabel(*similarity), expected, atol=2e-6, rtol=0)
    np.testing.assert_allclose(scorer(images), expected, atol=5e-6, rtol=0)

    size = f"{N_IMAGES} images x ({N_CLASSES} + {N_NEGATIVES}) labels, {GROUPS} groups"
    compare(
        f"NegLabel from similarities, {size}",
        lambda: neglabel(*similarity),
        {"softmax group by group": lambda: group_by_group(*similarity)},
        runs,
    )
    compare(
        f"NegLabel from features, {size}",
        lambda: scorer(images),
        {
            "product, softmax group by group": lambda: group_by_group(
                cosine_similarity(images, classes), cosine_similarity(images, negatives)
            ),
            "the product alone": lambda: images @ features[N_IMAGES:].T,
        },
        runs,
    )


def mine_side_by_side(words: np.ndarray, classes: np.ndarray, runs: int) -> None:
    as_torch = torch.from_numpy(words), torch.from_numpy(classes)
    closeness = class_closeness(words, classes, QUANTILE)
    np.testing.assert_allclose(closeness, sorted_with_torch(*as_torch), atol=1e-6, rtol=0)
    np.testing.assert_allclose(closeness, sorted_with_numpy(words, classes), atol=1e-6, rtol=0)
    compare(
        f"mining, {N_WORDS} words x {N_CLASSES} classes, quantile {QUANTILE}",
        lambda: neglabel_pool(words, classes, SHARE, QUANTILE),
        {
            "torch.quantile, full argsort": lambda: sorted_with_torch(*as_torch).argsort(),
            "numpy.sort, full argsort": lambda: sorted_with_numpy(words, classes).argsort(),
            "the product alone": lambda: words @ classes.T,
        },
        runs,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    rows = N_IMAGES + N_CLASSES + N_NEGATIVES + N_WORDS
    features = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    scored, words = np.split(features, [rows - N_WORDS])
    score_side_by_side(scored, runs)
    mine_side_by_side(words, scored[N_IMAGES : N_IMAGES + N_CLASSES], runs)


if __name__ == "__main__":
    main()

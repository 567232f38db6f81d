"""Rows of `synood bench` about arrays and texts: scores, mining, metrics, the text encoder."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.speed.data import row_of, unit
from synood.benchmark.speed.timing import Timed, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def score(folder: Path, runs: int) -> list[Timed]:
    """NegLabel from features at ImageNet's size, beside the product alone and a plain softmax."""
    from synood.scores import NegLabelScorer, cosine_similarity, group_order

    images, classes, negatives = (unit(rows) for rows in (1_024, 1_000, 10_499))
    scorer = NegLabelScorer.from_features(classes, negatives, groups=100)
    labels = np.concatenate([classes, negatives])
    order = group_order(len(negatives), 100, 0)

    def plain() -> object:
        near, far = (
            np.exp(cosine_similarity(images, rows) / 0.01) for rows in (classes, negatives)
        )
        mass = near.sum(axis=1)
        return np.mean([mass / (mass + far[:, group].sum(axis=1)) for group in order], axis=0)

    found = compare(
        {"ours": lambda: scorer(images), "the product alone": lambda: images @ labels.T,
         "softmax, group by group": plain},
        runs,
    )  # fmt: skip
    return [row_of("score", "1,024 images x (1,000 + 10,499) labels, 100 groups", found)]


def mining(folder: Path, runs: int) -> list[Timed]:
    """Negative labels out of 16,384 words, beside the product alone and torch.quantile."""
    import torch

    from synood.labels.mining import neglabel_pool

    words, classes = unit(16_384), unit(1_000)
    pair = torch.from_numpy(words), torch.from_numpy(classes)

    def plain() -> object:
        parts = [(rows @ pair[1].T).quantile(0.95, dim=1) for rows in torch.split(pair[0], 1_000)]
        return torch.cat(parts).argsort()

    found = compare(
        {"ours": lambda: neglabel_pool(words, classes, 0.15, 0.95),
         "the product alone": lambda: words @ classes.T, "torch.quantile": plain},
        runs,
    )  # fmt: skip
    return [row_of("mining", "16,384 words x 1,000 classes", found)]


def text(folder: Path, runs: int) -> list[Timed]:
    """Texts through the embedded sentence model, beside one batch padded to its longest."""
    from synood.models.bundles import load_bundle

    encoder = load_bundle("mini").encoder()
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeinorst"), rng.integers(3, 30))) for _ in range(256)]
    texts = [f"a photo of a {word}" for word in words]

    def unsorted() -> object:
        return [encoder.encode_texts(texts[i : i + 64]) for i in range(0, 256, 64)]

    found = compare(
        {"ours": lambda: encoder.encode_texts(texts), "batches of 64 as they come": unsorted}, runs
    )
    return [row_of("text", "256 prompts, bundle mini", found)]


def metrics(folder: Path, runs: int) -> list[Timed]:
    """The five metrics of 60,000 scores, beside scikit-learn's AUROC alone."""
    from synood.metrics import ood_metrics

    rng = np.random.default_rng(0)
    ids, oods = rng.normal(1, 1, 50_000), rng.normal(0, 1, 10_000)
    functions: dict[str, Callable[[], object]] = {"ours": lambda: ood_metrics(ids, oods)}
    missing = () if find_spec("sklearn") else ("scikit-learn",)
    if not missing:
        from sklearn.metrics import roc_auc_score

        truth, joined = np.r_[np.ones(50_000), np.zeros(10_000)], np.r_[ids, oods]
        functions["scikit-learn, AUROC alone"] = lambda: roc_auc_score(truth, joined)
    found = compare(functions, runs)
    return [row_of("metrics", "five metrics of 50,000 + 10,000 scores", found, missing)]

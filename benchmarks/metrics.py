"""The five metrics and their bootstrap against scikit-learn: python benchmarks/metrics.py."""

from __future__ import annotations

import argparse
from dataclasses import astuple

import numpy as np
from side_by_side import compare
from sklearn import metrics as sk

from synood.metrics import bootstrap_interval, ood_metrics

N_ID, N_OOD, RESAMPLES = 50_000, 10_000, 10


def scikit_learn(ids: np.ndarray, oods: np.ndarray) -> tuple[float, ...]:
    """Compute the same five figures; a curve a side, as scikit-learn has no FPR at a TPR."""
    y = np.r_[np.ones(ids.size, int), np.zeros(oods.size, int)]
    joined = np.r_[ids, oods]
    fprs = []
    for positive, scores in ((1, joined), (0, -joined)):
        fpr, tpr, _ = sk.roc_curve(y, scores, pos_label=positive, drop_intermediate=False)
        fprs.append(float(fpr[np.argmax(tpr >= 0.95)]))
    return (
        float(sk.roc_auc_score(y, joined)),
        float(sk.average_precision_score(y, joined)),
        float(sk.average_precision_score(1 - y, -joined)),
        *fprs,
    )


def resample_scores(ids: np.ndarray, oods: np.ndarray, resamples: int) -> np.ndarray:
    """Bootstrap the plain way: draw scores, compute everything anew."""
    rng = np.random.default_rng(0)
    ids, oods = np.sort(ids)[::-1], np.sort(oods)[::-1]
    draws = [
        scikit_learn(rng.choice(ids, ids.size), rng.choice(oods, oods.size))
        for _ in range(resamples)
    ]
    return np.quantile(draws, [0.025, 0.975], axis=0).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    ids, oods = rng.normal(1, 1, N_ID), rng.normal(0, 1, N_OOD)
    for name, kind in (("double", np.float64), ("half, many ties", np.float16)):
        sides = ids.astype(kind), oods.astype(kind)
        np.testing.assert_allclose(
            astuple(ood_metrics(*sides)), scikit_learn(*sides), atol=1e-12, rtol=0
        )
        compare(
            f"five metrics, {N_ID} + {N_OOD} scores, {name}",
            lambda sides=sides: ood_metrics(*sides),
            {"scikit-learn": lambda sides=sides: scikit_learn(*sides)},
            runs,
        )
    found = bootstrap_interval(ids, oods, RESAMPLES)
    np.testing.assert_allclose(
        list(found.values()), resample_scores(ids, oods, RESAMPLES), atol=1e-12, rtol=0
    )
    compare(
        f"bootstrap of all five, {RESAMPLES} resamples",
        lambda: bootstrap_interval(ids, oods, RESAMPLES),
        {"resampled scores, scikit-learn": lambda: resample_scores(ids, oods, RESAMPLES)},
        max(1, runs // 2),
    )


if __name__ == "__main__":
    main()

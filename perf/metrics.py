"""Metrics compared with scikit-learn and pytorch-ood in one process: python perf/metrics.py.

pytorch-ood is included if SYNOOD_PEERS names the folder that it was installed into; see
tests/helpers/peers.py. The results are compared before they are timed: all give the same.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
from side_by_side import compare
from sklearn import metrics as sk

from synood.metrics import (
    bootstrap_interval,
    delong_test,
    full_metrics,
    ood_metrics,
    ood_metrics_by_set,
)

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
import peers

N_ID, N_OOD, RESAMPLES = 50_000, 10_000, 10


def scikit_learn(ids: np.ndarray, oods: np.ndarray) -> tuple[float, ...]:
    """Compute the same five metrics; a curve a side, as scikit-learn has no FPR at a TPR."""
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


def pytorch_ood():  # noqa: ANN201 - a function, or None
    """Return pytorch-ood's four figures as a function of both sides, or None without it."""
    if peers.folder() is None:
        return None
    peers.open_pytorch_ood()
    import torch
    from pytorch_ood.metrics import functional

    torch.set_num_threads(1)

    def measure(ids: np.ndarray, oods: np.ndarray) -> tuple[float, ...]:
        scores = torch.from_numpy(-np.r_[ids, oods])  # its scores are higher for OOD
        labels = torch.from_numpy(np.r_[np.zeros(ids.size, int), np.full(oods.size, -1)])
        return (
            float(functional.auroc(scores, labels)),
            float(functional.aupr(scores, labels, positive="id")),
            float(functional.aupr(scores, labels, positive="ood")),
            float(functional.fpr_at_tpr(scores, labels)),
        )

    return measure


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
    peer = pytorch_ood()
    if peer is None:
        print(peers.MISSING)
    for name, kind in (("double", np.float64), ("half, many ties", np.float16)):
        sides = ids.astype(kind), oods.astype(kind)
        ours = full_metrics(*sides)
        np.testing.assert_allclose(astuple(ours.metrics), scikit_learn(*sides), atol=1e-12, rtol=0)
        others = {"scikit-learn, the five": lambda sides=sides: scikit_learn(*sides)}
        if peer is not None:
            five = ours.metrics
            same = (five.auroc, ours.aupr_in_trapezoid, ours.aupr_out_trapezoid)
            expected = (*same, five.fpr95_ood_positive)
            np.testing.assert_allclose(expected, peer(*sides), atol=1e-12, rtol=0)
            others["pytorch-ood, its four"] = lambda sides=sides: peer(*sides)
        compare(
            f"five metrics, two more areas, DeLong's interval; {N_ID} + {N_OOD} scores, {name}",
            lambda sides=sides: full_metrics(*sides),
            others,
            runs,
        )
    sets = {str(shift): rng.normal(shift / 5, 1, N_OOD) for shift in range(7)}
    compare(
        f"five metrics on seven sets of {N_OOD}",
        lambda: ood_metrics_by_set(ids, sets),
        {"one call a set": lambda: [ood_metrics(ids, scores) for scores in sets.values()]},
        runs,
    )
    second = ids + rng.normal(0, 1, N_ID), oods + rng.normal(0, 1, N_OOD)
    compare("DeLong's paired test", lambda: delong_test((ids, oods), second), {}, runs)
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

"""What a threshold keeps and how many discoveries are false, on exchangeable images.

python perf/coverage.py; the scores are simulated, so that what new images do is known exactly. The
rank of a score does not depend on its distribution: any encoder and any score gives the same table.
With --detector, --id and --ood, images of one's own are dealt into calibration and new ones, many
times.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from synood import OODDetector
from synood.detector.calibration import calibrate_threshold
from synood.detector.conformal import benjamini_hochberg, conformal_rank, p_values

IMAGES = (19, 20, 30, 40, 60, 100, 200, 500, 1_000)
SHARES = (0.0, 0.01, 0.05, 0.2, 0.5)  # of OOD images in a batch
BATCH, KNOWN = 500, 1_000  # images in a batch, calibration images


def kept(images: int, tpr: float, rounds: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Fractions of new images kept over many calibrations: mean, 5 % and 95 % quantile, old mean.

    Scores are uniform, so the fraction kept by a threshold t is 1 - t. The old threshold is the
    order statistic that keeps the fraction of the calibration images themselves.
    """
    found, earlier = [], []
    for _ in range(rounds):
        scores = rng.random(images)
        found.append(1 - calibrate_threshold(scores, tpr).threshold)
        earlier.append(1 - np.sort(scores)[images - int(np.ceil(tpr * images - 1e-9))])
    return (np.mean(found), *np.quantile(found, [0.05, 0.95]), np.mean(earlier))


def discoveries(
    share: float, rate: float, rounds: int, rng: np.random.Generator
) -> tuple[float, ...]:
    """False discovery rate, standard error and fraction of OOD images found, over batches."""
    outside, wrong, caught = round(share * BATCH), [], []
    for _ in range(rounds):
        known = np.sort(rng.normal(size=KNOWN).astype(np.float32))
        scores = rng.normal(size=BATCH).astype(np.float32)
        scores[:outside] -= 4.0
        found = benjamini_hochberg(p_values(known, scores), rate)
        wrong.append(found[outside:].sum() / max(1, found.sum()))
        caught.append(found[:outside].mean() if outside else np.nan)
    return np.mean(wrong), np.std(wrong) / np.sqrt(rounds), np.mean(caught)


def on_images(
    detector: Path, inside: Path, outside: Path | None, tpr: float, rate: float, rounds: int
) -> None:
    """Print what thresholds keep of images that were not calibrated on, and false discoveries."""
    loaded = OODDetector.from_pretrained(detector)
    found = loaded.predict(inside)
    known = np.array([one.score for one in found if not one.error], np.float32)
    labels = np.array([one.label for one in found if not one.error])
    far = loaded.score(outside) if outside else np.empty(0, np.float32)
    rng = np.random.default_rng(0)
    print(f"{len(known):,} in-distribution images, tpr {tpr:g}, {rounds:,} random divisions each")
    print("  images   new images kept, %    by class    false discoveries, %    OOD found, %")
    for images in (n for n in IMAGES if n <= len(known) - 50):
        kept_share, kept_own, wrong, caught = [], [], [], []
        for _ in range(rounds):
            order = rng.permutation(len(known))
            own, new = order[:images], order[images:]
            ready = loaded.calibrate(known[own], tpr, per_class=True, labels=labels[own].tolist())
            kept_share.append(np.mean(known[new] >= ready.threshold))
            kept_own.append(np.mean(ready.p_values(known[new], labels[new].tolist()) > 1 - tpr))
            values = p_values(np.sort(known[own]), np.concatenate([known[new], far]))
            called = benjamini_hochberg(values, rate)
            wrong.append(called[: len(new)].sum() / max(1, called.sum()))
            caught.append(called[len(new) :].mean() if len(far) else np.nan)
        figures = [100 * np.mean(one) for one in (kept_share, kept_own, wrong, caught)]
        print(
            f"  {images:6,}  {figures[0]:19.2f}  {figures[1]:10.2f}  {figures[2]:22.2f}"
            f"  {figures[3]:14.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4_000)
    parser.add_argument("--tpr", type=float, default=0.95)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--detector", type=Path, help="measure on images instead, with this one")
    parser.add_argument("--id", type=Path, help="in-distribution images that it was not made from")
    parser.add_argument("--ood", type=Path, help="OOD images, for the false discoveries")
    options = parser.parse_args()
    if options.detector:
        where = options.detector, options.id, options.ood
        on_images(*where, options.tpr, options.rate, min(500, options.rounds))
        return
    rng = np.random.default_rng(0)
    print(f"new images kept, %, at tpr {options.tpr:g}, {options.rounds:,} calibrations each")
    print("  images   exact    mean    5 % to 95 % of calibrations    mean before")
    for images in IMAGES:
        exact = 100 * (1 - conformal_rank(images, options.tpr) / (images + 1))
        mean, low, high, earlier = kept(images, options.tpr, options.rounds, rng)
        print(
            f"  {images:6,}  {exact:6.2f}  {100 * mean:6.2f}    {100 * low:12.1f} to "
            f"{100 * high:.1f}  {100 * earlier:20.2f}"
        )
    print(
        f"false discoveries, %, at rate {options.rate:g}: {KNOWN:,} calibration images, batches of "
        f"{BATCH}, OOD 4 deviations below, {options.rounds:,} batches each"
    )
    print("  OOD share    false discovery rate    OOD found")
    for share in SHARES:
        wrong, error, caught = discoveries(share, options.rate, options.rounds, rng)
        shown = "-" if np.isnan(caught) else f"{100 * caught:.1f}"
        print(f"  {100 * share:7.0f} %    {100 * wrong:12.2f} ± {100 * error:.2f}  {shown:>15}")


if __name__ == "__main__":
    main()

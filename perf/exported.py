"""An exported detector beside the detector itself: agreement of verdicts, AUROC and CPU time.

python perf/exported.py [--bundle mini] [--per-class 6] [--int8]
python perf/exported.py --photographs FOLDER [--ood FOLDER] [--per-class 6] [--int8]

The first is on a small hard split of the mini benchmark. With a folder of photographs per class,
the detector knows the first half of the classes, by name, and the others are OOD; with --ood
it knows all, and the images of that folder are OOD. Of a class, at most --per-class images are
learned from and as many others scored. The detector weighs the class names against images of its
classes, as `synood fit` makes them but without synthetic images. Images are scored twice, by turns,
on one thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from synood import OODDetector, ood_metrics
from synood.deploy.exporting import export_onnx
from synood.deploy.onnx_detector import OnnxDetector
from synood.detector.backbone import Backbone
from synood.images.sources import find_images
from synood.mini.suite import Counts, write_suite
from synood.models.bundles import load_bundle


def mini_images(root: Path, each: int) -> tuple[list[Path], list[Path], list[Path]]:
    """Write a small hard split; return training, in-distribution and OOD test images."""
    ood = 10 * each
    write_suite(root, split="hard", counts=Counts(each, 1, max(1, each // 2), ood, 1))
    ood_images = [*below(root / "test" / "near"), *below(root / "test" / "far")]
    return below(root / "train"), below(root / "test" / "id"), ood_images


def own_images(
    root: Path, ood: Path | None, each: int
) -> tuple[list[Path], list[Path], list[Path]]:
    """Divide a folder of photographs per class; return as `mini_images` does."""
    groups = [
        [*group] for _, group in groupby(sorted(below(root)), key=lambda image: image.parent.name)
    ]
    known = groups if ood else groups[: len(groups) // 2]
    few = [spread(group, 2 * each) for group in known]
    outside = (
        below(ood) if ood else [i for group in groups[len(known) :] for i in spread(group, each)]
    )
    return (
        [i for group in few for i in group[::2]],
        [i for group in few for i in group[1::2]],
        outside,
    )


def spread(images: list[Path], most: int) -> list[Path]:
    """Return at most so many images, evenly spread."""
    return images[:: -(-len(images) // most)]


def below(root: Path) -> list[Path]:
    return [record.path for record in find_images([root]).records]


def detector_of(bundle: str, images: list[Path]) -> OODDetector:
    """Make a detector from a folder per class: projection, image evidence, text, threshold."""
    models = load_bundle(bundle)
    labels = [image.parent.name for image in images]
    names = sorted({*labels})
    plain = OODDetector.from_classes(names, models=models)
    made = OODDetector.from_features(
        plain.embed(images),
        labels,
        names,
        plain.class_features,
        plain.negative_features,
        logit_scale=1 / plain.settings.temperature,
    )
    return replace(made, encoder=Backbone.of(models, plain.backbone.load(), "cpu"))


def scored(detector: OODDetector | OnnxDetector, images: list[Path]) -> tuple[np.ndarray, ...]:
    """Return scores, verdicts and classes of images, and the CPU seconds that they took."""
    start = time.process_time()
    found = list(detector.iter_predict(images))
    spent = time.process_time() - start
    columns = ([getattr(one, name) for one in found] for name in ("score", "is_ood", "label"))
    return (*map(np.array, columns), np.array(spent))


def compare(detector: OODDetector, file: OnnxDetector, inside: list[Path], ood: list[Path]) -> None:
    images = [*inside, *ood]
    runs = [[scored(one, images) for one in (detector, file)] for _ in range(2)]
    own, theirs = runs[0]
    count = len(images)
    print(f"  scores: largest difference {np.abs(own[0] - theirs[0]).max():.3f}, ", end="")
    print(f"mean {np.abs(own[0] - theirs[0]).mean():.4f}; deviation {own[0].std():.2f}")
    differing = np.sum(own[1] != theirs[1])
    print(f"  verdicts differ on {differing} of {count} ({differing / count:.2%}), ", end="")
    print(f"classes on {np.sum(own[2] != theirs[2])}")
    aurocs = [ood_metrics(a[0][: len(inside)], a[0][len(inside) :]).auroc for a in runs[0]]
    print(f"  AUROC {100 * aurocs[0]:.2f} -> {100 * aurocs[1]:.2f}")
    rejected = [100 * np.mean(one[1][: len(inside)]) for one in (own, theirs)]
    print(f"  in-distribution images rejected {rejected[0]:.1f} % -> {rejected[1]:.1f} %")
    torch, onnx = (1e3 * min(run[place][3] for run in runs) / count for place in (0, 1))
    print(
        f"  CPU ms an image, decoding included: torch {torch:.1f}, onnxruntime {onnx:.1f} "
        f"({torch / onnx:.2f} x); load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="photo")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--ood", type=Path)
    parser.add_argument("--per-class", type=int, default=6)
    parser.add_argument("--int8", action="store_true")
    args = parser.parse_args()
    os.environ["SYNOOD_CACHE_SIZE"] = "0"  # features that are cached would take no time
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if args.photographs:
            train, inside, ood = own_images(args.photographs, args.ood, args.per_class)
        else:
            train, inside, ood = mini_images(root / "suite", args.per_class)
        detector = detector_of(args.bundle, train)
        if detector.threshold is None:
            parser.error(f"{len(train)} images to learn from are too few for a threshold")
        print(f"bundle {args.bundle}: {len(inside)} in-distribution and {len(ood)} OOD images")
        for precision in ("float32", "int8") if args.int8 else ("float32",):
            path = root / f"{precision}.onnx"
            found = export_onnx(detector, path, precision=precision, images=train)
            print(f" {precision}, {found.size / 1e6:.1f} MB")
            compare(detector, OnnxDetector.from_file(path, threads=1), inside, ood)


if __name__ == "__main__":
    main()

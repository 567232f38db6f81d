"""A small folder of pictures and a quick recipe, for tests that run the whole pipeline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.images.sources import folder_per_class
from synood.models.bundles import load_bundle
from synood.pipeline.recipe import resolve_recipe
from synood.pipeline.run import fit
from synood.pipeline.rundir.shards import read_synthetic

if TYPE_CHECKING:
    from pathlib import Path

    from synood.detector.ood_detector import OODDetector

PER_CLASS = 2
QUICK = (
    f"select.per_class={PER_CLASS}",
    "guidance.num_inference_steps=4",
    "guidance.rounds=2",
    "mining.share=0.5",
)


def make_pictures(root: Path, classes=("cat", "dog", "tree"), count=5, seed=0) -> Path:
    """Folders of PNG pictures with noise of different strength, so that their ratios differ."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 40 + 15 * number, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def run(images: Path, bundle: Path, out: Path, *assignments: str, **options) -> OODDetector:
    """Fit with the quick recipe; `assignments` change it, `options` go to `fit`."""
    loaded = load_bundle(bundle)
    recipe = options.pop("recipe", "paper")
    options.setdefault("batch_size", 2)
    options.setdefault("overwrite", True)  # runs here are changed on purpose
    resolved = resolve_recipe(recipe, loaded.recipe_defaults, (*QUICK, *assignments))
    return fit(folder_per_class(images), loaded, resolved, out, **options)


def contents(root: Path, *, but: tuple[str, ...] = ("events.jsonl", ".lock")) -> dict[str, str]:
    """SHA-256 of every file below `root`, by path; events and lock alone may differ."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in but
    }


def pictures(out: Path) -> dict[str, str]:
    """SHA-256 of every synthetic image of a run, by id."""
    return {p.id: p.sha256 for p in read_synthetic(out / "synthesize").values()}

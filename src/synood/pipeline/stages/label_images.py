"""Label images: further kinds of synthetic images that negative labels alone are tuned on.

The authors' code tunes the labels on four folders (datasets.py:321-334): the guided images, and for
each of them one guided by "msp", one without guidance, and one painted from the label's text. All
belong to the label of the guided one. Their projection is tuned on the guided images alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synood.features.extractor import ImageFile
from synood.files import fingerprint, read_jsonl, sha256_bytes
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.stages.synthesize import synthesize_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.models.prompt_limits import PromptLimits
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.pipeline.stages.context import RunContext
    from synood.pipeline.stages.guide import GuideChoice
    from synood.pipeline.stages.synthesize import BatchSize
    from synood.settings import GuidanceSettings, Recipe
    from synood.tuning.assignment import Assignment

FOLDER = "label-images"  # in a run directory, with a folder for each kind
KINDS = ("msp", "unguided", "text")
TOLD = (
    "negative labels are tuned on four kinds of images: guided, by msp (whose gradient is zero, so "
    "that it guides nothing), without guidance, and from the label's text alone"
)
SHORT = 64  # bytes of a label that every text tower takes: a token has a byte or more


@dataclass(frozen=True, eq=False)
class LabelImages:
    """Features (n, D) of further images, and (n,) indices of their labels among those used."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]

    def fingerprint(self) -> str:
        """Sixteen hex digits over both arrays."""
        arrays = self.features, self.targets
        hashes = [sha256_bytes(np.ascontiguousarray(array).tobytes()) for array in arrays]
        return fingerprint("label images", hashes)


def without_kinds(recipe: Recipe) -> str | None:
    """Return a sentence where the recipe asks for kinds of images that nothing can paint."""
    asked = recipe.negatives.images == "four-kinds"
    if not asked or recipe.synthesis.method == "inpaint":
        return None
    return "no in-painting model: negative labels are tuned on one kind of images, not on four"


def paint_label_images(
    run: RunContext,
    images: Sequence[SelectedImage],
    prompts: Mapping[str, str],
    guide: GuideChoice,
    batch_size: BatchSize,
) -> dict[str, list[SyntheticImage]]:
    """Return the further kinds of images, painting those that are missing."""
    if run.recipe.negatives.images != "four-kinds":
        return {}
    labels = {row["id"]: row["prompt"] for row in read_jsonl(run.root / "assign.jsonl")}
    described = [image for image in images if image.id in labels]
    run.workspace.notify("synthesize", TOLD)
    made = {}
    for kind in KINDS:
        settings, texts = kind_settings(run.recipe.guidance, kind), dict(prompts)
        if kind == "text":
            limits = (
                run.models.bundle.prompt_limits() if any(map(_is_long, labels.values())) else None
            )
            texts = {id_: fitting(label, limits) for id_, label in labels.items()}
        folder = run.root / FOLDER / kind
        made[kind] = synthesize_kind(run, described, texts, guide, batch_size, settings, folder)
    return made


def kind_settings(guidance: GuidanceSettings, kind: str) -> GuidanceSettings:
    """Return how a kind is painted; at full strength nothing of the source image is left."""
    free = replace(guidance, target_quantile=None, stop_at_target=False)
    if kind == "msp":
        return replace(free, objective="msp", method="rounds")
    unguided = free.unguided()
    return unguided if kind == "unguided" else replace(unguided, strength=1.0)


def fitting(label: str, limits: PromptLimits | None) -> str:
    """Return a label, or its beginning where the text tower does not take it whole."""
    if limits is None or not _is_long(label):
        return label
    return limits.shortened(label, lambda text: text)


def _is_long(label: str) -> bool:
    return len(label.encode(errors="replace")) > SHORT


def read_label_images(root: Path) -> dict[str, list[SyntheticImage]]:
    """Read the further kinds of a run directory; without any, none."""
    return {
        folder.name: sorted(read_synthetic(folder).values(), key=lambda image: image.id)
        for folder in sorted((root / FOLDER).glob("[!.]*/"))
    }


def label_files(made: Mapping[str, Sequence[SyntheticImage]]) -> list[ImageFile]:
    """Return the files of all kinds, one kind after the other."""
    return [ImageFile(image.path, image.sha256) for images in made.values() for image in images]


def label_images(
    run: RunContext,
    made: Mapping[str, Sequence[SyntheticImage]],
    synthetic: Sequence[SyntheticImage],
    assignment: Assignment,
) -> LabelImages | None:
    """Return the features of the further kinds with their labels; None without any."""
    files = label_files(made)
    if not files:
        return None
    features = run.store.images(files, run.progress("embed"))
    return with_targets(made, features, synthetic, assignment)


def with_targets(
    made: Mapping[str, Sequence[SyntheticImage]],
    features: NDArray[np.float32],
    synthetic: Sequence[SyntheticImage],
    assignment: Assignment,
) -> LabelImages | None:
    """Give each image the label of the guided image of the same source; None without any."""
    target = {
        image.id: row for image, row in zip(synthetic, assignment.targets.tolist(), strict=True)
    }
    ids = [image.id for images in made.values() for image in images]
    rows = [place for place, id_ in enumerate(ids) if id_ in target]
    if not rows:
        return None
    return LabelImages(features[rows], np.array([target[ids[row]] for row in rows], np.int64))

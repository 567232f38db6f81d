"""Assign: each synthetic image -> its nearest negative label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.files import write_jsonl
from synood.tuning.assignment import Assignment, compact, nearest_negative

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.labels.negatives import Negatives
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.pipeline.stages.context import RunContext


def assign(
    run: RunContext,
    synthetic: Sequence[SyntheticImage],
    features: NDArray[np.float32],
    negatives: Negatives,
) -> Assignment:
    """Give each synthetic image its nearest negative label; assign.jsonl holds them by name."""
    nearest = nearest_negative(features, negatives.features)
    rows = [
        {"id": image.id, "negative": int(row), "prompt": negatives.prompts[row]}
        for image, row in zip(synthetic, nearest, strict=True)
    ]
    write_jsonl(run.root / "assign.jsonl", rows)
    return Assignment(*compact(nearest))

"""What the stages of one run share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synood.features.store import FeatureStore
from synood.features.texts import class_features
from synood.pipeline.executors.tasks import Encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.executor import Executor
    from synood.models.loaded import Models
    from synood.pipeline.rundir.quarantine import Quarantine
    from synood.pipeline.rundir.workspace import Workspace
    from synood.progress import StageProgress
    from synood.settings import Recipe


@dataclass(frozen=True)
class RunContext:
    """A run: where it is kept, and what it is made with."""

    workspace: Workspace
    models: Models
    recipe: Recipe
    class_names: tuple[str, ...]
    seed: int
    executor: Executor
    quarantine: Quarantine
    overwrite: bool = False

    @property
    def root(self) -> Path:
        """The run directory."""
        return self.workspace.root

    @property
    def inpaints(self) -> bool:
        """Whether an in-painting model makes the synthetic images."""
        return self.recipe.synthesis.method == "inpaint"

    def progress(self, stage: str) -> StageProgress:
        """Return what a stage calls to report its progress."""
        return self.workspace.stage(stage)

    @cached_property
    def store(self) -> FeatureStore:
        """The features of the run's encoder, computed by the executor."""
        models = self.models
        return FeatureStore(
            self.root / "features",
            models.part_fingerprint("encoder"),
            lambda: models.encoder,
            lambda batches: self.executor.run(Encode(models), batches),
            device=models.device,
        )

    def class_features(self, prompt_set: str) -> NDArray[np.float32]:
        """Return the class names' features (C, D) under a prompt set, of unit length."""
        return class_features(self.store.texts, self.class_names, prompt_set)

    def targets(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each label among the class names: (N,)."""
        rows = {name: row for row, name in enumerate(self.class_names)}
        return np.array([rows[label] for label in labels], dtype=np.int64)

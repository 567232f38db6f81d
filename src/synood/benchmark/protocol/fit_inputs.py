"""What a compared system may learn from: everything in a suite except its test images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.features.texts import class_features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.features.store import FeatureStore
    from synood.labels.wordnet import Word
    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.loaded import Models
    from synood.settings import MiningSettings, Recipe


@dataclass(frozen=True, eq=False)
class CandidateWords:
    """Candidates for negative labels with the features (W, D) of their prompts."""

    words: Sequence[Word]
    features: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FitInputs:
    """Class names, words, labelled images and networks; no test images.

    `train` and `validation` are in-distribution, their `labels` index `class_names`.
    `validation_ood` may be empty: a system then keeps its published settings. `run` is a finished
    run directory of the same training images, whose synthetic images SynOOD and others tune on;
    `outlier_names` are imagined outliers, for EOE, `validation_names` what the validation OOD
    images show, where that is known. Networks are loaded and words are encoded at
    their first use; `store` caches the features.
    """

    class_names: tuple[str, ...]
    train: EncodedSet
    validation: EncodedSet
    validation_ood: tuple[EncodedSet, ...]
    recipe: Recipe
    models: Models
    classifier: Classifier
    store: FeatureStore
    load_words: Callable[[MiningSettings], CandidateWords]
    run: Path | None = None
    outlier_names: tuple[str, ...] = ()
    validation_names: tuple[str, ...] = ()

    @property
    def encoder(self) -> ImageTextEncoder:
        """The image-text encoder."""
        return self.models.encoder

    @cached_property
    def words(self) -> CandidateWords:
        """The candidates from the bundle's words under the recipe's mining settings."""
        return self.load_words(self.recipe.mining)

    def candidates(self, mining: MiningSettings) -> CandidateWords:
        """Return the candidates from the bundle's words under other mining settings."""
        return self.words if mining == self.recipe.mining else self.load_words(mining)

    @cached_property
    def class_features(self) -> NDArray[np.float32]:
        """The features of the class names (C, D), of unit length."""
        return self.name_features(self.class_names)

    def class_features_under(self, prompt_set: str) -> NDArray[np.float32]:
        """Return the class names' features (C, D) under another prompt set, of unit length."""
        return class_features(self.store.texts, self.class_names, prompt_set)

    def name_features(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Encode any names as the class names are: (M, D), of unit length."""
        return class_features(self.store.texts, names, self.recipe.mining.prompt_set)

    def texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Encode prompts into (M, D), not normalised; cached in the store."""
        return self.store.texts([(prompt,) for prompt in prompts])

    def finished_run(self) -> Path:
        """Return the run with the synthetic images to tune on; without one, an `InputError`."""
        if self.run is None:
            raise InputError(
                "this system is tuned on synthetic images: give a finished run on the suite's "
                "training images"
            )
        return self.run

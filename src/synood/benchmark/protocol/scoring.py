"""What all compared methods share: the encoded suite, choices, scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.benchmark.protocol import baselines
from synood.benchmark.protocol.encoding import EncodedSet, encode_set
from synood.benchmark.protocol.fit_inputs import CandidateWords, FitInputs
from synood.benchmark.protocol.methods import ENERGY, MCM, MSP, NEGLABEL
from synood.benchmark.protocol.system import FittedStream, stream_of
from synood.benchmark.results.comparisons import SeedScores
from synood.benchmark.results.results import make_row
from synood.benchmark.suites.mini import validation_names
from synood.features.extractor import ImageFile
from synood.files import sha256_file
from synood.labels.imagenet import same_classes
from synood.labels.pools import candidates
from synood.labels.prompts import PROMPT_SETS
from synood.models.classifier import train_probe
from synood.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.benchmark.protocol.baselines import Choice
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.protocol.system import Scorer, StreamScorer, StreamSystem, System
    from synood.benchmark.results.results import OodGroup, Row
    from synood.benchmark.suites.suite import ImageSet, Suite
    from synood.features.store import FeatureStore
    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.loaded import Models
    from synood.progress import StageProgress
    from synood.settings import MiningSettings, Recipe


@dataclass(frozen=True, eq=False)
class EncodedSuite:
    """The encoded sets of a suite: choices use the first two, results the others."""

    validation: EncodedSet
    validation_ood: tuple[EncodedSet, ...]
    test: EncodedSet
    test_ood: tuple[EncodedSet, ...]


@dataclass(frozen=True)
class Choices:
    """The settings chosen on validation images."""

    mcm: Choice
    neglabel: Choice

    def to_json(self) -> dict[str, Any]:
        """Return the choices, with all that were tried, as JSON values."""
        return {MCM.name: self.mcm.to_json(), NEGLABEL.name: self.neglabel.to_json()}

    def recipe_changes(self) -> dict[str, object]:
        """Return the recipe fields that SynOOD and the controls take from NegLabel."""
        return {
            "mining.share": self.neglabel.share,
            "score.temperature": self.neglabel.temperature,
        }


def encode_suite(
    suite: Suite,
    store: FeatureStore,
    classifier: Classifier,
    advance: StageProgress,
    encoder: ImageTextEncoder | None = None,
) -> EncodedSuite:
    """Encode every validation and test image, once.

    With the `encoder` the sets keep their images, for methods that need more than features and
    logits. A suite without validation images has an empty validation set.
    """
    chosen = [suite.one("validation"), *suite.ood("validation")] if suite.validated else []
    shown = [suite.one("test"), *suite.ood("test")]
    total = sum(item.n for item in (*chosen, *shown))
    names = suite.one("train").index().class_names
    done = 0
    encoded: list[EncodedSet] = []
    for item in (*chosen, *shown):
        encoded.append(encode_set(item, store, classifier, encoder, class_names=names))
        done += item.n
        advance(done, total, item.name)
    validation, test = encoded[: len(chosen)], encoded[len(chosen) :]
    nothing = test[0].take([])
    return EncodedSuite(
        validation[0] if validation else nothing, tuple(validation[1:]), test[0], tuple(test[1:])
    )


def suite_classifier(train: ImageSet, models: Models, store: FeatureStore) -> Classifier:
    """Return the bundle's classifier if it has these classes, else a probe trained on `train`."""
    index = train.index()
    own = models.classifier
    if own and same_classes(own.class_names, index.class_names):
        return own
    paths = [record.path for record in index.records]
    features = store.images([ImageFile(path, sha256_file(path)) for path in paths])
    labels = [index.class_names.index(str(record.label)) for record in index.records]
    return train_probe(features, np.array(labels), index.class_names, models.encoder)


def gather(
    suite: Suite,
    models: Models,
    store: FeatureStore,
    recipe: Recipe,
    advance: StageProgress,
    run: Path | None = None,
    train_per_class: int | None = None,
    outlier_names: tuple[str, ...] = (),
) -> tuple[FitInputs, EncodedSuite]:
    """Encode a whole suite: what systems may learn from, and what they are scored on.

    `run` is a finished run on the suite's training images, for systems that are tuned on synthetic
    images. `train_per_class` limits the training images of each class; `outlier_names` are for
    EOE.
    """
    train = suite.one("train")
    classifier = suite_classifier(train, models, store)
    encoded = encode_suite(suite, store, classifier, advance, models.encoder)
    inputs = FitInputs(
        class_names=train.index().class_names,
        train=encode_set(train, store, classifier, models.encoder, train_per_class),
        validation=encoded.validation,
        validation_ood=encoded.validation_ood,
        recipe=recipe,
        models=models,
        classifier=classifier,
        store=store,
        load_words=lambda mining: encode_words(models, store, mining, no_progress),
        run=run,
        outlier_names=outlier_names,
        validation_names=validation_names(suite),
    )
    return inputs, encoded


def score_system(
    system: System | StreamSystem, inputs: FitInputs, encoded: EncodedSuite, seeds: Sequence[int]
) -> tuple[list[SeedScores], dict[str, object]]:
    """Fit a system and score every test set under each seed; also return its choices.

    A system without randomness has one seed. A test-time system sees one stream per OOD set,
    shuffled by the seed.
    """
    scores: list[SeedScores] = []
    chosen: dict[str, object] = {}
    for seed in seeds if system.seeded else seeds[:1]:
        fitted = system.fit(inputs, seed)
        chosen = chosen or dict(fitted.chosen)
        if isinstance(fitted, FittedStream):
            scores.append(stream_scores(fitted.scorer, seed, encoded))
        else:
            scores.append(seed_scores(fitted, seed, encoded))
    return scores, chosen


def stream_scores(scorer: StreamScorer, seed: int, encoded: EncodedSuite) -> SeedScores:
    """Score one stream of test images for each OOD set."""
    streams = {ood.name: stream_of(encoded.test, ood, seed) for ood in encoded.test_ood}
    parts = {
        name: stream.split(scorer.score_stream(stream.images, stream.order))
        for name, stream in streams.items()
    }
    return SeedScores(
        seed,
        next(iter(parts.values()))[0],
        {name: ood for name, (_, ood) in parts.items()},
        id_by_set={name: ids for name, (ids, _) in parts.items()},
        streams={name: stream.details(scorer) for name, stream in streams.items()},
    )


def encode_words(
    models: Models, store: FeatureStore, mining: MiningSettings, advance: StageProgress
) -> CandidateWords:
    """Encode the candidates from the bundle's words under `mining`."""
    words, prompts = models.bundle.words(), PROMPT_SETS[mining.prompt_set]
    pool = candidates(words, mining.pool, mining.seed)
    return CandidateWords(pool, store.texts([prompts.word_prompts(word) for word in pool], advance))


def choose(
    words: CandidateWords,
    class_names: tuple[str, ...],
    class_rows: NDArray[np.float32],
    encoded: EncodedSuite,
    recipe: Recipe,
) -> Choices:
    """Choose the baselines' settings on validation images; the rest is as in `recipe`."""
    sides = encoded.validation, encoded.validation_ood
    return Choices(
        mcm=baselines.choose_mcm(class_rows, *sides),
        neglabel=baselines.choose_neglabel(
            words, class_names, class_rows, *sides, recipe.mining, recipe.score
        ),
    )


def baseline_scorers(
    words: CandidateWords,
    class_names: tuple[str, ...],
    class_rows: NDArray[np.float32],
    choices: Choices,
    recipe: Recipe,
) -> dict[str, Scorer]:
    """Return the scorer of each baseline by name, with the chosen settings."""
    mining = recipe.mining
    share = choices.neglabel.share or mining.share
    kept = baselines.negatives_of_share(words, class_names, class_rows, mining, share)
    settings = replace(recipe.score, temperature=choices.neglabel.temperature)
    return {
        MSP.name: baselines.score_msp,
        ENERGY.name: baselines.score_energy,
        MCM.name: baselines.mcm_scorer(class_rows, choices.mcm.temperature),
        NEGLABEL.name: baselines.neglabel_scorer(class_rows, words.features[kept], settings),
    }


def seed_scores(scorer: Scorer, seed: int, encoded: EncodedSuite) -> SeedScores:
    """Score every test set."""
    return SeedScores(
        seed, scorer(encoded.test), {ood.name: scorer(ood) for ood in encoded.test_ood}
    )


def measure(
    methods: Sequence[Method],
    scores: Mapping[str, Sequence[SeedScores]],
    encoded: EncodedSuite,
    resamples: int = 200,
) -> tuple[Row, ...]:
    """One row per method, seed and OOD set."""
    return tuple(
        make_row(
            method.name,
            method.kind,
            ood.name,
            _near_or_far(ood),
            item.seed,
            *item.sides(ood.name),
            resamples,
            item.streams.get(ood.name),
        )
        for method in methods
        for item in scores[method.name]
        for ood in encoded.test_ood
    )


def _near_or_far(ood: EncodedSet) -> OodGroup:
    return "near" if ood.group == "near" else "far"

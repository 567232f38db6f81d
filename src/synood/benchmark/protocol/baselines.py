"""The baselines, as functions from encoded images to scores.

Their settings (MCM's temperature; NegLabel's fraction of labels and temperature) are chosen on
validation images, by the mean AUROC over the validation OOD sets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synood import metrics, scores
from synood.labels.mining import mine_negatives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import CandidateWords
    from synood.benchmark.protocol.system import Scorer
    from synood.settings import MiningSettings, ScoreSettings

SHARES = (0.05, 0.15, 0.3, 0.5, 0.8)  # of the candidate words; 0.15 is NegLabel's own
TEMPERATURES = (0.01, 0.02, 0.05, 0.1)  # NegLabel's own is 0.01
MCM_TEMPERATURES = (1.0, 0.1, 0.05, 0.01)  # MCM's own is 1


@dataclass(frozen=True)
class Trial:
    """One setting that was tried on validation images, and its mean AUROC there."""

    share: float | None
    temperature: float
    auroc: float


@dataclass(frozen=True)
class Choice:
    """The setting chosen on validation images, and all that were tried."""

    share: float | None
    temperature: float
    auroc: float
    tried: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return asdict(self)


def score_msp(encoded: EncodedSet) -> NDArray[np.float32]:
    """Largest softmax probability of the classifier, (N,)."""
    return scores.msp(encoded.logits)


def score_energy(encoded: EncodedSet) -> NDArray[np.float32]:
    """Negative energy of the classifier at temperature 1, (N,)."""
    return scores.energy(encoded.logits)


def mcm_scorer(class_features: NDArray[np.float32], temperature: float) -> Scorer:
    """MCM: largest softmax of the similarities to the class names (C, D)."""

    def score(encoded: EncodedSet) -> NDArray[np.float32]:
        similarity = scores.cosine_similarity(encoded.features, class_features)
        return scores.mcm(similarity, temperature)

    return score


def neglabel_scorer(
    class_features: NDArray[np.float32],
    negative_features: NDArray[np.float32],
    settings: ScoreSettings,
) -> Scorer:
    """NegLabel: log odds of the names' part of the softmax over names (C, D), negatives (M, D)."""
    scorer = scores.NegLabelScorer.from_features(
        class_features, negative_features, settings.temperature, settings.groups, settings.seed
    )
    return lambda encoded: scorer.log_odds(encoded.features)


def mean_auroc(scorer: Scorer, in_distribution: EncodedSet, ood: Sequence[EncodedSet]) -> float:
    """Mean AUROC of `scorer` over the OOD sets."""
    id_scores = scorer(in_distribution)
    return float(np.mean([metrics.auroc(id_scores, scorer(item)) for item in ood]))


def choose_mcm(
    class_features: NDArray[np.float32], validation: EncodedSet, ood: Sequence[EncodedSet]
) -> Choice:
    """Choose MCM's temperature on validation images; the first of equals."""
    tried = [
        Trial(None, t, mean_auroc(mcm_scorer(class_features, t), validation, ood))
        for t in MCM_TEMPERATURES
    ]
    return _best(tried)


def choose_neglabel(
    candidates: CandidateWords,
    class_names: Sequence[str],
    class_features: NDArray[np.float32],
    validation: EncodedSet,
    ood: Sequence[EncodedSet],
    mining: MiningSettings,
    score: ScoreSettings,
) -> Choice:
    """Choose NegLabel's fraction of labels and temperature on validation images.

    The other settings are those of `mining` and `score`. The first of equals is chosen; fractions
    that keep no word are skipped.
    """
    tried = []
    for share in SHARES:
        kept = negatives_of_share(candidates, class_names, class_features, mining, share)
        if len(kept):
            negatives = candidates.features[kept]
            for temperature in TEMPERATURES:
                settings = replace(score, temperature=temperature)
                scorer = neglabel_scorer(class_features, negatives, settings)
                tried.append(Trial(share, temperature, mean_auroc(scorer, validation, ood)))
    return _best(tried)


def negatives_of_share(
    candidates: CandidateWords,
    class_names: Sequence[str],
    class_features: NDArray[np.float32],
    mining: MiningSettings,
    share: float,
) -> NDArray[np.int64]:
    """Return the rows of the candidates that mining keeps at `share`, otherwise as `mining`."""
    return mine_negatives(
        candidates.words,
        candidates.features,
        class_features,
        share,
        mining.quantile,
        exclude=class_names if mining.exclude_class_names else (),
        max_similarity=mining.max_similarity,
    )


def _best(tried: Sequence[Trial]) -> Choice:
    top = max(tried, key=lambda trial: trial.auroc)
    return Choice(top.share, top.temperature, top.auroc, tuple(tried))

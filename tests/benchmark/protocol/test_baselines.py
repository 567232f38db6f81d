"""Baselines equal their formulas, and choose on validation what a plain search chooses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from colours import ColourEncoder, picture
from synood import scores
from synood.benchmark.protocol import baselines, scoring
from synood.benchmark.protocol.encoding import EncodedSet, image_logits
from synood.benchmark.protocol.fit_inputs import CandidateWords
from synood.labels.mining import mine_negatives
from synood.labels.wordnet import Word
from synood.settings import MiningSettings, Recipe, ScoreSettings

pytestmark = pytest.mark.numerical

NAMES = ("red", "green")
WORDS = tuple(
    Word(text, "noun", "") for text in ("blue", "cyan", "magenta", "Red", "yellow", "grey", "sea")
)
ENCODER = ColourEncoder()


class ColourClassifier:
    class_names = NAMES
    fingerprint = "0"

    def logits(self, pixels):
        return 20 * pixels.mean((2, 3))[:, :2]


def encoded_set(name, group, colours, seed):
    images = [picture(colour, noise=seed + i) for i, colour in enumerate(colours * 8)]
    features = ENCODER.encode_images(images)
    return EncodedSet(name, group, features, image_logits(images, ColourClassifier()))


@pytest.fixture(scope="module")
def encoded():
    return scoring.EncodedSuite(
        validation=encoded_set("validation-id", "id", ["red", "green"], 1),
        validation_ood=(
            encoded_set("v-near", "near", ["yellow", "magenta"], 100),
            encoded_set("v-far", "far", ["blue"], 200),
        ),
        test=encoded_set("test-id", "id", ["red", "green"], 300),
        test_ood=(
            encoded_set("near", "near", ["yellow"], 400),
            encoded_set("far", "far", ["cyan"], 500),
        ),
    )


@pytest.fixture(scope="module")
def rows():
    return ENCODER.encode_texts(NAMES), ENCODER.encode_texts([word.text for word in WORDS])


def softmax(values):
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def cosines(a, b):
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (
        b / np.linalg.norm(b, axis=1, keepdims=True)
    ).T


def auroc(score, inside, outside):
    values = [*score(inside), *score(outside)]
    return roc_auc_score([1] * len(inside.features) + [0] * len(outside.features), values)


def test_classifier_baselines_are_the_formulas_on_its_logits(encoded):
    logits = encoded.test.logits
    assert baselines.score_msp(encoded.test) == pytest.approx(softmax(logits).max(1), abs=1e-6)
    expected = np.log(np.exp(logits.astype(float)).sum(1))
    assert baselines.score_energy(encoded.test) == pytest.approx(expected, abs=1e-5)


def test_mcm_and_neglabel_are_the_formulas_on_cosines(encoded, rows):
    classes, negatives = rows
    similar = cosines(encoded.test.features, classes)
    found = baselines.mcm_scorer(classes, 0.1)(encoded.test)
    assert found == pytest.approx(softmax(similar / 0.1).max(1), abs=1e-5)
    both = np.concatenate([similar, cosines(encoded.test.features, negatives)], axis=1)
    scorer = baselines.neglabel_scorer(classes, negatives, ScoreSettings(0.05, groups=1))
    expected = softmax(both / 0.05)[:, : len(NAMES)].sum(1)
    assert scores.share(scorer(encoded.test)) == pytest.approx(expected, abs=1e-5)


def test_pictures_of_several_sizes_are_classified_in_their_order():
    sizes = (8, 8, 5, 8)
    images = [picture("red" if i % 2 else "green", size) for i, size in enumerate(sizes)]
    logits = image_logits(images, ColourClassifier())
    assert logits.argmax(1).tolist() == [1, 0, 1, 0]


def test_the_choice_of_neglabel_is_the_best_of_a_plain_search(encoded, rows):
    classes, features = rows
    mining, score = MiningSettings(), ScoreSettings(groups=1)
    choice = baselines.choose_neglabel(
        CandidateWords(WORDS, features),
        NAMES,
        classes,
        encoded.validation,
        encoded.validation_ood,
        mining,
        score,
    )
    best = -1.0
    for share in baselines.SHARES:
        kept = mine_negatives(WORDS, features, classes, share, 0.95, exclude=NAMES)
        for temperature in baselines.TEMPERATURES if len(kept) else ():
            scorer = baselines.neglabel_scorer(
                classes, features[kept], ScoreSettings(temperature, groups=1)
            )
            value = np.mean([auroc(scorer, encoded.validation, o) for o in encoded.validation_ood])
            best = max(best, value)
    assert choice.auroc == pytest.approx(best)
    assert choice.auroc == max(trial.auroc for trial in choice.tried)
    assert (choice.share, choice.temperature) in [(t.share, t.temperature) for t in choice.tried]
    assert 0.05 not in {trial.share for trial in choice.tried}  # of six words it keeps none


def test_the_choice_of_mcm_is_the_best_tried(encoded, rows):
    choice = baselines.choose_mcm(rows[0], encoded.validation, encoded.validation_ood)
    values = {
        t: np.mean(
            [
                auroc(baselines.mcm_scorer(rows[0], t), encoded.validation, o)
                for o in encoded.validation_ood
            ]
        )
        for t in baselines.MCM_TEMPERATURES
    }
    assert choice.auroc == pytest.approx(max(values.values()))
    assert values[choice.temperature] == pytest.approx(choice.auroc)


def test_choices_do_not_look_at_test_images(encoded, rows):
    classes, features = rows
    blind = scoring.EncodedSuite(
        encoded.validation, encoded.validation_ood, encoded.test_ood[0], (encoded.test,)
    )
    recipe, words = Recipe("paper"), CandidateWords(WORDS, features)
    chosen = [scoring.choose(words, NAMES, classes, v, recipe) for v in (encoded, blind)]
    assert chosen[0] == chosen[1]


def test_the_recipe_takes_over_what_was_chosen_for_neglabel(encoded, rows):
    classes, features = rows
    words = CandidateWords(WORDS, features)
    choices = scoring.choose(words, NAMES, classes, encoded, Recipe("paper"))
    changes = choices.recipe_changes()
    assert changes == {
        "mining.share": choices.neglabel.share,
        "score.temperature": choices.neglabel.temperature,
    }
    scorers = scoring.baseline_scorers(words, NAMES, classes, choices, Recipe("paper"))
    kept = mine_negatives(WORDS, features, classes, choices.neglabel.share, 0.95, exclude=NAMES)
    again = baselines.neglabel_scorer(
        classes, features[kept], ScoreSettings(choices.neglabel.temperature)
    )
    assert scorers["neglabel"](encoded.test) == pytest.approx(again(encoded.test))
    assert set(scorers) == {"msp", "energy", "mcm", "neglabel"}


def test_rows_name_every_method_seed_and_set(encoded, rows):
    scorers = {"mcm": baselines.mcm_scorer(rows[0], 1.0), "msp": baselines.score_msp}
    scores = {
        name: [scoring.seed_scores(scorer, seed, encoded) for seed in range(2)]
        for name, scorer in scorers.items()
    }
    measured = scoring.measure([scoring.MCM, scoring.MSP], scores, encoded)
    assert [(r.method, r.seed, r.ood_set, r.group) for r in measured] == [
        (method, seed, name, name)
        for method in ("mcm", "msp")
        for seed in range(2)
        for name in ("near", "far")
    ]
    assert {(r.n_id, r.n_ood) for r in measured} == {(16, 8)}
    assert measured[0].auroc == pytest.approx(
        auroc(scorers["mcm"], encoded.test, encoded.test_ood[0])
    )

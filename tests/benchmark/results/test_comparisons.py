"""A comparison finds planted differences, finds none in noise, and says which way they point."""

from __future__ import annotations

import numpy as np
import pytest

from figures import METHODS, comparisons_of, planted_scores, reading_of, rows_of
from synood import metrics
from synood.benchmark.results import tables
from synood.benchmark.results.comparisons import SeedScores, compare
from synood.errors import InputError


def by_key(compared):
    return {(c.other, c.column, c.metric): c for c in compared}


@pytest.fixture(scope="module")
def better():
    scores = planted_scores({"synood": 2.5, "neglabel": 1.2, "jigsaw": 2.5, "unguided": 3.2})
    rows = rows_of(scores)
    return scores, rows, by_key(comparisons_of(scores, rows))


def test_planted_differences_are_found_with_their_sign(better):
    _, _, found = better
    for metric in ("auroc", "fpr95"):
        assert found["neglabel", "average:all", metric].verdict == "better"
        assert found["unguided", "average:all", metric].verdict == "worse"
        assert found["jigsaw", "average:all", metric].verdict == "even"
        assert found["jigsaw", "average:all", metric].gain == 0


def test_a_gain_is_the_difference_of_the_tables_means(better):
    _, rows, found = better
    for column in tables.columns(rows):
        for metric, sign in (("auroc", 1), ("fpr95", -1)):
            ours, theirs = (
                tables.aggregate(rows, name, column, metric).mean for name in ("synood", "neglabel")
            )
            gain = found["neglabel", column.key, metric].gain
            assert gain == pytest.approx(sign * (ours - theirs), abs=2e-6)


def test_swapping_the_methods_mirrors_the_comparison(better):
    scores, rows, found = better
    for back in compare("neglabel", ["synood"], scores, tables.columns(rows), resamples=40):
        there = found["neglabel", back.column, back.metric]
        assert back.gain == pytest.approx(-there.gain)
        assert (back.verdict == "worse") == (there.verdict == "better")


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    # Scores of two methods on the same images: AUROC of shift d is Phi(d / sqrt 2).
    truth = 0.8413447 - 0.7602499  # d = sqrt 2 against d = 1
    hits = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        id_base, ood_base = rng.normal(size=200), rng.normal(size=200)
        scores = {
            name: [SeedScores(0, id_base + shift, {"set": ood_base})]
            for name, shift in (("a", np.sqrt(2)), ("b", 1.0))
        }
        column = tables.Column("set", "set", "near", ("set",))
        found = compare("a", ["b"], scores, [column], resamples=100, seed=trial)[0]
        hits += found.low <= truth <= found.high
    assert 48 <= hits <= 60


def test_one_resample_equals_a_straight_line_twin():
    rng = np.random.default_rng(3)
    ours, theirs = (
        SeedScores(0, rng.normal(1, 1, 30), {"set": rng.normal(0, 1, 20)}) for _ in range(2)
    )
    column = tables.Column("set", "set", "near", ("set",))
    found = compare("a", ["b"], {"a": [ours], "b": [theirs]}, [column], resamples=1, seed=9)[0]
    twin = np.random.default_rng(9)
    id_picks, ood_picks = twin.integers(30, size=30), twin.integers(20, size=20)
    drawn = [
        metrics.auroc(side.in_distribution[id_picks], side.ood["set"][ood_picks])
        for side in (ours, theirs)
    ]
    gain = metrics.auroc(ours.in_distribution, ours.ood["set"]) - metrics.auroc(
        theirs.in_distribution, theirs.ood["set"]
    )
    assert found.gain == pytest.approx(gain)
    assert sorted([found.low, found.high]) == pytest.approx(sorted([gain, drawn[0] - drawn[1]]))


def seeds_of(*shifts):
    """Seeds that differ in nothing but how far the ID side lies above the OOD side."""
    base = np.linspace(-2, 2, 400)
    return [SeedScores(i, base + shift, {"set": base}) for i, shift in enumerate(shifts)]


def test_three_seeds_that_disagree_leave_a_difference_open_however_many_images_there_are():
    column = tables.Column("set", "set", "near", ("set",))
    apart = {"a": seeds_of(0.2, 0.6, 1.6), "b": seeds_of(0.2)}
    found = compare("a", ["b"], apart, [column], resamples=50)[0]
    values = [metrics.auroc(item.in_distribution, item.ood["set"]) for item in apart["a"]]
    student = 4.303 * np.std(values, ddof=1) / np.sqrt(3)
    assert found.verdict == "even"
    assert found.high - found.gain >= student
    assert found.gain - found.low >= student


def test_seeds_that_two_methods_share_are_compared_one_by_one():
    column = tables.Column("set", "set", "near", ("set",))
    paired = {"a": seeds_of(0.5, 0.9, 1.3), "b": seeds_of(0.2, 0.6, 1.0)}
    found = compare("a", ["b"], paired, [column], resamples=50)[0]
    assert found.verdict == "better"
    crossed = {"a": paired["a"], "b": paired["b"][::-1]}
    assert compare("a", ["b"], crossed, [column], resamples=50)[0].verdict == "even"


def test_methods_scored_on_other_images_are_not_compared():
    column = tables.Column("set", "set", "near", ("set",))
    scores = {
        "a": [SeedScores(0, np.arange(4.0), {"set": np.arange(3.0)})],
        "b": [SeedScores(0, np.arange(4.0), {"set": np.arange(2.0)})],
    }
    with pytest.raises(InputError, match="a and b were not scored on the same images"):
        compare("a", ["b"], scores, [column])


# The reading must follow the numbers in every direction.


def test_a_win_over_everything_is_told_as_one():
    summary = reading_of({"synood": 3.0, "neglabel": 1.5, "jigsaw": 2.0, "unguided": 1.5})
    assert summary.headline == "SynOOD beats NegLabel here, and every control."
    assert {finding.verdict for finding in summary.findings} <= {"better", "even"}


def test_a_control_that_does_as_well_is_in_the_headline():
    summary = reading_of({"synood": 3.0, "neglabel": 1.5, "jigsaw": 3.0, "unguided": 1.5})
    assert summary.headline == "SynOOD beats NegLabel here, but does not beat the control “jigsaw”."
    both = reading_of({"synood": 3.0, "neglabel": 1.5, "jigsaw": 3.5, "unguided": 3.0})
    assert "but does not beat the controls “unguided” and “jigsaw”" in both.headline


def test_a_loss_is_told_as_one_with_the_sets_where_it_happens():
    summary = reading_of({"synood": 1.0, "neglabel": 2.5, "jigsaw": 1.0, "unguided": 1.0})
    assert summary.headline == "SynOOD falls behind NegLabel here."
    behind = next(f for f in summary.findings if "clearly behind NegLabel on" in f.text)
    assert behind.verdict == "worse"
    assert "textures (AUROC −" in behind.text
    assert summary.findings[-1].text == "Best on average in both metrics: NegLabel."


def test_level_methods_are_called_level():
    summary = reading_of(dict.fromkeys((method.name for method in METHODS), 2.0))
    assert summary.headline.startswith("SynOOD and NegLabel are level here")

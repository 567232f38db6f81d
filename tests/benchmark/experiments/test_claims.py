"""The experiment on the paper's claims: every seed has its own images, every pair its interval."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from staging import SEEDS, furnished, rows_by_method, staged
from synood.benchmark.experiments import find_experiment
from synood.benchmark.experiments.claims import BASES, CLAIMS, KINDS, NONE, paint, pairs
from synood.benchmark.experiments.plus import without_images
from synood.benchmark.experiments.writing import write_outcome
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.metrics import auroc
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.stages.synthesize import image_seed

RIVALS = ("neglabel", *(method.name for method in ENCODER_BASELINES))


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    return staged(furnished(tmp_path_factory.mktemp("claims")))


@pytest.fixture(scope="module")
def outcome(setup):
    return find_experiment("claims").run(setup)


def pixels(images):
    return np.stack([np.asarray(Image.open(one.path), int) for one in images])


def test_every_recipe_is_tuned_on_every_kind_under_every_seed(outcome):
    found = rows_by_method(outcome)
    tuned = {f"{base}:{kind}" for base in BASES for kind in KINDS}
    assert set(found) == {*RIVALS, *tuned}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in tuned)


def test_every_pair_is_compared_once_with_an_interval(outcome):
    compared = {(item.method, item.other) for item in outcome.comparisons}
    wanted = list(pairs(RIVALS))
    assert compared == set(wanted)
    assert len(wanted) == len(compared) == 3 * (len(RIVALS) + len(CLAIMS) + len(KINDS))
    assert all(item.low <= item.gain <= item.high for item in outcome.comparisons)
    assert len(outcome.extra_tables[0].lines) == len(wanted)


def test_it_says_how_hard_the_validation_sets_are(setup, outcome):
    table = outcome.extra_tables[1]
    assert [line[0] for line in table.lines] == ["validation-near", "validation-far"]
    assert all(0 <= float(cell) <= 100 for line in table.lines for cell in line[1:])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != NONE])
def test_a_seed_draws_other_images_of_the_same_sources(setup, outcome, kind):
    images = paint(setup, kind)
    assert set(images) == set(SEEDS)
    for seed in SEEDS:
        assert [one.id for one in images[seed]] == [pair.source.id for pair in setup.pairs]
        expected = [image_seed(seed, pair.source.sha256) for pair in setup.pairs]
        assert [one.seed for one in images[seed]] == expected
    assert (pixels(images[0]) != pixels(images[1])).any(axis=(1, 2, 3)).all()


def test_the_runs_own_images_are_those_of_its_own_seed(setup, outcome):
    assert paint(setup, "guided")[0] == setup.synthetic()
    folder = setup.workspace.root / "controls"
    assert not (folder / "guided-seed-0").exists()
    assert len(read_synthetic(folder / "guided-seed-1")) == len(setup.pairs)
    assert all(pair.request(0) == pair.request() for pair in setup.pairs)
    assert all(pair.request(1).inputs != pair.request().inputs for pair in setup.pairs)


def test_another_seed_gives_what_a_run_under_it_would_draw(setup, outcome):
    """The request of seed 1 differs from the run's in the noise alone."""
    pair = setup.pairs[0]
    own, other = pair.request(), pair.request(1)
    assert (own.id, own.path, own.sha256, own.prompt) == (
        other.id, other.path, other.sha256, other.prompt,
    )  # fmt: skip


def test_scores_are_those_of_tuning_by_hand(setup, outcome):
    def measured(name):
        return [row.auroc for row in outcome.rows if row.method == name]

    def expected(images, *tune):
        found = []
        for seed in SEEDS:
            (scores,) = setup.scored(
                "by hand",
                lambda seed: setup.retuner.detector(images[seed], seed, *tune),
                [seed],
            )
            found += [auroc(scores.in_distribution, ood) for ood in scores.ood.values()]
        return found

    for kind in ("nearer", "jigsaw"):
        assert measured(f"paper:{kind}") == pytest.approx(expected(paint(setup, kind)))
    nothing = dict.fromkeys(SEEDS, setup.synthetic())
    assert measured(f"paper:{NONE}") == pytest.approx(expected(nothing, without_images))


def test_it_is_written_with_its_gains_and_sheets(setup, outcome, tmp_path):
    text = write_outcome(tmp_path, find_experiment("claims"), setup, outcome)
    assert "Gains in points" in text
    for name in ("images.webp", "sets.webp"):
        assert Image.open(tmp_path / name).format == "WEBP"

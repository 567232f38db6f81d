"""ImageNet with near OOD, on folders of its owners' layouts, through the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from made_up import EACH, WNIDS, write_imagenet, write_mos, write_near
from small_suite import tiny_bundle
from synood import metrics, scores
from synood.benchmark.experiments.imagenet_near import COMPARED, OURS
from synood.benchmark.results.published import published
from synood.benchmark.results.results import read_results
from synood.benchmark.suites.layouts import open_benchmark
from synood.cli.app import main
from synood.models.bundles import load_bundle

SETS = ["SSB-hard", "NINCO", "iNaturalist", "SUN", "Places", "Textures"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_imagenet(folder / "ImageNet")
    write_mos(folder)
    write_near(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def place(root, bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    given = ["--models", str(bundle), "--root", str(root), "--out", str(out), "--seeds", "2"]
    assert main(["reproduce", "imagenet-near", *given]) == 0
    return out / "reproduce" / "imagenet-near"


def test_near_and_far_sets_are_found_where_their_owners_put_them(root):
    suite = open_benchmark("imagenet-near", root)
    assert [item.name for item in suite.ood("test")] == SETS
    assert [item.group for item in suite.ood("test")] == ["near"] * 2 + ["far"] * 4
    assert not suite.validated


def test_every_system_is_measured_on_every_set(place):
    rows = read_results(place / "results.json").rows
    expected = {
        (method.name, seed, name)
        for method in (*COMPARED, *OURS)
        for seed in range(2 if method in OURS else 1)
        for name in SETS
    }
    assert {(row.method, row.seed, row.ood_set) for row in rows} == expected
    assert {row.n_id for row in rows} == {len(WNIDS) * EACH["val"]}


def test_the_recipes_are_held_against_text_alone_and_images_alone(place):
    run = json.loads((place / "results.json").read_text())["run"]
    compared = {(item["method"], item["other"]) for item in run["comparisons"]}
    plain = {(ours.name, other.name) for ours in OURS for other in COMPARED}
    assert compared == plain | {("synood-plus", "synood")}
    seen = len(WNIDS) * EACH["train"]
    assert run["details"]["chosen"]["mahalanobis-plus"]["training_images"] == seen
    assert f"learn from {seen} training images" in (place / "table.txt").read_text()


def test_published_figures_stand_beside_the_measured_ones(place):
    text = (place / "table.txt").read_text()
    assert "Mahalanobis++, published" in text
    assert "maha-norm at 53de550" in text
    found = {(row.method, row.ood_set): row for row in published("imagenet-near")}
    assert found["mahalanobis-plus", "NINCO"].fpr95 == 0.358
    assert found["neglabel", "SUN"] == next(
        row for row in published("imagenet-4", ["neglabel"]) if row.ood_set == "SUN"
    )
    assert found["neglabel", "NINCO"].convention == "ood-positive"  # its own, not that of `clean`
    assert not any(name == "average:all" for _, name in found)


def test_the_nearest_image_row_is_the_cosine_of_the_encoders_features(place, root, bundle):
    suite, encoder = open_benchmark("imagenet-near", root), load_bundle(bundle).encoder()
    sides = [suite.one("train"), suite.one("test"), suite.ood("test")[1]]
    train, test, ninco = (features_of(item, encoder) for item in sides)
    nearest = scores.Neighbours.fit(train)
    row = next(
        row
        for row in read_results(place / "results.json").rows
        if (row.method, row.ood_set) == ("nearest-image", "NINCO")
    )
    expected = metrics.auroc(nearest.cosine(test), nearest.cosine(ninco))
    assert row.auroc == pytest.approx(expected, abs=1e-6)


def features_of(image_set, encoder):
    from synood.images.decoding import read_image

    images = [read_image(record.path) for record in image_set.index().records]
    return np.concatenate([encoder.encode_images([image]) for image in images])

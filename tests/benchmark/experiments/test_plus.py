"""The recipe plus: what its parts do in a whole run, each taken away once."""

from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from bundling import CLASSES
from small_run import make_pictures, run
from synood.benchmark.protocol.retune import Retuner, read_class_images, read_pairs
from synood.detector.ood_detector import OODDetector
from synood.features.extractor import ImageFile
from synood.features.store import FeatureStore
from synood.files import read_jsonl, sha256_file
from synood.images.sources import folder_per_class
from synood.images.views import view_of
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline.recipe import RECIPES, resolve_recipe
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.rundir.workspace import Workspace
from synood.scores import cosine_similarity
from synood.tuning.projection import tune_projection

SET = ("projection.images_per_class=4", "projection.views=2", "calibration.per_class=8")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("data") / "images", count=12)


@pytest.fixture(scope="module")
def out(bundle, images, tmp_path_factory):
    """One run of the recipe; nobody may write to it."""
    where = tmp_path_factory.mktemp("runs") / "plus"
    run(images, bundle, where, *SET, recipe="plus")
    return where


def test_plus_differs_from_paper_only_in_what_its_page_says():
    paper, plus = (asdict(RECIPES[name]) for name in ("paper", "plus"))
    assert {part for part in paper if paper[part] != plus[part]} == {
        "name",
        "projection",
        "evidence",
    }
    changed = {k: v for k, v in plus["projection"].items() if paper["projection"][k] != v}
    assert changed == {
        "images_per_class": 16,
        "views": 3,
        "negatives_in_loss": "all",
        "epochs": 6,
        "weight_decay": 1e-2,
    }


def test_images_learnt_from_are_more_than_those_redrawn_and_never_set_the_threshold(out):
    uses = [tuple(row["uses"]) for row in read_jsonl(out / "select.jsonl")]
    counts = {use: uses.count(use) for use in set(uses)}
    expected = {"tune": 6, "learn": 6, "calibrate": 24}
    assert counts == {(use, "evidence"): count for use, count in expected.items()}
    assert len(read_synthetic(out / "synthesize")) == 6


def test_the_projection_is_what_all_images_all_views_and_all_negatives_say(out, bundle, images):
    """Put together here from the images on disk, view by view."""
    detector = OODDetector.from_pretrained(out / "detector")
    encoder = load_bundle(bundle).encoder()
    rows = [row for row in read_jsonl(out / "select.jsonl") if "calibrate" not in row["uses"]]
    real, targets = [], []
    for number in range(3):
        for row in rows:
            image = Image.open(images / row["id"]).convert("RGB")
            real.append(encoder.encode_images([view_of(image, row["sha256"], number)])[0])
            targets.append(CLASSES.index(row["label"]))
    synthetic = {p.id: p for p in read_synthetic(out / "synthesize").values()}
    chosen = [synthetic[row["id"]].path for row in rows if "tune" in row["uses"]]
    pairs = encoder.encode_images([Image.open(path) for path in chosen])
    negatives = encoder.encode_texts(detector.negative_prompts)
    projection = tune_projection(
        np.array(real),
        np.array(targets),
        pairs,
        cosine_similarity(pairs, negatives).argmax(axis=1),
        encoder.encode_texts([f"a photo of a {name}" for name in CLASSES]),
        negatives,
        RECIPES["plus"].projection,
        0,
    )
    for name in ("weight", "bias", "norm_weight", "norm_bias"):
        mine, theirs = getattr(projection, name), getattr(detector.projection, name)
        np.testing.assert_allclose(mine, theirs, atol=2e-4)


@pytest.mark.parametrize(
    "without",
    [
        "projection.images_per_class=2",
        "projection.views=0",
        'projection.negatives_in_loss="used"',
        "projection.epochs=3",
        "projection.weight_decay=1e-5",
    ],
)
def test_each_part_taken_away_gives_another_projection(out, bundle, images, without, tmp_path):
    whole = OODDetector.from_pretrained(out / "detector").projection
    index = folder_per_class(images)
    models = Models(load_bundle(bundle), "cpu")
    parts = ("mining.share=0.5", *SET, without)
    recipe = resolve_recipe("plus", models.bundle.recipe_defaults, parts)
    store = FeatureStore(
        out / "features", models.part_fingerprint("encoder"), lambda: models.encoder
    )
    pairs = read_pairs(out, index)
    class_images = read_class_images(out, index)
    if "images_per_class" in without:
        class_images = [item.source for item in pairs]
    retuner = Retuner(
        pairs, index.class_names, models, store, recipe, Workspace(tmp_path), class_images
    )
    part = retuner.detector([item.synthetic for item in pairs], 0).projection
    assert not np.array_equal(part.norm_weight, whole.norm_weight)


def test_a_run_taken_up_again_gives_its_own_detector(out, bundle, images, tmp_path):
    index = folder_per_class(images)
    models = Models(load_bundle(bundle), "cpu")
    recipe = resolve_recipe("plus", models.bundle.recipe_defaults, ("mining.share=0.5", *SET))
    store = FeatureStore(
        out / "features", models.part_fingerprint("encoder"), lambda: models.encoder
    )
    pairs = read_pairs(out, index)
    class_images = read_class_images(out, index)
    assert len(class_images) == 12
    retuner = Retuner(
        pairs, index.class_names, models, store, recipe, Workspace(tmp_path), class_images
    )
    again = retuner.detector([item.synthetic for item in pairs], 0)
    first = OODDetector.from_pretrained(out / "detector")
    np.testing.assert_array_equal(again.projection.weight, first.projection.weight)


def test_views_have_features_of_their_own(bundle, images, tmp_path):
    models = Models(load_bundle(bundle), "cpu")
    store = FeatureStore(tmp_path, models.part_fingerprint("encoder"), lambda: models.encoder)
    files = [(path, sha256_file(path)) for path in sorted(images.rglob("*.png"))[:3]]
    found = [store.images([ImageFile(*file, view) for file in files]) for view in (0, 1, 2, 1)]
    np.testing.assert_array_equal(found[1], found[3])
    assert all(np.abs(found[i] - found[j]).max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))

"""What systems compute in a world of colours; test_harness.py holds what is asked of every one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from colour_world import NAMES, OTHERS, Parts, colour_world
from colours import COLOURS, ColourEncoder
from synood import scores
from synood.benchmark.systems import find_system
from synood.benchmark.systems.odin import stepped
from synood.benchmark.systems.zoc import many_names
from synood.errors import InputError
from synood.models.classifier import train_probe
from synood.models.describer import FileDescriber

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return colour_world(tmp_path_factory.mktemp("colours"))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("odin", {"temperature": 1000.0, "step": 0.0014}),
        ("react", {"quantile": 0.9}),
        ("dice", {"sparsity": 0.7}),
        ("ash-p", {"share": 0.6}),
        ("ash-b", {"share": 0.65}),
        ("ash-s", {"share": 0.9}),
        ("scale", {"share": 0.85}),
        ("nnguide", {"k": 10}),
        ("openmax", {"revised": 3, "tail": 20}),
        ("fdbd", {"centred": True}),
        ("gl-mcm", {"temperature": 1.0, "local_weight": 1.0}),
        ("zoc", {"temperature": 0.01}),
        ("eoe", {"temperature": 1.0, "weight": 0.25}),
    ],
)
def test_without_validation_ood_the_published_setting_is_kept(world, name, published):
    inputs, _ = world
    chosen = find_system(name).fit(replace(inputs, validation_ood=()), 0).chosen
    assert {key: chosen[key] for key in published} == published
    assert "tried" not in chosen


class Linear:
    """A classifier of vectors, so that a step is seen in full."""

    class_names = ("a", "b", "c")
    fingerprint = "0"

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.layer = torch.nn.Linear(16, 3)
        self.layer.weight.data = torch.randn(3, 16, generator=generator)

    def logits(self, pixels):
        return self.layer(pixels)


def test_odin_steps_towards_the_class_it_takes_the_image_for():
    classifier, pixels = Linear(), torch.rand(6, 16, generator=torch.Generator().manual_seed(1))
    before = classifier.logits(pixels).softmax(1)
    moved = stepped(pixels, classifier, temperature=10.0, step=0.01)
    after = classifier.logits(moved).softmax(1)
    likeliest = before.argmax(1, keepdim=True)
    assert (after.gather(1, likeliest) > before.gather(1, likeliest)).all()
    assert (moved - pixels).abs().numpy() == pytest.approx(0.01, abs=1e-6)


def test_zoc_holds_class_names_against_what_the_picture_shows(world):
    inputs, encoded = world
    fitted = find_system("zoc").fit(replace(inputs, validation_ood=()), 0)
    namer = many_names(inputs)
    classes = inputs.class_features
    for row in (0, 7):
        one = encoded.test.take([row])
        similar = scores.cosine_similarity(one.features, classes)
        text = namer.describe(
            next(iter(one.require_images().batches())), [NAMES[similar.argmax()]]
        )[0]
        others = inputs.name_features(text.split(", "))
        both = np.concatenate([similar, scores.cosine_similarity(one.features, others)], axis=1)
        powers = np.exp((both[0] - both.max()) / 0.01)
        share = powers[:3].sum() / powers.sum()
        assert scores.share(fitted(one))[0] == pytest.approx(share, abs=1e-5)


def test_names_from_a_file_are_split_and_class_names_left_out(world, tmp_path):
    inputs, encoded = world
    lines = [
        f'{{"id": "{record.id}", "text": "RED, sea, stone.\\ncyan"}}'
        for record in encoded.test.require_images().records
    ]
    (tmp_path / "names.jsonl").write_text("\n".join(lines) + "\n")
    told = Parts(inputs.encoder, FileDescriber(tmp_path / "names.jsonl"))
    fitted = find_system("zoc").fit(replace(inputs, models=told, validation_ood=()), 0)
    similar = scores.cosine_similarity(encoded.test.features, inputs.class_features)
    others = inputs.name_features(["sea", "stone", "cyan"])
    expected = scores.neglabel_log_odds(
        similar, scores.cosine_similarity(encoded.test.features, others), 0.01, groups=None
    )
    assert fitted(encoded.test) == pytest.approx(expected, rel=1e-4)


def test_given_outlier_names_are_used_and_class_names_among_them_are_not(world):
    inputs, encoded = world
    given = replace(inputs, outlier_names=("yellow", "Green", "cyan"), validation_ood=())
    fitted = find_system("eoe").fit(given, 0)
    assert fitted.chosen["names"] == 2
    assert fitted.chosen["source"] == "given"
    expected = scores.eoe(
        scores.cosine_similarity(encoded.test.features, inputs.class_features),
        scores.cosine_similarity(encoded.test.features, inputs.name_features(["yellow", "cyan"])),
    )
    assert fitted(encoded.test) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputError, match="no name of an outlier is left"):
        find_system("eoe").fit(replace(inputs, outlier_names=("RED", "green")), 0)


def test_gl_mcm_sees_what_is_in_a_corner_only(world):
    inputs, encoded = world
    fitted = find_system("gl-mcm").fit(replace(inputs, validation_ood=()), 0)
    mcm = scores.mcm(scores.cosine_similarity(encoded.test.features, inputs.class_features))
    places = np.concatenate(list(encoded.test.patches()))
    local = [
        scores.mcm(scores.cosine_similarity(place, inputs.class_features)).max() for place in places
    ]
    assert fitted(encoded.test) == pytest.approx(mcm + np.array(local), abs=1e-5)


def test_an_encoder_without_places_is_refused_by_name(world):
    inputs, _ = world
    plain = replace(
        inputs.validation,
        images=replace(inputs.validation.images, encoder=ColourEncoder()),
    )
    with pytest.raises(InputError, match="encoder 'colours': has no patch features"):
        find_system("gl-mcm").fit(replace(inputs, validation=plain), 0)


def test_training_images_without_labels_are_refused(world):
    inputs, _ = world
    bare = replace(inputs, train=replace(inputs.train, labels=None))
    needing = ("mahalanobis", "relative-mahalanobis", "cosine", "rbf", "eoe", "class-mean", "she")
    more = ("mahalanobis-plus", "relative-mahalanobis-plus", "linear-head", "openmax")
    for name in (*needing, *more):
        with pytest.raises(InputError, match="has no class labels"):
            find_system(name).fit(bare, 0)


ENCODERS = ("nearest-image", "class-mean", "mahalanobis-plus", "relative-mahalanobis-plus")


@pytest.mark.parametrize("name", [*ENCODERS, "linear-head"])
def test_image_evidence_reads_the_encoders_features_and_no_text(world, name):
    inputs, encoded = world
    no_text = replace(inputs, store=None, load_words=None)
    fitted = find_system(name).fit(no_text, 0)
    blind = replace(encoded.test, logits=np.zeros_like(encoded.test.logits), images=None)
    np.testing.assert_array_equal(fitted(blind), fitted(encoded.test))
    assert fitted.chosen["training_images"] == len(inputs.train)
    assert fitted.added_parameters > 0


def test_image_evidence_is_what_its_formulas_say(world):
    inputs, encoded = world
    unit = [x / np.linalg.norm(x) for x in inputs.train.features.astype(float)]
    labels = inputs.train.labels
    means = [np.mean([u for u, c in zip(unit, labels, strict=True) if c == k], 0) for k in range(3)]
    tests = [x / np.linalg.norm(x) for x in encoded.test.features.astype(float)]
    nearest = [max(float(t @ u) for u in unit) for t in tests]
    of_means = [max(float(t @ m) / np.linalg.norm(m) for m in means) for t in tests]
    found = {name: find_system(name).fit(inputs, 0)(encoded.test) for name in ENCODERS[:2]}
    np.testing.assert_allclose(found["nearest-image"], nearest, atol=1e-6)
    np.testing.assert_allclose(found["class-mean"], of_means, atol=1e-6)


def test_the_head_is_scored_by_the_log_odds_of_its_likeliest_class(world):
    inputs, encoded = world
    found = find_system("linear-head").fit(inputs, 0)(encoded.test)
    rows = scores.normalise(inputs.train.features)
    probe = train_probe(rows, inputs.train.labels, NAMES, inputs.encoder)
    logits = scores.normalise(encoded.test.features).astype(float) @ probe.weight.T + probe.bias
    p = np.array([(np.exp(row) / np.exp(row).sum()).max() for row in logits])
    np.testing.assert_allclose(found, np.log(p / (1 - p)), rtol=1e-4)


def test_one_class_has_no_relative_distance_and_no_head(world):
    inputs, _ = world
    rows = np.flatnonzero(inputs.train.labels == 0)
    alone = replace(inputs, class_names=NAMES[:1], train=inputs.train.take(rows))
    for name in ("relative-mahalanobis-plus", "linear-head"):
        with pytest.raises(InputError, match="needs two classes or more"):
            find_system(name).fit(alone, 0)
    for name in ENCODERS[:3]:
        assert np.isfinite(find_system(name).fit(alone, 0)(alone.train)).all()


def test_csp_mines_other_candidates_than_neglabel(world):
    inputs, _ = world
    asked = []

    def load(mining):
        asked.append(mining)
        return inputs.load_words(mining)

    for name in ("neglabel", "csp"):
        find_system(name).fit(replace(inputs, load_words=load), 0)
    assert [(m.pool, m.prompt_set, m.max_similarity) for m in asked] == [
        ("neglabel", "photo", None),
        ("csp", "csp", 0.95),
    ]


def test_colours_are_known():
    assert set(NAMES) | set(OTHERS) <= set(COLOURS)

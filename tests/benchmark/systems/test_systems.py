"""Every system points the right way, learns nothing from test images, and says what it chose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from colours import COLOURS, ColourEncoder, picture
from synood import metrics, scores
from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.encoding import EncodedSet, SetImages, image_logits, labels_of
from synood.benchmark.protocol.fit_inputs import CandidateWords, FitInputs
from synood.benchmark.protocol.system import System
from synood.benchmark.systems import find_system, registry
from synood.benchmark.systems.odin import stepped
from synood.benchmark.systems.zoc import many_names
from synood.errors import InputError
from synood.features.store import FeatureStore
from synood.images.sources import ImageIndex, ImageRecord
from synood.labels.wordnet import Word
from synood.models.classifier import train_probe
from synood.models.describer import FileDescriber, Tagger
from synood.settings import MiningSettings, Recipe, ScoreSettings

pytestmark = pytest.mark.numerical

NAMES = ("red", "green", "blue")
OTHERS = ("yellow", "cyan", "magenta")
# on a run's images: tests/benchmark/experiments/
TUNED_ON_PICTURES = {"synood", "dreamood", "lapt"}
TRAINED = {
    "coop",
    "cocoop",
    "locoop",
    "lsn",
    "clipn",
    "vos",
    "npos",
    *("contrastive", "hvcm", "tagood", "negprompt", "id-like", "local-prompt"),
}  # test_trained.py


class PatchedEncoder(ColourEncoder):
    """Four quarters of an image as its places."""

    def encode_image_patches(self, images, batch_size=64):
        quarters = []
        for image in images:
            w, h = (side // 2 for side in image.size)
            boxes = [(x, y, x + w, y + h) for y in (0, h) for x in (0, w)]
            quarters.append(self.encode_images([image.crop(box) for box in boxes]))
        return np.stack(quarters)


class Parts:
    """The parts of a bundle that systems ask for."""

    def __init__(self, encoder, describer):
        self.encoder, self.describer = encoder, describer


class ReluClassifier:
    """A linear head on 32 non-negative features of an image's mean colour, learned here."""

    class_names, fingerprint = NAMES, "0"

    def __init__(self, encoder, features, labels):
        self._encoder = encoder
        self._directions = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
        seen = self._shown(torch.from_numpy(features)).numpy()
        fitted = LogisticRegression(C=10.0).fit(seen, labels)
        self.head = fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32)

    def _shown(self, features):
        return torch.relu(features @ self._directions)

    def penultimate(self, pixels):
        return self._shown(self._encoder.encode_pixels(pixels))

    def logits(self, pixels):
        weight, bias = (torch.from_numpy(array) for array in self.head)
        return self.penultimate(pixels) @ weight.T + bias


def written(folder, colours, each, seed):
    """Files of noisy colours, one folder a colour, and their index."""
    records = []
    for name in colours:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            path = folder / name / f"{number:03d}.png"
            picture(name, noise=seed + 1000 * number + len(name)).save(path)
            records.append(ImageRecord(f"{name}/{number:03d}.png", path, name))
    return ImageIndex(folder, tuple(colours), tuple(records))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Material and test views of a world of colours: OOD is yellow and magenta, or cyan."""
    root, encoder = tmp_path_factory.mktemp("colours"), PatchedEncoder()
    train = written(root / "train", NAMES, 20, 1)
    images = [Image.open(record.path).convert("RGB") for record in train.records]
    probe = ReluClassifier(encoder, encoder.encode_images(images), labels_of(train))

    def seen(name, group, colours, each, seed):
        index = written(root / name, colours, each, seed)
        images = [Image.open(record.path).convert("RGB") for record in index.records]
        return EncodedSet(
            name,
            group,
            encoder.encode_images(images),
            image_logits(images, probe),
            labels_of(index) if group == "id" else None,
            SetImages(index.records, probe, encoder),
        )

    words = tuple(Word(text, "noun", "") for text in (*OTHERS, "sea", "stone", "Red"))
    store = FeatureStore(root / "features", encoder.fingerprint, lambda: encoder)
    vocabulary = [*OTHERS, "sea", "stone"]
    inputs = FitInputs(
        class_names=NAMES,
        train=seen("train-again", "id", NAMES, 20, 1),
        validation=seen("validation", "id", NAMES, 8, 50_000),
        validation_ood=(seen("v-near", "near", OTHERS, 8, 60_000),),
        validation_names=OTHERS,
        recipe=Recipe(
            "paper",
            mining=MiningSettings(share=1.0, prompt_set="photo"),
            score=ScoreSettings(temperature=0.05, groups=1),
        ),
        models=Parts(encoder, Tagger(encoder, vocabulary)),
        classifier=probe,
        store=store,
        load_words=lambda mining: CandidateWords(
            words, encoder.encode_texts([f"a photo of a {word.text}" for word in words])
        ),
    )
    encoded = scoring.EncodedSuite(
        inputs.validation,
        inputs.validation_ood,
        seen("test", "id", NAMES, 10, 70_000),
        (
            seen("near", "near", OTHERS[::2], 10, 80_000),
            seen("far", "far", OTHERS[1:2], 10, 90_000),
        ),
    )
    return inputs, encoded


# GradNorm prefers bright images here, whatever their colour; tests/scores/test_features.py plants
# features of one size for it.
# FSSD measures the distance from grey, and cyan is as far from it as red.
UNTOLD = {"gradnorm", "fssd"}
WITH_MAPS = {"rankfeat"}  # test_rankfeat.py
FITTED_HERE = [
    system.method.name
    for system in registry()
    if isinstance(system, System)  # test-time ones: test_streams.py
    and system.method.name not in {*TUNED_ON_PICTURES, *TRAINED, *WITH_MAPS}
]


@pytest.mark.parametrize("name", [name for name in FITTED_HERE if name not in UNTOLD])
def test_in_distribution_images_score_higher(world, name):
    inputs, encoded = world
    fitted = find_system(name).fit(inputs, 0)
    inside = fitted(encoded.test)
    assert inside.shape == (30,)
    assert inside.dtype == np.float32
    for ood in encoded.test_ood:
        separation = metrics.auroc(inside, fitted(ood))
        assert separation > 0.9, (ood.name, separation)


@pytest.mark.parametrize("name", FITTED_HERE)
def test_an_image_scores_the_same_in_any_company(world, name):
    inputs, encoded = world
    fitted = find_system(name).fit(inputs, 0)
    rows = np.array([29, 3, 17])
    alone = fitted(encoded.test.take(rows))
    np.testing.assert_allclose(alone, fitted(encoded.test)[rows], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", FITTED_HERE)
def test_what_was_chosen_is_the_best_tried_and_can_be_written(world, name):
    import json

    inputs, _ = world
    fitted = find_system(name).fit(inputs, 0)
    chosen = json.loads(json.dumps(fitted.chosen))
    if "tried" in chosen:
        inside = fitted(inputs.validation)
        found = metrics.auroc(inside, fitted(inputs.validation_ood[0]))
        assert chosen["auroc"] == pytest.approx(found)
        assert chosen["auroc"] == max(trial["auroc"] for trial in chosen["tried"])


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

"""What every system is built on: views of a set, streams, the registry, gathered material."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from small_suite import CLASSES, tiny_bundle, write_small_suite
from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.encoding import EncodedSet, encode_set, join
from synood.benchmark.protocol.methods import Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem, stream_of
from synood.benchmark.results.results import Results, read_results, write_results
from synood.benchmark.suites.suite import read_suite
from synood.benchmark.systems import find_system, registry
from synood.cli.app import main
from synood.errors import InputError
from synood.features.store import FeatureStore
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline.recipe import resolve_recipe
from synood.progress import no_progress

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    root = tmp_path_factory.mktemp("gathered")
    write_small_suite(root / "suite")
    bundle = load_bundle(tiny_bundle(root / "bundle", paints=False))
    models = Models(bundle, "cpu")
    store = FeatureStore(
        root / "features", models.part_fingerprint("encoder"), lambda: models.encoder
    )
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    suite = read_suite(root / "suite")
    return suite, *scoring.gather(suite, models, store, recipe, no_progress)


def test_logits_are_the_head_on_the_penultimate_features(gathered):
    _, _, encoded = gathered
    for item in (encoded.validation, *encoded.test_ood):
        weight, bias = item.head
        assert item.penultimate @ weight.T + bias == pytest.approx(item.logits, abs=1e-5)


def test_what_the_classifier_saw_is_kept_for_the_next_run(gathered):
    suite, inputs, encoded = gathered

    class Absent:
        """The same classifier, which must not be asked again."""

        class_names = inputs.classifier.class_names
        fingerprint = inputs.classifier.fingerprint

    again = encode_set(suite.one("test"), inputs.store, Absent())
    assert again.logits.tolist() == encoded.test.logits.tolist()
    assert again.penultimate.tolist() == encoded.test.penultimate.tolist()


def test_a_network_without_penultimate_features_gives_its_logits_alone(gathered):
    suite, inputs, encoded = gathered

    class Headless:
        class_names, fingerprint = inputs.class_names, "headless"

        @property
        def head(self):
            raise InputError("no single linear layer")

        def logits(self, pixels):
            return inputs.classifier.logits(pixels)

        def penultimate(self, pixels):
            raise InputError("no single linear layer")

    headless = encode_set(suite.one("test"), inputs.store, Headless(), inputs.encoder)
    assert headless.logits == pytest.approx(encoded.test.logits, abs=1e-5)
    with pytest.raises(InputError, match="no single linear layer"):
        _ = headless.penultimate


def test_labels_name_the_class_of_each_picture(gathered):
    suite, inputs, encoded = gathered
    assert inputs.class_names == tuple(CLASSES)
    for item, role in ((inputs.train, "train"), (encoded.test, "test")):
        labels = [record.label for record in suite.one(role).index().records]
        assert [inputs.class_names[label] for label in item.labels] == labels
    assert encoded.test_ood[0].labels is None


def test_local_features_come_in_batches_for_every_picture(gathered):
    _, _, encoded = gathered
    parts = list(encoded.test.patches())
    assert sum(len(part) for part in parts) == len(encoded.test)
    assert parts[0].shape[1:] == (16, 16)  # 4 x 4 patches, 16 features


def test_some_rows_of_a_set_have_the_views_of_those_rows(gathered):
    _, _, encoded = gathered
    rows = np.array([5, 0, 3])
    whole = replace(encoded.test)  # a copy that has computed nothing yet
    for before in (False, True):
        if before:
            assert whole.penultimate == pytest.approx(encoded.test.penultimate, abs=1e-6)
        some = whole.take(rows)
        assert some.penultimate == pytest.approx(whole.penultimate[rows], abs=1e-6)
        assert some.features.tolist() == whole.features[rows].tolist()
        assert some.labels.tolist() == whole.labels[rows].tolist()
        assert [r.id for r in some.require_images().records] == [
            whole.require_images().records[i].id for i in rows
        ]


def test_joined_sets_are_one_after_the_other(gathered):
    _, _, encoded = gathered
    both = join("both", [encoded.test, encoded.test_ood[0]])
    n = len(encoded.test)
    assert both.take(range(n)).logits.tolist() == encoded.test.logits.tolist()
    assert both.take(range(n, len(both))).penultimate == pytest.approx(
        encoded.test_ood[0].penultimate, abs=1e-6
    )


def test_a_set_without_pictures_says_so():
    bare = EncodedSet("bare", "far", np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    for ask in (lambda: bare.penultimate, lambda: bare.head, lambda: next(bare.patches())):
        with pytest.raises(InputError, match="set 'bare': made without its images"):
            ask()


def test_a_few_images_of_each_class_are_taken_evenly(gathered):
    suite, inputs, _ = gathered
    some = encode_set(
        suite.one("train"), inputs.store, inputs.classifier, inputs.encoder, per_class=2
    )
    ids = [record.id for record in some.require_images().records]
    assert ids == sorted(
        f"{name.replace(' ', '_')}/{n:04d}.png" for name in CLASSES for n in (0, 2)
    )


class Recording:
    """A test-time scorer that remembers what it saw: each image scores its place of arrival."""

    def score_stream(self, stream, order):
        scores = np.empty(len(stream), np.float32)
        scores[order] = np.arange(len(stream), dtype=np.float32)
        return scores


STREAM = StreamSystem(
    Method("arrival", "Arrival", "none", "test-time", ("the stream of test images",)),
    lambda inputs, seed: FittedStream(Recording()),
)


def test_a_stream_holds_one_in_distribution_and_one_ood_set_shuffled(gathered):
    _, inputs, encoded = gathered
    scores, _ = scoring.score_system(STREAM, inputs, encoded, [3, 4])
    assert [item.seed for item in scores] == [3, 4]
    for item in scores:
        for ood in encoded.test_ood:
            arrived = np.concatenate(item.sides(ood.name))
            assert sorted(arrived.tolist()) == list(range(len(encoded.test) + len(ood)))
    first, second = (item.ood["faces"].tolist() for item in scores)
    assert first != second
    stream = stream_of(encoded.test, encoded.test_ood[0], 3)
    assert np.argsort(np.concatenate(scores[0].sides(encoded.test_ood[0].name))).tolist() == list(
        stream.order
    )


def test_a_row_carries_the_order_of_its_stream_through_a_file(gathered, tmp_path):
    _, inputs, encoded = gathered
    scores, _ = scoring.score_system(STREAM, inputs, encoded, [3])
    plain, _ = scoring.score_system(find_system("msp"), inputs, encoded, [0])
    rows = scoring.measure(
        [STREAM.method, find_system("msp").method],
        {"arrival": scores, "msp": plain},
        encoded,
        resamples=2,
    )
    write_results(tmp_path / "results.json", Results({}, rows))
    again = read_results(tmp_path / "results.json").rows
    assert again == rows
    assert {row.method: row.stream and row.stream["seed"] for row in again} == {
        "arrival": 3,
        "msp": None,
    }


def test_systems_of_the_registry_have_names_of_their_own_and_papers():
    systems = registry()
    names = [system.method.name for system in systems]
    assert len(set(names)) == len(names)
    for system in systems:
        assert system.method.paper
        assert system.method.needs
        assert (system.method.kind == "test-time") == isinstance(system, StreamSystem)
    with pytest.raises(InputError, match="system 'odin-nonsense' is unknown; use one of msp,"):
        find_system("odin-nonsense")


def test_fitting_a_system_does_not_look_at_test_images(gathered):
    _, inputs, encoded = gathered
    for system in (find_system("mcm"), find_system("neglabel")):
        scores, chosen = scoring.score_system(system, inputs, encoded, [0, 1])
        assert len(scores) == 1  # nothing in it depends on a seed
        assert chosen["tried"]
        assert scores[0].in_distribution.shape == (len(encoded.test),)


def test_without_validation_ood_the_published_settings_are_kept(gathered):
    _, inputs, _ = gathered
    blind = replace(inputs, validation_ood=())
    assert find_system("mcm").fit(blind, 0).chosen == {}
    assert "tried" not in find_system("neglabel").fit(blind, 0).chosen


@pytest.mark.parametrize("name", ["synood", "dreamood", "lapt"])
def test_some_systems_need_painted_pictures(gathered, name):
    _, inputs, _ = gathered
    with pytest.raises(InputError, match="give a finished run"):
        find_system(name).fit(inputs, 0)


def test_registering_loads_no_torch():
    from test_package import loaded_after

    assert "torch" not in loaded_after("from synood.benchmark.systems import registry; registry()")


def test_pixels_are_those_of_the_files(gathered):
    _, _, encoded = gathered
    pixels = torch.cat(list(encoded.test.require_images().pixels()))
    assert pixels.shape == (len(encoded.test), 3, 32, 32)
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_the_command_line_lists_every_system_by_kind_and_year(capsys):
    assert main(["benchmark", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for system in registry():
        method = system.method
        line = next(i for i, text in enumerate(lines) if text.split()[0] == method.name)
        assert method.paper in lines[line]
        assert lines[line + 1].strip() == (method.url or "-")
        assert all(need in lines[line + 2] for need in method.needs)
    heads = [line.split() for line in lines if not line.startswith(" ")]
    assert [head[1:3] for head in heads] == sorted(head[1:3] for head in heads)
    assert len(heads) == len(registry())


def test_every_system_has_its_paragraph_on_one_page():
    pages = sorted(DOCS.glob("systems-*.md"))
    named = re.findall(
        r"^\*\*[^*]+\*\* \(((?:`[^`]+`,? ?)+)[;)]",
        "\n".join(page.read_text() for page in pages),
        re.M,
    )
    documented = {name for names in named for name in re.findall(r"`([^`]+)`", names)}
    known = {system.method.name for system in registry()}
    assert documented == known

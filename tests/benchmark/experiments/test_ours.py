"""Experiments of our own: where images lie, the recipe plus part by part, ideas it leaves out."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from small_suite import CLASSES
from staging import SEEDS, find, furnished, rows_by_method, staged, unit
from synood.benchmark.experiments import _album as album
from synood.benchmark.experiments import boundary, find_experiment
from synood.benchmark.experiments.ideas import BASES, IDEAS
from synood.benchmark.experiments.plus import PARTS, class_images_from, with_parts
from synood.benchmark.experiments.setup import prepare
from synood.benchmark.experiments.writing import write_outcome
from synood.benchmark.protocol.retune import read_class_images, synthesizer_of
from synood.benchmark.protocol.scoring import encode_suite
from synood.benchmark.report.extra_tables import extra_tables_of
from synood.benchmark.results.results import Results, read_results
from synood.benchmark.suites.suite import read_suite
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.cli.app import main
from synood.errors import InputError
from synood.metrics import auroc
from synood.models.bundles import load_bundle
from synood.pipeline.recipe import RECIPES, resolve_recipe
from synood.pipeline.rundir.shards import read_synthetic
from synood.progress import no_progress


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return furnished(tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="module")
def setup(place):
    return staged(place)


@pytest.fixture(scope="module")
def lying(setup):
    """The experiment with fewer strengths: of four steps 0.2 leaves none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary, "STRENGTHS", (0.3,))
        patch.setattr(boundary, "MARGIN_STRENGTHS", (0.3,))
        patch.setattr(boundary, "SMALL_STRENGTHS", (0.3,))
        return find_experiment("boundary").run(setup)


GUIDES = ("energy", "margin", "unguided")


def test_boundary_holds_every_guide_at_every_strength_against_neglabel_and_the_run(setup, lying):
    kinds = {f"{guide}-{strength}" for guide in GUIDES for strength in ("0.3", "0.6")}
    kinds |= {"energy-in-small-steps-0.3", "margin-in-small-steps-0.3"}
    kinds |= {"vae", "jigsaw", "neg-image"}
    found = rows_by_method(lying)
    assert set(found) == {"neglabel", *kinds}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in kinds)
    for other in ("neglabel", "energy-0.6"):
        held = {item.method for item in lying.comparisons if item.other == other}
        assert held == kinds - {other}
    titles = [line[0] for line in lying.extra_tables[0].lines]
    assert titles == ["the images redrawn", *(method.title for method in lying.methods[1:])]


def test_boundary_takes_the_runs_own_pictures_where_they_were_painted_so(setup, lying):
    folder = setup.workspace.root / "controls"
    assert not (folder / "energy-0.6").exists()
    for name in ("energy-0.3", "margin-0.3", "margin-0.6", "unguided-0.3", "unguided-0.6"):
        assert len(read_synthetic(folder / name)) == len(setup.pairs)
    plain = {one.id: one for one in read_synthetic(folder / "unguided-0.6").values()}
    for control in setup.paint(find("unguided")):
        pair = [
            np.asarray(Image.open(one.path)).astype(int) for one in (control, plain[control.id])
        ]
        assert np.abs(pair[0] - pair[1]).max() <= 1
    scores = {
        name: [row.auroc for row in lying.rows if row.method == name]
        for name in ("energy-0.6", "unguided-0.6")
    }
    own = setup.scored("own", lambda seed: setup.retuner.detector(setup.synthetic(), seed))
    ids = [item.in_distribution for item in own]
    oods = [list(item.ood.values()) for item in own]
    expected = [auroc(i, o) for i, sets in zip(ids, oods, strict=True) for o in sets]
    assert scores["energy-0.6"] == pytest.approx(expected)


def test_boundary_says_where_pictures_lie(setup, lying):
    """Every figure of a line anew, from the images on disk and the encoder."""
    encoder, names = setup.inputs.encoder, setup.inputs.class_names
    classes = unit(encoder.encode_texts([f"the nice {name}" for name in names]))
    negatives = setup.retuner.negative_features()
    folder = setup.workspace.root / "controls" / "margin-0.3"
    made = {one.id: one for one in read_synthetic(folder).values()}
    images = [made[item.source.id] for item in setup.pairs]
    features = unit(encoder.encode_images([Image.open(one.path) for one in images]))
    target = setup.recipe.guidance.target
    share = [np.mean([one.energies[place] >= target for one in images]) for place in (0, -1)]
    cosines = features @ np.concatenate([classes, negatives]).T
    heat = np.exp(cosines.astype(np.float64) / setup.recipe.score.temperature)
    odds = heat[:, len(names) :].sum(1) / heat[:, : len(names)].sum(1)
    nearest = cosines.argmax(1)
    right = [names.index(item.source.label) for item in setup.pairs]
    near = next(item for item in setup.encoded.validation_ood if item.group == "near")
    expected = [
        *share, np.mean(np.log(odds) >= target), np.mean(nearest == right),
        np.mean(nearest < len(names)), np.median(-np.log(odds)),
        (unit(near.features) @ features.T).max(1).mean(),
    ]  # fmt: skip
    (line,) = (line for line in lying.extra_tables[0].lines if line[0] == "margin, strength 0.3")
    figures = [float(cell) for cell in line[1:]]
    np.testing.assert_allclose(figures[:5], 100 * np.array(expected[:5]), atol=0.051)
    assert figures[5] == pytest.approx(expected[5], abs=0.02)
    assert figures[6] == pytest.approx(expected[6], abs=2e-3)


def test_boundary_shows_the_same_images_by_every_kind(setup, lying):
    sheet = Image.open(io.BytesIO(lying.images["kinds.webp"])).convert("RGB")
    rows, columns = len(lying.methods), len(setup.pairs)  # NegLabel has no images, sources do
    step = album.SIDE + album.GAP
    assert sheet.size == (album.TITLE + columns * step + album.GAP, rows * step + album.GAP)
    folder = setup.workspace.root / "controls" / "jigsaw"
    made = {one.id: one.path for one in read_synthetic(folder).values()}
    row = [method.name for method in lying.methods].index("jigsaw")
    for column, item in enumerate(setup.pairs):
        corner = album.TITLE + column * step, album.GAP + row * step
        cell = sheet.crop((*corner, corner[0] + album.SIDE, corner[1] + album.SIDE))
        shown = Image.open(made[item.source.id]).convert("RGB").resize(cell.size)
        assert np.abs(np.asarray(cell, float) - np.asarray(shown)).mean() < 20


def test_boundary_says_how_the_encoder_sees_each_image_set(setup, lying):
    lines = {line[0]: line[1:] for line in lying.extra_tables[1].lines}
    sets = [setup.inputs.train, setup.encoded.validation, setup.encoded.test]
    sets += [*setup.encoded.validation_ood, *setup.encoded.test_ood]
    assert set(lines) == {item.name for item in sets}
    texts = setup.inputs.class_features
    for item in sets:
        count, cosine, low, median, length, named = lines[item.name]
        cosines = unit(item.features) @ texts.T
        assert int(count) == len(item.features)
        assert float(cosine) == pytest.approx(cosines.max(1).mean(), abs=6e-4)
        assert float(length) == pytest.approx(np.linalg.norm(item.features, axis=1).mean(), abs=0.1)
        assert float(low) <= float(median)
        assert bool(named) == (item.group == "id")
        if named:
            right = np.mean(cosines.argmax(1) == item.labels)
            assert float(named) == pytest.approx(100 * right, abs=0.06)


def test_labels_index_the_suites_classes_where_a_test_set_lacks_one(setup, tmp_path):
    shutil.copytree(setup.suite.root, tmp_path / "suite")
    shutil.rmtree(tmp_path / "suite/test/id/cat")
    path = tmp_path / "suite/suite.json"
    written = json.loads(path.read_text())
    for item in written["sets"]:
        item["n"] -= 6 * (item["path"] == "test/id")
    path.write_text(json.dumps(written))
    found = setup.inputs
    encoded = encode_suite(
        read_suite(tmp_path / "suite"), found.store, found.classifier, no_progress
    )
    names = [found.class_names[label] for label in encoded.test.labels]
    assert names == ["dog"] * 6 + ["tea pot"] * 6


def test_sheets_are_in_every_form_of_the_table_and_on_the_page(setup, lying, tmp_path, capsys):
    text = write_outcome(tmp_path, find_experiment("boundary"), setup, lying)
    assert main(["report", str(tmp_path / "results.json"), "--format", "text"]) == 0
    told = capsys.readouterr().out
    forms = [(tmp_path / name).read_text() for name in ("table.md", "table.tex", "report.html")]
    for sheet in lying.extra_tables:
        for line in sheet.lines:
            for form in (text, told, *forms):
                cells = [cell for cell in line[1:] if cell]
                assert any(all(cell in row for cell in cells) for row in form.splitlines())
    assert extra_tables_of(read_results(tmp_path / "results.json")) == lying.extra_tables


@pytest.mark.parametrize(
    "extra_tables",
    [{}, [1], [{"title": "x", "head": [], "lines": []}],
     [{"title": "x", "head": ["a"], "lines": [["b", "c"]]}],
     [{"title": "x", "head": ["a"], "lines": [[1]]}]],
)  # fmt: skip
def test_malformed_sheets_are_refused_in_a_sentence(extra_tables):
    with pytest.raises(InputError, match=r"run\.sheets"):
        extra_tables_of(Results({"sheets": extra_tables}, ()))


def test_the_margin_of_a_recipe_judges_the_controls_too(setup):
    guidance = replace(setup.recipe.guidance, objective="margin")
    recipe = replace(setup.recipe, guidance=guidance)
    inputs = replace(setup.inputs, recipe=recipe)
    made = replace(setup, inputs=inputs).paint(find("jigsaw"))
    assert [one.sha256 for one in made] == [one.sha256 for one in setup.paint(find("jigsaw"))]
    synthesizer = synthesizer_of(inputs, find("jigsaw"))
    (first,) = synthesizer.synthesize([(setup.pairs[0].request(), None)]).results
    texts = setup.inputs.class_features, setup.retuner.negative_features()
    features = unit(setup.inputs.encoder.encode_images([Image.fromarray(first.image)]))
    masses = [
        np.log(np.exp((features @ side.T).astype(np.float64) / recipe.score.temperature).sum())
        for side in texts
    ]
    assert first.energies[-1] == pytest.approx(masses[1] - masses[0], abs=1e-3)


def test_plus_takes_each_kind_of_evidence_alone_and_away(setup):
    outcome = find_experiment("plus").run(setup)
    kinds = {"plus:no-pictures", "plus:unguided", "plus:vae", "plus:jigsaw"}
    evidence = ("text", "distance", "neighbour", "head")
    lines = {"paper", "plus", *kinds, *(f"plus{sign}{kind}" for kind in evidence for sign in ":-")}
    baselines = {method.name for method in ENCODER_BASELINES}
    found = rows_by_method(outcome)
    assert set(found) == {"neglabel", *baselines, *lines}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in lines)
    rivals = {item.other for item in outcome.comparisons if item.method == "paper"}
    assert rivals == {"neglabel", *baselines}
    held = {item.other for item in outcome.comparisons if item.method == "plus"}
    assert held == {"neglabel", *baselines, *lines} - {"plus"}


def test_the_parts_of_plus_are_where_it_differs_from_paper(setup):
    paper, plus = RECIPES["paper"], RECIPES["plus"]
    assert with_parts(paper, PARTS).projection == plus.projection
    assert with_parts(plus, ()).projection == paper.projection
    one = with_parts(setup.recipe, ["views"])
    assert one == replace(setup.recipe, projection=replace(setup.recipe.projection, views=3))


def test_images_learnt_from_are_those_that_a_run_would_add(setup, place):
    bundle = load_bundle(place / "bundle")
    assignments = ("projection.images_per_class=3", "select.per_class=1")
    recipe = resolve_recipe("plus", bundle.recipe_defaults, assignments)
    other = prepare(place / "plus", setup.suite, bundle, recipe, SEEDS)
    index = setup.suite.one("train").index()
    chosen = [image.id for image in read_class_images(place / "plus", index)]
    assert [image.id for image in class_images_from(other, 3)] == chosen
    assert len(chosen) == 3 * len(CLASSES)
    assert [image.id for image in class_images_from(other, None)] == chosen[: len(CLASSES)]


def test_ideas_are_held_against_the_recipe_they_are_added_to(setup):
    outcome = find_experiment("ideas").run(setup)
    found = rows_by_method(outcome)
    lines = {base + more for base in BASES for more in ("", *(f"+{name}" for name in IDEAS))}
    assert set(found) == {"neglabel", *lines}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in lines)
    against = {(item.method, item.other) for item in outcome.comparisons}
    ideas = {(f"{base}+{name}", base) for base in BASES for name in IDEAS}
    assert against == {*ideas, *((base, "neglabel") for base in BASES)}
    aurocs = {
        name: [row.auroc for row in outcome.rows if row.method == name]
        for name in ("paper", "paper+identity", "plus")
    }
    assert len({tuple(values) for values in aurocs.values()}) == 3

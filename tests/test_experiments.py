"""The paper's tables and figures on tiny models: each measures what it says, and leaves files."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from figures import METHODS, planted_scores, rows_of
from small_suite import CLASSES, tiny_bundle, write_small_suite
from synood.benchmark import writing
from synood.benchmark.bench import view_suite
from synood.benchmark.controls import Studio
from synood.benchmark.experiments import _album as album
from synood.benchmark.experiments import boundary, experiments, find_experiment
from synood.benchmark.experiments.figure_3 import SHARES, _counts, first
from synood.benchmark.experiments.ideas import BASES, IDEAS
from synood.benchmark.experiments.interface import Outcome
from synood.benchmark.experiments.plus import PARTS, learnt_from, with_parts
from synood.benchmark.experiments.stage import prepare, usual
from synood.benchmark.experiments.table_4 import TUNED, half
from synood.benchmark.experiments.table_5 import WAYS
from synood.benchmark.experiments.writing import write_outcome
from synood.benchmark.line_chart import line_chart
from synood.benchmark.methods import NEGLABEL, SYNOOD, titles
from synood.benchmark.rehearsal import guide_of, paint_control, read_learnt
from synood.benchmark.results import Results, read_results
from synood.benchmark.sheets import sheets_of
from synood.benchmark.suites import read_suite
from synood.benchmark.systems import find_system, registry
from synood.cli import main
from synood.errors import InputError
from synood.metrics import auroc
from synood.models.bundles import load_bundle
from synood.models.counting import parameter_count
from synood.pipeline._shards import read_synthetic
from synood.pipeline._tune import tune
from synood.pipeline._workspace import Workspace, unheard
from synood.pipeline.recipe import RECIPES, resolve_recipe
from synood.pipeline.stages import Assignment

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("experiments")
    write_small_suite(root / "suite", split="hard")
    tiny_bundle(root / "bundle")
    return root


@pytest.fixture(scope="module")
def stage(place):
    bundle = load_bundle(place / "bundle")
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    return prepare(place / "run", read_suite(place / "suite"), bundle, recipe, SEEDS, resamples=20)


def rows_by_method(outcome):
    found = {}
    for row in outcome.rows:
        found.setdefault(row.method, set()).add((row.seed, row.ood_set))
    return found


def test_table_1_holds_every_system_and_plus_after_synood(stage):
    outcome = find_experiment("table-1").run(stage)
    names = [method.name for method in outcome.methods]
    place = names.index("synood")
    assert names[place + 1] == "synood-plus"
    registered = {system.method.name: system.method.title for system in registry()}
    missing = registered.keys() - set(names)
    assert all(any(registered[name] in note for note in outcome.notes) for name in missing)
    assert len(missing) == len(outcome.notes) < 5
    found = rows_by_method(outcome)
    assert found["synood-plus"] == found["synood"]
    inductive = {m.name for m in outcome.methods if m.kind == "inductive"} - {"neglabel"}
    against = {name: set() for name in inductive}
    for item in outcome.comparisons:
        against[item.method].add(item.other)
    assert against.pop("synood-plus") == {"neglabel", "synood", "csp"}
    assert all(others == {"neglabel"} for others in against.values())
    scores = {
        name: [row.auroc for row in outcome.rows if row.method == name]
        for name in ("synood", "synood-plus")
    }
    assert scores["synood"] != scores["synood-plus"]
    assert all(method.title in outcome.charts[0].words for method in outcome.methods)


def test_table_1_has_plus_once_when_it_is_the_recipe_at_hand(stage, monkeypatch):
    only = (find_system("neglabel"), find_system("synood"))
    monkeypatch.setattr("synood.benchmark.systems.registry", lambda: only)
    projection = replace(RECIPES["plus"].projection, logit_scale=10.0)
    recipe = replace(stage.recipe, projection=projection)
    at_hand = replace(stage, material=replace(stage.material, recipe=recipe))
    outcome = find_experiment("table-1").run(at_hand)
    assert [method.name for method in outcome.methods] == ["neglabel", "synood"]


def test_a_second_stage_on_the_same_run_paints_nothing(stage, place):
    before = {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*.png")}
    bundle = load_bundle(place / "bundle")
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    again = prepare(place / "run", stage.suite, bundle, recipe, SEEDS)
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*.png")}
    assert again.recipe == stage.recipe
    assert stage.choices


def test_table_4_tunes_every_half_on_every_kind(stage):
    outcome = find_experiment("table-4").run(stage)
    kinds = ("synood", "neg-image", "unguided", "vae", "jigsaw")
    expected = {f"{kind}:{part}" for kind in kinds for part in TUNED}
    found = rows_by_method(outcome)
    assert set(found) == {"neglabel", *expected}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in expected)
    assert {item.other for item in outcome.comparisons} == {"neglabel"}
    pictures = {
        kind: [np.asarray(Image.open(p.path)) for p in stage.paint(method)]
        for kind, method in (("neg-image", find("neg-image")), ("unguided", find("unguided")))
    }
    assert not any(map(np.array_equal, pictures["neg-image"], pictures["unguided"]))


def test_a_system_is_tuned_on_pictures_of_negative_labels(stage):
    made = stage.paint(find("neg-image"))
    before = {item.path: item.path.stat().st_mtime_ns for item in made}
    system = find_system("dreamood")
    fitted = system.fit(stage.material, 0)
    assert before == {item.path: item.path.stat().st_mtime_ns for item in made}
    assert fitted.chosen["pictures"] == len(made) == len(stage.painted)
    assert fitted.chosen["loss"]["last"] < fitted.chosen["loss"]["first"]
    inside = fitted(stage.material.train)
    images = [Image.open(item.path).convert("RGB") for item in made]
    features = stage.material.encoder.encode_images(images)
    beyond = fitted(replace(stage.material.train, features=features))
    assert auroc(inside, beyond) > 0.9  # of what it was trained on
    assert (
        fitted(stage.views.test).tobytes()
        == system.fit(stage.material, 0)(stage.views.test).tobytes()
    )


def test_test_time_systems_are_measured_but_not_held_against_inductive_ones(stage):
    names = ("neglabel", "mcm", "adaneg", "tanl")
    scores = {name: stage.system(name)[0] for name in names}
    methods = [find_system(name).method for name in names]
    outcome = usual(stage, methods, scores, against="neglabel")
    assert {item.method for item in outcome.comparisons} == {"mcm"}
    streams = {(row.method, row.stream["seed"]) for row in outcome.rows if row.stream}
    assert streams == {(name, seed) for name in ("adaneg", "tanl") for seed in SEEDS}


def find(name):
    from synood.benchmark.controls import CONTROLS, NEG_IMAGE

    return next(kind for kind in (*CONTROLS, NEG_IMAGE) if kind.name == name)


def test_a_label_that_is_too_long_for_the_painter_loses_its_last_words(stage):
    from synood.benchmark.controls import fitting

    inpainter = stage.material.models.inpainter
    assert fitting(inpainter, "a photo of a cat") == "a photo of a cat"
    words = ["tree"] * 500
    kept = fitting(inpainter, " ".join(words)).split()
    assert 2 < len(kept) < 80
    with pytest.raises(InputError):
        inpainter.check_prompts([" ".join([*kept, "tree"])])
    assert fitting(inpainter, "x" * 999).strip("x") == ""


def test_half_of_the_tuning_taken_back_is_a_detector_tuned_by_half(stage):
    features = stage.views.test.features
    whole = stage.rehearsal.detector(stage.synthetic(), 0)

    def only(data, recipe, seed, workspace, kept):
        projection, tuned = tune(data, recipe, seed, workspace)
        untuned = data.negatives.features[data.assignment.used]
        return projection, untuned if kept == "projection" else tuned

    made = stage.rehearsal.detector(
        stage.synthetic(), 0, lambda *given: only(*given, kept="projection")
    )
    kept = half(stage, whole, "projection")
    np.testing.assert_allclose(kept.score_features(features), made.score_features(features))
    labels = half(stage, whole, "labels")
    assert labels.projection is None
    assert not np.array_equal(labels.score_features(features), whole.score_features(features))
    assert half(stage, whole, "both") is whole


def test_table_5_has_three_ways_that_differ_and_repeat(stage):
    data = stage.rehearsal._data(stage.synthetic())
    targets = np.arange(len(data.synthetic_features)) % 2  # the tiny pictures share one label
    data = replace(data, assignment=Assignment(np.array([0, 1]), targets))
    made = {
        way: how(data, stage.recipe, 0, Workspace(stage.workspace.root))
        for way, (_, how) in WAYS.items()
    }
    plain = tune(data, stage.recipe, 0, Workspace(stage.workspace.root))
    np.testing.assert_array_equal(made["apart"][1], plain[1])
    np.testing.assert_array_equal(made["through-projection"][0].weight, plain[0].weight)
    assert not np.array_equal(made["through-projection"][1], plain[1])
    assert not np.array_equal(made["joint"][1], plain[1])
    assert not np.array_equal(made["joint"][0].weight, plain[0].weight)
    again = WAYS["joint"][1](data, stage.recipe, 0, Workspace(stage.workspace.root))
    np.testing.assert_array_equal(again[1], made["joint"][1])
    np.testing.assert_array_equal(again[0].weight, made["joint"][0].weight)


def test_joint_tuning_lowers_its_loss_and_moves_both(stage):
    data = stage.rehearsal._data(stage.synthetic())
    recipe = stage.recipe
    longer = replace(
        recipe,
        projection=replace(recipe.projection, epochs=60),
        negatives=replace(recipe.negatives, learning_rate=0.5),
    )
    losses = []
    for chosen in (replace(longer, projection=replace(longer.projection, epochs=0)), longer):
        projection, negatives = WAYS["joint"][1](data, chosen, 0, Workspace(stage.workspace.root))
        texts = np.concatenate([data.projection_classes, unit(negatives)])
        images = np.concatenate([data.id_features, data.synthetic_features])
        logits = recipe.projection.logit_scale * unit(projection.apply(images)) @ texts.T
        targets = np.concatenate(
            [data.id_targets, len(data.projection_classes) + data.assignment.targets]
        )
        logits -= logits.max(axis=1, keepdims=True)
        chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses.append(-chances[np.arange(len(targets)), targets].mean())
    assert losses[1] < 0.9 * losses[0]
    assert not np.allclose(negatives, data.negatives.features[data.assignment.used])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_figure_3_takes_the_best_of_each_class_first(stage):
    classes = len(CLASSES)
    some = first(stage.painted, classes)
    assert {item.picture.label for item in some} == set(CLASSES)
    for item in some:
        own = [p for p in stage.painted if p.picture.label == item.picture.label]
        assert item.picture.bytes_per_pixel == max(p.picture.bytes_per_pixel for p in own)
    assert sorted(p.picture.id for p in first(stage.painted, 10_000)) == sorted(
        p.picture.id for p in stage.painted
    )
    assert _counts(100_000) == [1000, 5000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000]
    assert len(SHARES) == 8


def test_figure_3_draws_lines_over_the_numbers(stage):
    outcome = find_experiment("figure-3").run(stage)
    counts = outcome.details["pictures"]
    assert counts[-1] == len(stage.painted)
    methods = {f"synood:{part}:{n}" for part in ("both", "projection") for n in counts}
    assert set(rows_by_method(outcome)) == {"neglabel", *methods}
    svg = outcome.charts[0].svg
    assert svg.count("<polyline") == 3
    assert svg.count("<circle") == 2 * len(counts) + 2


def test_a_chart_puts_points_where_their_values_are():
    svg = line_chart({"a": [(1, 0.0), (10, 0.5), (100, 1.0)]}, "x", "y <&>")
    circles = [tuple(map(float, m)) for m in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    (x0, y0), (x1, y1), (x2, y2) = circles
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y2
    assert "y &lt;&amp;&gt;" in svg


def test_cost_counts_what_is_added(stage):
    outcome = find_experiment("cost").run(stage)
    dim = stage.views.test.features.shape[1]
    assert outcome.details["added_parameters"] == {
        "neglabel": 0,
        "synood": dim * dim + 3 * dim,
    }
    assert outcome.details["encoder_parameters"] == parameter_count(stage.material.encoder) > 0
    assert min(outcome.details["milliseconds_an_image"].values()) > 0


def test_figure_4_is_a_sheet_of_pairs(stage, tmp_path):
    experiment = find_experiment("figure-4")
    outcome = experiment.run(stage)
    text = write_outcome(tmp_path, experiment, stage, outcome)
    sheet = Image.open(tmp_path / "pairs.webp")
    assert sheet.width > sheet.height > 100
    pairs = read_results(tmp_path / "results.json").run["details"]["pairs"]
    assert {pair["class"] for pair in pairs} == set(CLASSES)
    assert all(pair["prompt"] in text for pair in pairs)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<article>") == len(pairs)
    assert page.count("data:image/webp") == 2 * len(pairs)
    assert all(html.escape(pair["prompt"]) in page for pair in pairs)


def test_an_outcome_is_written_whole(stage, tmp_path):
    experiment = find_experiment("table-5")
    text = write_outcome(tmp_path, experiment, stage, experiment.run(stage))
    names = ["report.html", "results.json", "table.md", "table.tex", "table.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "table.txt").read_text() == text
    run = read_results(tmp_path / "results.json").run
    assert run["experiment"] == "table-5"
    assert run["choices"] == json.loads(json.dumps(stage.choices))
    assert len(run["comparisons"]) > 0
    page = (tmp_path / "report.html").read_text()
    assert experiment.asks in page
    assert page.count("<svg") == 2  # the gains in AUROC and in FPR95
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text() == page


def test_charts_are_on_the_page_and_said_in_words(stage, tmp_path):
    experiment = find_experiment("figure-3")
    outcome = experiment.run(stage)
    write_outcome(tmp_path, experiment, stage, outcome)
    page = (tmp_path / "report.html").read_text()
    for chart in outcome.charts:
        assert base64.b64encode(chart.svg.encode()).decode() in page
        assert f'alt="{html.escape(chart.words)}"' in page


def test_published_figures_stand_beside_measured_ones(stage, tmp_path):
    experiment = find_experiment("table-5")
    row = rows_of(planted_scores({"synood": 2.0}))[-1]
    rows = tuple(
        replace(row, method=name, ood_set=ood, group="far")
        for name in ("neglabel", "synood")
        for ood in ("iNaturalist", "SUN", "Places", "Textures")
    )
    known = replace(stage, suite=replace(stage.suite, name="imagenet-4"))
    text = write_outcome(tmp_path, experiment, known, Outcome((NEGLABEL, SYNOOD), rows))
    for form in (text, *((tmp_path / f).read_text() for f in ("table.md", "report.html"))):
        assert "SynOOD, published" in form
        assert "97.01" in form
        assert "14.27" in form
    assert read_results(tmp_path / "results.json").published


def test_markdown_and_latex_hold_the_same_figures():
    rows = rows_of(planted_scores({"synood": 2.0, "neglabel": 1.5}))
    named = {**titles(METHODS), "synood": "Syn_OOD & 50 %"}
    md, tex = (write(rows, named, "auroc") for write in (writing.markdown, writing.latex))
    figures = [re.findall(r"\d+\.\d", text.partition("\n")[2]) for text in (md, tex)]
    assert figures[0] == figures[1]
    assert figures[0]
    assert r"Syn\_OOD \& 50 \%" in tex
    assert "**" in md
    assert tex.count("\\\\\n") == len({row.method for row in rows}) + 1


def test_the_command_line_lists_and_runs(place, tmp_path, capsys):
    assert main(["reproduce"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in experiments())
    given = [
        "--models",
        str(place / "bundle"),
        "--root",
        str(place / "suite"),
        "--benchmark",
        "mini",
    ]
    assert main(["reproduce", "cost", "--out", str(tmp_path / "o"), "--seeds", "1", *given]) == 0
    assert "parameters added" in capsys.readouterr().out
    place = tmp_path / "o" / "reproduce"
    assert (place / "cost" / "results.json").is_file()
    page = (place / "cost" / "report.html").read_text()
    assert "parameters added" in page
    index = (place / "index.html").read_text()
    assert re.findall(r'href="([^"]+)"', index) == ["cost/report.html"]
    assert find_experiment("cost").asks in index
    assert main(["reproduce", "table-9", *given]) == 2
    assert "there are table-1" in capsys.readouterr().err


def test_unknown_experiments_are_refused():
    with pytest.raises(InputError, match="table-1, table-2"):
        find_experiment("x")


@pytest.fixture(scope="module")
def lying(stage):
    """The experiment with fewer strengths: of four steps 0.2 leaves none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary, "STRENGTHS", (0.3,))
        patch.setattr(boundary, "MARGIN_STRENGTHS", (0.3,))
        patch.setattr(boundary, "SMALL_STRENGTHS", (0.3,))
        return find_experiment("boundary").run(stage)


GUIDES = ("energy", "margin", "unguided")


def test_boundary_holds_every_guide_at_every_strength_against_neglabel_and_the_run(stage, lying):
    kinds = {f"{guide}-{strength}" for guide in GUIDES for strength in ("0.3", "0.6")}
    kinds |= {"energy-in-small-steps-0.3", "margin-in-small-steps-0.3"}
    kinds |= {"vae", "jigsaw", "neg-image"}
    found = rows_by_method(lying)
    assert set(found) == {"neglabel", *kinds}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in kinds)
    for other in ("neglabel", "energy-0.6"):
        held = {item.method for item in lying.comparisons if item.other == other}
        assert held == kinds - {other}
    titles = [line[0] for line in lying.sheets[0].lines]
    assert titles == ["the images redrawn", *(method.title for method in lying.methods[1:])]


def test_boundary_takes_the_runs_own_pictures_where_they_were_painted_so(stage, lying):
    folder = stage.workspace.root / "controls"
    assert not (folder / "energy-0.6").exists()
    for name in ("energy-0.3", "margin-0.3", "margin-0.6", "unguided-0.3", "unguided-0.6"):
        assert len(read_synthetic(folder / name)) == len(stage.painted)
    plain = {one.id: one for one in read_synthetic(folder / "unguided-0.6").values()}
    for control in stage.paint(find("unguided")):
        pair = [
            np.asarray(Image.open(one.path)).astype(int) for one in (control, plain[control.id])
        ]
        assert np.abs(pair[0] - pair[1]).max() <= 1
    scores = {
        name: [row.auroc for row in lying.rows if row.method == name]
        for name in ("energy-0.6", "unguided-0.6")
    }
    own = stage.scored("own", lambda seed: stage.rehearsal.detector(stage.synthetic(), seed))
    ids = [item.in_distribution for item in own]
    oods = [list(item.ood.values()) for item in own]
    expected = [auroc(i, o) for i, sets in zip(ids, oods, strict=True) for o in sets]
    assert scores["energy-0.6"] == pytest.approx(expected)


def test_boundary_says_where_pictures_lie(stage, lying):
    """Every figure of a line anew, from the pictures on disk and the encoder."""
    encoder, names = stage.material.encoder, stage.material.class_names
    classes = unit(encoder.encode_texts([f"the nice {name}" for name in names]))
    negatives = stage.rehearsal.negative_features()
    folder = stage.workspace.root / "controls" / "margin-0.3"
    made = {one.id: one for one in read_synthetic(folder).values()}
    pictures = [made[item.picture.id] for item in stage.painted]
    features = unit(encoder.encode_images([Image.open(one.path) for one in pictures]))
    target = stage.recipe.guidance.target
    share = [np.mean([one.energies[place] >= target for one in pictures]) for place in (0, -1)]
    cosines = features @ np.concatenate([classes, negatives]).T
    heat = np.exp(cosines.astype(np.float64) / stage.recipe.score.temperature)
    odds = heat[:, len(names) :].sum(1) / heat[:, : len(names)].sum(1)
    nearest = cosines.argmax(1)
    right = [names.index(item.picture.label) for item in stage.painted]
    near = next(item for item in stage.views.validation_ood if item.group == "near")
    expected = [
        *share, np.mean(np.log(odds) >= target), np.mean(nearest == right),
        np.mean(nearest < len(names)), np.median(1 / (1 + odds)),
        (unit(near.features) @ features.T).max(1).mean(),
    ]  # fmt: skip
    (line,) = (line for line in lying.sheets[0].lines if line[0] == "margin, strength 0.3")
    figures = [float(cell) for cell in line[1:]]
    np.testing.assert_allclose(figures[:5], 100 * np.array(expected[:5]), atol=0.051)
    np.testing.assert_allclose(figures[5:], expected[5:], atol=2e-3)


def test_boundary_shows_the_same_images_by_every_kind(stage, lying):
    sheet = Image.open(io.BytesIO(lying.pictures["kinds.webp"])).convert("RGB")
    rows, columns = len(lying.methods), len(stage.painted)  # NegLabel has no pictures, sources do
    step = album.SIDE + album.GAP
    assert sheet.size == (album.TITLE + columns * step + album.GAP, rows * step + album.GAP)
    folder = stage.workspace.root / "controls" / "jigsaw"
    made = {one.id: one.path for one in read_synthetic(folder).values()}
    row = [method.name for method in lying.methods].index("jigsaw")
    for column, item in enumerate(stage.painted):
        corner = album.TITLE + column * step, album.GAP + row * step
        cell = sheet.crop((*corner, corner[0] + album.SIDE, corner[1] + album.SIDE))
        shown = Image.open(made[item.picture.id]).convert("RGB").resize(cell.size)
        assert np.abs(np.asarray(cell, float) - np.asarray(shown)).mean() < 20


def test_boundary_says_how_the_encoder_sees_each_image_set(stage, lying):
    lines = {line[0]: line[1:] for line in lying.sheets[1].lines}
    sets = [stage.material.train, stage.views.validation, stage.views.test]
    sets += [*stage.views.validation_ood, *stage.views.test_ood]
    assert set(lines) == {item.name for item in sets}
    texts = stage.material.class_features
    for item in sets:
        count, cosine, low, median, length, named = lines[item.name]
        cosines = unit(item.features) @ texts.T
        assert int(count) == len(item.features)
        assert float(cosine) == pytest.approx(cosines.max(1).mean(), abs=6e-4)
        assert float(length) == pytest.approx(np.linalg.norm(item.features, axis=1).mean(), abs=0.1)
        assert 0 <= float(low) <= float(median) <= 1
        assert bool(named) == (item.group == "id")
        if named:
            right = np.mean(cosines.argmax(1) == item.labels)
            assert float(named) == pytest.approx(100 * right, abs=0.06)


def test_labels_index_the_suites_classes_where_a_test_set_lacks_one(stage, tmp_path):
    shutil.copytree(stage.suite.root, tmp_path / "suite")
    shutil.rmtree(tmp_path / "suite/test/id/cat")
    path = tmp_path / "suite/suite.json"
    written = json.loads(path.read_text())
    for item in written["sets"]:
        item["n"] -= 6 * (item["path"] == "test/id")
    path.write_text(json.dumps(written))
    found = stage.material
    views = view_suite(read_suite(tmp_path / "suite"), found.store, found.classifier, unheard)
    names = [found.class_names[label] for label in views.test.labels]
    assert names == ["dog"] * 6 + ["tea pot"] * 6


def test_sheets_are_in_every_form_of_the_table_and_on_the_page(stage, lying, tmp_path, capsys):
    text = write_outcome(tmp_path, find_experiment("boundary"), stage, lying)
    assert main(["report", str(tmp_path / "results.json"), "--format", "text"]) == 0
    told = capsys.readouterr().out
    forms = [(tmp_path / name).read_text() for name in ("table.md", "table.tex", "report.html")]
    for sheet in lying.sheets:
        for line in sheet.lines:
            for form in (text, told, *forms):
                cells = [cell for cell in line[1:] if cell]
                assert any(all(cell in row for cell in cells) for row in form.splitlines())
    assert sheets_of(read_results(tmp_path / "results.json")) == lying.sheets


@pytest.mark.parametrize(
    "sheets",
    [{}, [1], [{"title": "x", "head": [], "lines": []}],
     [{"title": "x", "head": ["a"], "lines": [["b", "c"]]}],
     [{"title": "x", "head": ["a"], "lines": [[1]]}]],
)  # fmt: skip
def test_malformed_sheets_are_refused_in_a_sentence(sheets):
    with pytest.raises(InputError, match=r"run\.sheets"):
        sheets_of(Results({"sheets": sheets}, ()))


def test_the_margin_of_a_recipe_judges_the_controls_too(stage):
    guidance = replace(stage.recipe.guidance, objective="margin")
    recipe = replace(stage.recipe, guidance=guidance)
    material = replace(stage.material, recipe=recipe)
    made = paint_control(find("jigsaw"), stage.painted, material, Workspace(stage.workspace.root))
    assert [one.sha256 for one in made] == [one.sha256 for one in stage.paint(find("jigsaw"))]
    studio = Studio(material.models, guide_of(recipe, *guide_parts(stage)), guidance, 4)
    (first,) = studio.painter(find("jigsaw")).paint([stage.painted[0].order()])
    texts = stage.material.class_features, stage.rehearsal.negative_features()
    features = unit(stage.material.encoder.encode_images([Image.fromarray(first.image)]))
    masses = [
        np.log(np.exp((features @ side.T).astype(np.float64) / recipe.score.temperature).sum())
        for side in texts
    ]
    assert first.energies[-1] == pytest.approx(masses[1] - masses[0], abs=1e-3)


def guide_parts(stage):
    found = stage.material
    return found.models, found.store, found.class_names, found.classifier


def test_plus_adds_each_part_and_takes_each_away(stage):
    outcome = find_experiment("plus").run(stage)
    parts = {"images_per_class", "views", "negatives_in_loss", "epochs", "weight_decay"}
    kinds = {"plus:no-pictures", "plus:unguided", "plus:vae", "plus:jigsaw"}
    lines = {"paper", "plus", *kinds, *(f"paper+{p}" for p in parts), *(f"plus-{p}" for p in parts)}
    found = rows_by_method(outcome)
    assert set(found) == {"neglabel", *lines}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in lines)
    assert {item.other for item in outcome.comparisons if item.method == "paper"} == {"neglabel"}
    held = {item.other for item in outcome.comparisons if item.method == "plus"}
    assert held == {"neglabel", *lines} - {"plus"}


def test_the_parts_of_plus_are_where_it_differs_from_paper(stage):
    paper, plus = RECIPES["paper"], RECIPES["plus"]
    assert with_parts(paper, PARTS).projection == plus.projection
    assert with_parts(plus, ()).projection == paper.projection
    one = with_parts(stage.recipe, ["views"])
    assert one == replace(stage.recipe, projection=replace(stage.recipe.projection, views=3))


def test_images_learnt_from_are_those_that_a_run_would_add(stage, place):
    bundle = load_bundle(place / "bundle")
    assignments = ("projection.images_per_class=3", "select.per_class=1")
    recipe = resolve_recipe("plus", bundle.recipe_defaults, assignments)
    other = prepare(place / "plus", stage.suite, bundle, recipe, SEEDS)
    index = stage.suite.one("train").index()
    chosen = [picture.id for picture in read_learnt(place / "plus", index)]
    assert [picture.id for picture in learnt_from(other, 3)] == chosen
    assert len(chosen) == 3 * len(CLASSES)
    assert [picture.id for picture in learnt_from(other, None)] == chosen[: len(CLASSES)]


def test_ideas_are_held_against_the_recipe_they_are_added_to(stage):
    outcome = find_experiment("ideas").run(stage)
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

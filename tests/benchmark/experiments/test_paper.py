"""The paper's tables and figures on tiny models: each measures what it says, and leaves files."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from figures import METHODS, planted_scores, rows_of
from small_suite import CLASSES
from staging import SEEDS, find, furnished, rows_by_method, staged, unit
from synood.benchmark.experiments import experiments, find_experiment
from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.figure_3 import SHARES, _counts, first
from synood.benchmark.experiments.interface import Outcome
from synood.benchmark.experiments.setup import measured_outcome, prepare
from synood.benchmark.experiments.table_4 import TUNED, half
from synood.benchmark.experiments.table_5 import WAYS
from synood.benchmark.experiments.writing import write_outcome
from synood.benchmark.protocol.controls import NEG_IMAGE
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, titles
from synood.benchmark.protocol.retune import synthesizer_of
from synood.benchmark.report import writing
from synood.benchmark.report.line_chart import line_chart
from synood.benchmark.results.results import read_results
from synood.benchmark.systems import find_system, registry
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.cli.app import main
from synood.errors import InputError
from synood.metrics import auroc
from synood.models.bundles import load_bundle
from synood.models.counting import parameter_count
from synood.pipeline.recipe import resolve_recipe
from synood.pipeline.rundir.workspace import Workspace
from synood.pipeline.stages.tune import tune_weights
from synood.tuning.assignment import Assignment


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return furnished(tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="module")
def setup(place):
    return staged(place)


def test_table_1_holds_every_system_and_plus_after_synood(setup):
    outcome = find_experiment("table-1").run(setup)
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
    plain = {method.name for method in ENCODER_BASELINES}
    assert against.pop("synood-plus") == {"neglabel", "synood", "csp", *plain}
    assert all(others == {"neglabel"} for others in against.values())
    scores = {
        name: [row.auroc for row in outcome.rows if row.method == name]
        for name in ("synood", "synood-plus")
    }
    assert scores["synood"] != scores["synood-plus"]
    assert all(method.title in outcome.charts[0].words for method in outcome.methods)


def test_table_1_has_plus_once_when_it_is_the_recipe_at_hand(setup, monkeypatch):
    only = (find_system("neglabel"), find_system("synood"))
    monkeypatch.setattr("synood.benchmark.systems.registry", lambda: only)
    recipe = as_recipe(setup.recipe, "plus")
    at_hand = replace(setup, inputs=replace(setup.inputs, recipe=recipe))
    outcome = find_experiment("table-1").run(at_hand)
    assert [method.name for method in outcome.methods] == ["neglabel", "synood"]


def test_a_second_stage_on_the_same_run_paints_nothing(setup, place):
    before = {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*.png")}
    bundle = load_bundle(place / "bundle")
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    again = prepare(place / "run", setup.suite, bundle, recipe, SEEDS)
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in (place / "run").rglob("*.png")}
    assert again.recipe == setup.recipe
    assert setup.choices


def test_table_4_tunes_every_half_on_every_kind(setup):
    outcome = find_experiment("table-4").run(setup)
    kinds = ("synood", "neg-image", "unguided", "vae", "jigsaw")
    expected = {f"{kind}:{part}" for kind in kinds for part in TUNED}
    found = rows_by_method(outcome)
    assert set(found) == {"neglabel", *expected}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in expected)
    assert {item.other for item in outcome.comparisons} == {"neglabel"}
    images = {
        kind: [np.asarray(Image.open(p.path)) for p in setup.paint(method)]
        for kind, method in (("neg-image", find("neg-image")), ("unguided", find("unguided")))
    }
    assert not any(map(np.array_equal, images["neg-image"], images["unguided"]))


def test_a_system_is_tuned_on_pictures_of_negative_labels(setup):
    made = setup.paint(find("neg-image"))
    before = {item.path: item.path.stat().st_mtime_ns for item in made}
    system = find_system("dreamood")
    fitted = system.fit(setup.inputs, 0)
    assert before == {item.path: item.path.stat().st_mtime_ns for item in made}
    assert fitted.chosen["pictures"] == len(made) == len(setup.pairs)
    assert fitted.chosen["loss"]["last"] < fitted.chosen["loss"]["first"]
    inside = fitted(setup.inputs.train)
    images = [Image.open(item.path).convert("RGB") for item in made]
    features = setup.inputs.encoder.encode_images(images)
    beyond = fitted(replace(setup.inputs.train, features=features))
    assert auroc(inside, beyond) > 0.9  # of what it was trained on
    assert (
        fitted(setup.encoded.test).tobytes()
        == system.fit(setup.inputs, 0)(setup.encoded.test).tobytes()
    )


def test_names_are_tuned_on_pictures_of_negative_labels(setup):
    made = setup.paint(find("neg-image"))
    system = find_system("lapt")
    fitted, again = (system.fit(setup.inputs, 0) for _ in range(2))
    other = system.fit(setup.inputs, 1)
    assert fitted.chosen["pictures"] == len(made)
    assert fitted.chosen["loss"]["last"] < fitted.chosen["loss"]["first"]
    test = setup.encoded.test
    assert fitted(test).tobytes() == again(test).tobytes() != other(test).tobytes()


def test_test_time_systems_are_measured_but_not_held_against_inductive_ones(setup):
    names = ("neglabel", "mcm", "adaneg", "tanl")
    scores = {name: setup.system(name)[0] for name in names}
    methods = [find_system(name).method for name in names]
    outcome = measured_outcome(setup, methods, scores, against="neglabel")
    assert {item.method for item in outcome.comparisons} == {"mcm"}
    streams = {(row.method, row.stream["seed"]) for row in outcome.rows if row.stream}
    assert streams == {(name, seed) for name in ("adaneg", "tanl") for seed in SEEDS}


def test_a_label_that_is_too_long_for_the_painter_loses_its_last_words(setup):
    synthesizer = synthesizer_of(setup.inputs, NEG_IMAGE)
    limits = setup.inputs.models.bundle.prompt_limits()
    long = " ".join(["tree"] * 500)
    kept = limits.shortened(long, lambda text: text)
    assert 2 < len(kept.split()) < 80
    request = setup.pairs[0].request(None)
    with pytest.raises(InputError):
        setup.inputs.models.inpainter.check_prompts([long])
    synthesizer.check_prompts([long])
    cut, short, other = (
        synthesizer.synthesize([(replace(request, prompt=prompt), None)]).results[0].image
        for prompt in (long, kept, "tree")
    )
    np.testing.assert_array_equal(cut, short)
    assert not np.array_equal(cut, other)


def test_half_of_the_tuning_taken_back_is_a_detector_tuned_by_half(setup):
    features = setup.encoded.test.features
    whole = setup.retuner.detector(setup.synthetic(), 0)

    def only(data, recipe, seed, workspace, kept):
        projection, tuned = tune_weights(data, recipe, seed, workspace)
        untuned = data.negatives.features[data.assignment.used]
        return projection, untuned if kept == "projection" else tuned

    made = setup.retuner.detector(
        setup.synthetic(), 0, lambda *given: only(*given, kept="projection")
    )
    kept = half(setup, whole, "projection")
    np.testing.assert_allclose(kept.score_features(features), made.score_features(features))
    labels = half(setup, whole, "labels")
    assert labels.projection is None
    assert not np.array_equal(labels.score_features(features), whole.score_features(features))
    assert half(setup, whole, "both") is whole


def test_table_5_has_three_ways_that_differ_and_repeat(setup):
    data = setup.retuner._data(setup.synthetic())
    targets = np.arange(len(data.synthetic_features)) % 2  # the tiny images share one label
    data = replace(data, assignment=Assignment(np.array([0, 1]), targets))
    made = {
        way: how(data, setup.recipe, 0, Workspace(setup.workspace.root))
        for way, (_, how) in WAYS.items()
    }
    plain = tune_weights(data, setup.recipe, 0, Workspace(setup.workspace.root))
    np.testing.assert_array_equal(made["apart"][1], plain[1])
    np.testing.assert_array_equal(made["through-projection"][0].weight, plain[0].weight)
    assert not np.array_equal(made["through-projection"][1], plain[1])
    assert not np.array_equal(made["joint"][1], plain[1])
    assert not np.array_equal(made["joint"][0].weight, plain[0].weight)
    again = WAYS["joint"][1](data, setup.recipe, 0, Workspace(setup.workspace.root))
    np.testing.assert_array_equal(again[1], made["joint"][1])
    np.testing.assert_array_equal(again[0].weight, made["joint"][0].weight)


def test_joint_tuning_lowers_its_loss_and_moves_both(setup):
    data = setup.retuner._data(setup.synthetic())
    recipe = setup.recipe
    longer = replace(
        recipe,
        projection=replace(recipe.projection, epochs=60),
        negatives=replace(recipe.negatives, learning_rate=0.5),
    )
    losses = []
    for chosen in (replace(longer, projection=replace(longer.projection, epochs=0)), longer):
        projection, negatives = WAYS["joint"][1](data, chosen, 0, Workspace(setup.workspace.root))
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


def test_figure_3_takes_the_best_of_each_class_first(setup):
    classes = len(CLASSES)
    some = first(setup.pairs, classes)
    assert {item.source.label for item in some} == set(CLASSES)
    for item in some:
        own = [p for p in setup.pairs if p.source.label == item.source.label]
        assert item.source.bytes_per_pixel == max(p.source.bytes_per_pixel for p in own)
    assert sorted(p.source.id for p in first(setup.pairs, 10_000)) == sorted(
        p.source.id for p in setup.pairs
    )
    assert _counts(100_000) == [1000, 5000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000]
    assert len(SHARES) == 8


def test_figure_3_draws_lines_over_the_numbers(setup):
    outcome = find_experiment("figure-3").run(setup)
    counts = outcome.details["pictures"]
    assert counts[-1] == len(setup.pairs)
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


def test_cost_counts_what_is_added(setup):
    outcome = find_experiment("cost").run(setup)
    dim = setup.encoded.test.features.shape[1]
    assert outcome.details["added_parameters"] == {
        "neglabel": 0,
        "synood": dim * dim + 3 * dim,
    }
    assert outcome.details["encoder_parameters"] == parameter_count(setup.inputs.encoder) > 0
    assert min(outcome.details["milliseconds_an_image"].values()) > 0


def test_figure_4_is_a_sheet_of_pairs(setup, tmp_path):
    experiment = find_experiment("figure-4")
    outcome = experiment.run(setup)
    text = write_outcome(tmp_path, experiment, setup, outcome)
    sheet = Image.open(tmp_path / "pairs.webp")
    assert sheet.width > sheet.height > 100
    pairs = read_results(tmp_path / "results.json").run["details"]["pairs"]
    assert {pair["class"] for pair in pairs} == set(CLASSES)
    assert all(pair["prompt"] in text for pair in pairs)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<article>") == len(pairs)
    assert page.count("data:image/webp") == 2 * len(pairs)
    assert all(html.escape(pair["prompt"]) in page for pair in pairs)


def test_an_outcome_is_written_whole(setup, tmp_path):
    experiment = find_experiment("table-5")
    text = write_outcome(tmp_path, experiment, setup, experiment.run(setup))
    names = ["report.html", "results.json", "table.md", "table.tex", "table.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "table.txt").read_text() == text
    run = read_results(tmp_path / "results.json").run
    assert run["experiment"] == "table-5"
    assert run["choices"] == json.loads(json.dumps(setup.choices))
    assert len(run["comparisons"]) > 0
    page = (tmp_path / "report.html").read_text()
    assert experiment.asks in page
    assert page.count("<svg") == 2  # the gains in AUROC and in FPR95
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text() == page


def test_charts_are_on_the_page_and_said_in_words(setup, tmp_path):
    experiment = find_experiment("figure-3")
    outcome = experiment.run(setup)
    write_outcome(tmp_path, experiment, setup, outcome)
    page = (tmp_path / "report.html").read_text()
    for chart in outcome.charts:
        assert base64.b64encode(chart.svg.encode()).decode() in page
        assert f'alt="{html.escape(chart.words)}"' in page


def test_published_figures_stand_beside_measured_ones(setup, tmp_path):
    experiment = find_experiment("table-5")
    row = rows_of(planted_scores({"synood": 2.0}))[-1]
    rows = tuple(
        replace(row, method=name, ood_set=ood, group="far")
        for name in ("neglabel", "synood")
        for ood in ("iNaturalist", "SUN", "Places", "Textures")
    )
    known = replace(setup, suite=replace(setup.suite, name="imagenet-4"))
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
    assert "use one of table-1" in capsys.readouterr().err


def test_unknown_experiments_are_refused():
    with pytest.raises(InputError, match="table-1, table-2"):
        find_experiment("x")

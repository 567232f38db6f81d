"""The whole demo on tiny random models: complete, repeatable, and true to the detector it saves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_suite import CLASSES, tiny_bundle, write_small_suite
from synood import OODDetector, metrics
from synood.benchmark.experiments.demo import METHODS, PROGRESS_STAGES, run_demo
from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.encoding import image_logits
from synood.benchmark.report.thumbnails import evenly
from synood.benchmark.results.results import read_results
from synood.benchmark.suites.suite import read_suite
from synood.cli.app import main
from synood.errors import InputError
from synood.features.store import FeatureStore
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline.rundir.shards import read_synthetic

SEEDS = 3
TUNED = [m for m in METHODS if m.name in ("synood", "synood-plus") or m.is_control]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


def demo(out, bundle, progress=None):
    return run_demo(
        out, SEEDS, progress, models=str(bundle), writer=write_small_suite, resamples=20
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, bundle):
    out = tmp_path_factory.mktemp("demo") / "out"
    told = []
    text = demo(out, bundle, lambda stage, done, total, message: told.append((stage, done, total)))
    return out, text, told


@pytest.fixture(scope="module")
def results(finished):
    return read_results(finished[0] / "results.json")


def contents(root: Path) -> dict[str, bytes]:
    """Every file that a second run must repeat: all but the log, the lock and the time stamps."""
    passed_over = {"events.jsonl", ".lock", "select.jsonl"}
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in passed_over
    }


def test_there_is_a_row_for_every_method_seed_and_set(results):
    expected = {
        (method.name, seed, ood)
        for method in METHODS
        for seed in range(SEEDS if method in TUNED else 1)
        for ood in ("near-made", "symbols", "faces")
    }
    assert {(row.method, row.seed, row.ood_set) for row in results.rows} == expected
    assert {(row.n_id, row.n_ood) for row in results.rows} == {(18, 10)}
    assert {row.group for row in results.rows if row.ood_set == "near-made"} == {"near"}


def test_the_saved_detector_gives_the_reported_figures(finished, bundle, results):
    suite = read_suite(finished[0] / "suite")
    detector = OODDetector.from_pretrained(finished[0] / "detector", models=str(bundle))
    inside = detector.score(suite.one("test").path)
    for ood in suite.ood("test"):
        row = next(
            row
            for row in results.rows
            if (row.method, row.seed, row.ood_set) == ("synood", 0, ood.name)
        )
        assert row.auroc == pytest.approx(metrics.auroc(inside, detector.score(ood.path)), abs=1e-6)
    kept = (detector.score(suite.one("validation").path) >= detector.threshold).mean()
    assert 0.95 <= kept <= 1.0
    assert results.run["threshold"] == pytest.approx(detector.threshold)


def test_the_choices_are_in_the_recipe_that_was_run(results):
    chosen = results.run["choices"]["neglabel"]
    assert results.run["recipe"]["mining"]["share"] == chosen["share"]
    assert results.run["recipe"]["score"]["temperature"] == chosen["temperature"]
    assert chosen["auroc"] == max(trial["auroc"] for trial in chosen["tried"])
    for field in ("models", "versions", "seed", "seeds", "suite", "fingerprints", "inputs"):
        assert field in results.run


def test_each_control_has_a_picture_for_every_synthetic_one(finished):
    out = finished[0]
    synthetic = read_synthetic(out / "synthesize").values()
    sources = {item.id: item for item in synthetic}
    assert len(sources) == 2 * len(CLASSES)
    for control in ("unguided", "vae", "jigsaw"):
        images = {item.id: item for item in read_synthetic(out / "controls" / control).values()}
        assert images.keys() == sources.keys()
        for name, image in images.items():
            assert (image.seed, image.prompt) == (sources[name].seed, sources[name].prompt)
            assert image.sha256 != sources[name].sha256


def test_the_seeds_of_the_tuning_matter_and_those_of_a_baseline_do_not_exist(results):
    for method in TUNED:
        aurocs = [row.auroc for row in results.rows if row.method == method.name]
        # what colours look like tells these sets apart without an error, whatever the seed
        assert len(set(aurocs)) > 1 or method.name == "synood-plus"


def test_the_text_has_the_table_the_reading_and_the_places(finished):
    out, text, _ = finished
    table, summary = text.split("best of a column.")
    for method in METHODS:
        assert table.count(f"\n{method.title}  ") == 2
    for ours in ("SynOOD", "SynOOD plus"):
        assert f"FPR95 gain of {ours} in points, over " in summary
    assert str(out / "report.html") in text


def test_the_page_shows_pairs_strips_and_the_choices(finished):
    html = (finished[0] / "report.html").read_text()
    assert html.count("<article>") == 2 * len(CLASSES)
    assert html.count('class="strip"') == 4
    assert "only " in html
    assert "Chosen on validation images only" in html
    assert "They learn from all 12 training images" in html


def test_the_page_is_made_again_from_the_files_alone(finished, tmp_path):
    out = finished[0]
    shown = (out / "report.html").read_bytes()
    assert main(["report", str(out), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_bytes() == shown


def test_the_saved_detectors_surest_mistakes_are_shown(finished, bundle):
    out = finished[0]
    suite = read_suite(out / "suite")
    detector = OODDetector.from_pretrained(out / "detector", models=str(bundle))
    html = (out / "report.html").read_text()
    for item in suite.ood("test"):
        found = detector.predict(item.path)
        highest = max(found, key=lambda one: one.score)
        block = html[html.index(f"<h3>{item.name.replace('-', ' ')}\n") :]
        first = block[block.index("<li>") : block.index("</li>")]
        assert shown(highest.score) in first
        assert highest.path.name in first
        assert highest.label in first
        wrong = sum(one.score >= detector.threshold for one in found)
        assert f"{wrong} of 10 accepted" in block[: block.index("<ul")]
    lowest = min(detector.predict(suite.one("test").path), key=lambda one: one.score)
    block = html[html.index("<h3>In-distribution images with the lowest scores") :]
    assert shown(lowest.score) in block[: block.index("</li>")]


def shown(score):
    return f"{score:.2f}".replace("-", "−")


def test_progress_names_the_stages_in_their_order_and_each_is_finished(finished):
    told = finished[2]
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert [stage for stage in PROGRESS_STAGES if stage in stages] == [
        s for s in stages if s in PROGRESS_STAGES
    ]
    for stage in ("suite", "view", "synthesize", "control: jigsaw", "experiment", "report"):
        last = [(done, total) for name, done, total in told if name == stage][-1]
        assert last[0] == last[1] > 0


def test_a_second_call_finds_everything_done(finished, bundle):
    out, text, _ = finished
    before = contents(out)
    pairs = []
    again = demo(out, bundle, lambda stage, *_: pairs.append(stage))
    assert again == text
    assert contents(out) == before


def test_an_interrupted_demo_elsewhere_ends_with_the_same_bytes(tmp_path, finished, bundle):
    out, _, _ = finished

    class StopError(Exception):
        pass

    def stop(stage, done, total, message):
        if stage == "control: VAE round trip" and done:
            raise StopError

    with pytest.raises(StopError):
        demo(tmp_path / "out", bundle, stop)
    assert not (tmp_path / "out" / "results.json").exists()
    demo(tmp_path / "out", bundle)
    ours, theirs = contents(tmp_path / "out"), contents(out)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_other_test_pictures_change_no_choice_and_no_detector(tmp_path, finished, bundle):
    def writer(root, seed=0, split="main"):
        write_small_suite(root, seed, split)
        rng = np.random.default_rng(99)
        for path in sorted((root / "test").rglob("*.png")):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)

    out = tmp_path / "out"
    run_demo(out, SEEDS, models=str(bundle), writer=writer, resamples=2)
    for name in ("detector/model.safetensors", "detector/config.json", "run.toml"):
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes()
    runs = [json.loads((root / "results.json").read_text())["run"] for root in (out, finished[0])]
    assert runs[0]["choices"] == runs[1]["choices"]
    assert runs[0]["fingerprints"]["suite"] != runs[1]["fingerprints"]["suite"]


def test_where_the_bundle_knows_other_classes_a_probe_on_the_training_images_serves(tmp_path):
    models = Models(load_bundle(tiny_bundle(tmp_path / "bundle", classes=("sun", "moon"))), "cpu")
    write_small_suite(tmp_path / "suite")
    train = read_suite(tmp_path / "suite").one("train")
    store = FeatureStore(tmp_path / "features", "print", lambda: models.encoder)
    probe = scoring.suite_classifier(train, models, store)
    assert probe.class_names == tuple(CLASSES)
    images = [Image.open(record.path) for record in train.index().records]
    labels = [train.index().class_names.index(r.label) for r in train.index().records]
    assert (image_logits(images, probe).argmax(1) == labels).mean() > 0.8


def test_two_seeds_are_too_few_and_a_folder_of_other_things_is_left_alone(tmp_path, bundle):
    with pytest.raises(InputError, match="at least 3"):
        run_demo(tmp_path / "out", 2, models=str(bundle), writer=write_small_suite)
    (tmp_path / "photos").mkdir()
    shutil.copyfile(Path(__file__), tmp_path / "photos" / "mine.png")
    with pytest.raises(InputError):
        demo(tmp_path / "photos", bundle)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["mine.png"]


def test_evenly_spaced_items_come_from_the_middle_of_equal_parts():
    assert evenly(list(range(100)), 4) == [12, 37, 62, 87]
    assert evenly([1, 2, 3], 5) == [1, 2, 3]
    assert evenly([], 5) == []

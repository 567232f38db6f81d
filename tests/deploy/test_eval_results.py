"""Results go to the hub as a table and as `.eval_results`, if they are of the detector."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from bundling import CLASSES
from loopback_hub import WRITE, loopback_hub, use_hub
from small_run import make_pictures
from synood import OODDetector
from synood.cli import main
from synood.deploy.eval_results import read_measured
from synood.errors import InputError

ID = "somebody/animals"


@pytest.fixture(scope="module")
def made(bundle, images):
    return OODDetector.from_classes(CLASSES, models=bundle, share=0.9).calibrate(images, tpr=0.9)


@pytest.fixture(scope="module")
def results(made, images, tmp_path_factory):
    """What `synood evaluate` wrote of the detector, with baselines beside it."""
    root = tmp_path_factory.mktemp("measured")
    made.save_pretrained(root / "detector")
    others = make_pictures(root / "others", classes=("far", "near"), seed=7)
    out = root / "evaluation.json"
    words = ["evaluate", root / "detector", "--id", images, "--ood", f"Far Away={others / 'far'}"]
    words += ["--near-ood", f"near={others / 'near'}", "--baselines", "--out", out]
    assert main([str(word) for word in words]) == 0
    return out


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with loopback_hub() as served:
        use_hub(monkeypatch, served.endpoint, tmp_path / "cache", WRITE)
        yield served


def row_of(results, ood_set):
    """The detector's row of the file, read with json alone."""
    found = json.loads(results.read_text())
    rows = [row for row in found["rows"] if row["method"] == found["run"]["method"]]
    return next(row for row in rows if row["ood_set"] == ood_set)


def test_the_hub_gets_a_value_for_each_set_and_people_a_table(hub, made, results):
    made.push_to_hub(ID, results=results, dataset="somebody/ood-sets")
    files = hub.repositories[ID].files()
    names = [name for name in files if name.startswith(".eval_results/")]
    assert sorted(names) == [".eval_results/far-away.yaml", ".eval_results/near.yaml"]
    for name, ood_set in zip(sorted(names), ["Far Away", "near"], strict=True):
        row = row_of(results, ood_set)
        (entry,) = parse_eval_result_entries(yaml.safe_load(files[name]))
        assert entry.dataset_id == "somebody/ood-sets"
        assert entry.task_id == name.removeprefix(".eval_results/").removesuffix(".yaml")
        assert entry.value == round(100 * row["auroc"], 2)
        assert f"{100 * row['fpr95']:.2f} %" in entry.notes
        low, high = row["ci95"]["auroc"]
        line = f"| {100 * row['auroc']:.2f} ({100 * low:.2f} to {100 * high:.2f}) |"
        assert line in files["README.md"].decode()


def test_without_a_data_set_there_is_the_table_alone(hub, made, results, tmp_path):
    made.save_pretrained(tmp_path / "detector")
    words = ["push", str(tmp_path / "detector"), ID, "--results", str(results)]
    assert main(words) == 0
    files = hub.repositories[ID].files()
    assert "| Far Away (far) | 15 and 5 OOD |" in files["README.md"].decode()
    assert not [name for name in files if name.startswith(".eval")]


def test_results_go_with_the_weights_that_they_were_measured_with(hub, made, results, bundle):
    made.push_to_hub(ID, results=results, dataset="somebody/ood-sets")
    made.push_to_hub(ID, overwrite=True)  # the same weights: they hold
    assert ".eval_results/near.yaml" in hub.repositories[ID].files()
    other = OODDetector.from_classes(CLASSES[:2], models=bundle, share=0.9)
    other.push_to_hub(ID, overwrite=True)
    assert not [n for n in hub.repositories[ID].files() if n.startswith(".eval")]


def test_results_of_another_detector_are_refused_before_anything_is_asked(
    hub, made, results, bundle, tmp_path
):
    other = OODDetector.from_classes(CLASSES[:2], models=bundle, share=0.9)
    with pytest.raises(InputError, match=r"evaluation\.json: was measured with another detector"):
        other.push_to_hub(ID, results=results)
    changed = json.loads(results.read_text())
    changed["run"]["method"] = "none"
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="has no row of the detector"):
        made.push_to_hub(ID, results=tmp_path / "changed.json")
    for run in ({}, {"detector": 3, "models": "x"}):
        (tmp_path / "changed.json").write_text(json.dumps({**changed, "run": run}))
        with pytest.raises(InputError, match="was measured with another detector"):
            made.push_to_hub(ID, results=tmp_path / "changed.json")
    with pytest.raises(InputError, match="no such file"):
        made.push_to_hub(ID, results=tmp_path / "absent.json")
    with pytest.raises(InputError, match="give `results` too"):
        made.push_to_hub(ID, dataset="somebody/ood-sets")
    for wrong in ("ood-sets", "a b/c", "a/b/c"):
        with pytest.raises(InputError, match="dataset: "):
            made.push_to_hub(ID, results=results, dataset=wrong)
    assert hub.asked == []


def test_results_of_another_fit_of_the_same_classes_are_refused(made, results, tmp_path):
    """Equal in classes, labels, recipe and encoder: only the weights tell them apart."""
    assert read_measured(results, replace(made, threshold=0.5)).rows  # no score depends on it
    other = replace(made, negative_features=made.negative_features[::-1].copy())
    with pytest.raises(InputError, match="was measured with another detector"):
        read_measured(results, other)
    earlier = json.loads(results.read_text())
    del earlier["run"]["detector"]["scores"]
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    with pytest.raises(InputError, match="does not tell which weights were measured"):
        read_measured(tmp_path / "earlier.json", made)


def test_sets_that_are_one_task_on_the_hub_are_refused(made, results, tmp_path):
    changed = json.loads(results.read_text())
    for row in changed["rows"]:
        row["ood_set"] = {"near": "far_away", "Far Away": "Far-away"}[row["ood_set"]]
    for row in changed["rows"]:
        row["ood_set"] = row["ood_set"].replace("_", " ")
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="two OOD sets are 'far-away' on the hub"):
        read_measured(tmp_path / "changed.json", made)

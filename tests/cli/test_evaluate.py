"""`synood evaluate` on one's own images: what is counted, compared, skipped and shown."""

import json
import shutil

import numpy as np
import pytest

from bundling import CLASSES, tiny_bundle
from html_page import Page
from synood import OODDetector
from synood.benchmark.results.results import read_results


def test_a_damaged_image_on_either_side_is_skipped(done, detector, images, others, tmp_path):
    whole, results = tmp_path / "whole.json", tmp_path / "results.json"
    kept, far = (tmp_path / name for name in ("kept", "far"))
    shutil.copytree(images, kept)
    shutil.copytree(others, far)
    done("evaluate", detector, "--id", kept, "--ood", f"far={far}", "--out", whole)
    (kept / "cat" / "broken.png").write_bytes(b"\x89PNG but not really")
    (far / "empty.png").touch()

    printed = done("evaluate", detector, "--id", kept, "--ood", f"far={far}", "--out", results)

    assert "cat/broken.png" in printed.err
    assert "empty.png" in printed.err
    assert "id: 1 unreadable image skipped" in printed.err
    (row,) = read_results(results).rows
    assert (row.n_id, row.n_ood) == (15, 5)
    assert read_results(results).rows == read_results(whole).rows
    assert read_results(results).run["sets"]["far"]["images"] == 5


@pytest.mark.parametrize("side", ["id", "far"])
def test_more_than_max_bad_are_refused(refused, detector, images, others, tmp_path, side):
    copy = shutil.copytree(images if side == "id" else others, tmp_path / "copy")
    (copy / "broken.png").write_bytes(b"none")
    inside, outside = (copy, others) if side == "id" else (images, copy)
    words = ("evaluate", detector, "--id", inside, "--ood", f"far={outside}", "--max-bad", "0")
    assert f"{side}: 1 of" in refused(*words)


def test_a_set_without_a_readable_image_is_refused(refused, detector, images, tmp_path):
    (tmp_path / "one.png").write_bytes(b"none")
    line = refused("evaluate", detector, "--id", images, "--ood", f"far={tmp_path}")
    assert "far: 1 of 1 images cannot be read" in line


# What the detector does at its own threshold


@pytest.mark.numerical
def test_verdicts_at_the_threshold_are_counted(measured, detector, images, others):
    results, printed = measured()
    loaded = OODDetector.from_pretrained(detector)
    kept = int((loaded.score(images) >= loaded.threshold).sum())
    caught = int((loaded.score(others) < loaded.threshold).sum())
    inside, outside = results.run["operating_points"]
    assert (inside["set"], inside["count"], inside["images"]) == ("in-distribution", kept, 15)
    assert (outside["set"], outside["count"], outside["images"]) == ("far", caught, 5)
    low, high = wilson(kept, 15)
    assert inside["low"] == pytest.approx(low, abs=1e-9)
    assert inside["high"] == pytest.approx(high, abs=1e-9)
    line = next(line for line in printed.out.splitlines() if line.startswith("in-distribution"))
    assert line.split()[1:] == [
        "kept",
        f"{100 * kept / 15:.1f}",
        "%",
        f"{100 * low:.1f}",
        "to",
        f"{100 * high:.1f}",
        "15",
    ]
    assert "FPR95 with OOD positive" in printed.out
    assert "*" not in printed.out  # alone it is the best of nothing


def wilson(count, total):
    """Solve |p - k/n| = z sqrt(p (1 - p) / n) for p, which defines Wilson's interval."""
    z, share = 1.959963984540054, count / total
    a, b, c = 1 + z * z / total, -(2 * share + z * z / total), share * share
    root = (b * b - 4 * a * c) ** 0.5
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def test_images_of_the_calibration_are_told_from_new_ones(
    done, measured, bundle, images, others, tmp_path
):
    """The fixture is calibrated on `images`; that half of them are kept is no measurement."""
    assert "15 of these 15 images score exactly as calibration images do" in measured()[1].err
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.calibrate(others, tpr=0.5).save_pretrained(tmp_path / "d")
    printed = done("evaluate", tmp_path / "d", "--id", images, "--ood", f"far={others}")
    assert "calibration images do" not in printed.err


def test_without_a_threshold_there_is_nothing_to_count(done, bundle, images, others, tmp_path):
    OODDetector.from_classes(CLASSES, models=bundle, share=0.9).save_pretrained(tmp_path / "d")
    out = tmp_path / "r.json"
    words = ("--id", images, "--ood", f"far={others}", "--out", out)
    printed = done("evaluate", tmp_path / "d", *words)
    assert "No threshold yet" in printed.out
    assert read_results(out).run["operating_points"] == []
    done("report", out)
    page = Page((tmp_path / "r.html").read_text())
    assert "has no threshold yet" in page.text
    assert "rejected" not in page.text[page.text.index("The most confident mistakes") :]


def test_the_nearest_class_is_held_against_the_folder_of_an_image(measured, detector, images):
    results, printed = measured()
    found = OODDetector.from_pretrained(detector).predict(images)
    right = sum(one.label == one.path.parent.name for one in found)
    assert results.run["labels"] == {"right": right, "images": 15}
    assert f"Nearest class right for {100 * right / 15:.1f} %" in printed.out


# What the results are read from and shown as


def test_an_image_on_both_sides_is_warned_of(done, detector, images, others, tmp_path):
    shutil.copytree(others, tmp_path / "far")
    shutil.copy(images / "cat" / "1.png", tmp_path / "far" / "renamed.png")
    known = ("--ood", f"far={others}", f"mixed={tmp_path / 'far'}")
    printed = done("evaluate", detector, "--id", images, *known)
    assert (
        "warning: one image is both in-distribution and in the OOD set 'mixed', such as "
        f"{images / 'cat' / '1.png'}" in printed.err
    )
    same = done("evaluate", detector, "--id", others, "--ood", f"far={others}")
    assert "5 images are both in-distribution and in the OOD set 'far'" in same.err


def test_the_page_of_an_evaluation_needs_nothing_but_its_file(measured, done, images, tmp_path):
    results, _ = measured("--baselines", "--train", images)
    moved = shutil.move(tmp_path / "measured.json", tmp_path / "moved.json")
    done("report", moved)
    assert "are in moved.json next to it" in Page((tmp_path / "moved.html").read_text()).text
    page = Page((tmp_path / "moved.html").read_text())
    assert "keeps 53.3 %" in page.text
    charts = [chart["aria-label"] for chart in page.all("svg")]
    assert any(label.startswith("Scores on far: 53 % of in-distribution") for label in charts)
    assert any(label.startswith("ROC curve of far") for label in charts)
    shown = [image["alt"] for image in page.all("img")]
    assert len(shown) == 6 + 5  # the worst of both sets
    assert sum(text.startswith("Image of cat") for text in shown) <= 5
    assert all(
        one["nearest_class"] in CLASSES for item in results.run["mistakes"] for one in item["shown"]
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scored": [{"set": "in-distribution", "scores": {}}]}, "as this version writes it"),
        ({"mistakes": [{"set": "x"}]}, "as this version writes it"),
        ({"operating_points": None}, "as this version writes it"),
        ({"threshold": "high"}, "as this version writes it"),
    ],
)
def test_an_evaluation_that_was_altered_is_refused(measured, refused, tmp_path, change, sentence):
    measured()
    data = json.loads((tmp_path / "measured.json").read_text())
    data["run"] |= change
    (tmp_path / "altered.json").write_text(json.dumps(data))
    assert sentence in refused("report", tmp_path / "altered.json")


def test_shuffled_images_are_shown_for_what_they_are(done, images, others, tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")  # without an in-painting model
    fit = ("fit", images, "--models", bundle, "--out", tmp_path / "run")
    done(*fit, "--set", "select.per_class=2", "mining.share=0.5")
    known = ("--id", others, "--ood", f"far={images}")
    done("evaluate", tmp_path / "run" / "detector", *known)
    done("report", tmp_path / "run")
    page = Page((tmp_path / "run" / "evaluation.html").read_text())
    assert "each is its source cut into pieces and shuffled" in page.text
    assert "The prompt names the surroundings" not in page.text


def test_a_group_of_one_set_has_no_average_of_its_own(done, detector, images, others):
    words = ("--id", images, "--ood", f"far={others}", "--near-ood", f"close={images / 'cat'}")
    printed = done("evaluate", detector, *words).out
    head = printed[printed.index("AUROC") : printed.index("FPR95")].split()
    assert "average" in head
    assert "avg." not in head


def test_sets_are_listed_as_score_lists_them(done, detector, images, others, tmp_path):
    whole, out = tmp_path / "whole.json", tmp_path / "listed.json"
    done("evaluate", detector, "--id", images, "--ood", f"far={others}", "--out", whole)
    (tmp_path / "far.txt").write_text("".join(f"{path}\n" for path in sorted(others.iterdir())))
    words = ("--id", f"{images}/**/*.png", "--ood", f"far={tmp_path / 'far.txt'}", "--out", out)
    done("evaluate", detector, *words)
    assert read_results(out).rows == read_results(whole).rows


def test_a_run_with_the_results_of_benchmarks_has_a_page_of_one(done, refused, measured, tmp_path):
    measured()
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(tmp_path / "measured.json", run / "results-mini.json")
    assert done("report", run).out == f"{run / 'results-mini.html'}\n"
    shutil.copy(tmp_path / "measured.json", run / "results-openood.json")
    line = refused("report", run)
    assert "results-mini.json, results-openood.json; name one" in line


def test_a_detector_that_keeps_less_than_it_was_calibrated_for_says_so(
    done, bundle, images, others, tmp_path
):
    """Calibrated on one kind of images and measured on another, which it rejects."""
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    scores = made.score(images)
    raised = made.calibrate(np.linspace(scores.max(), scores.max() + 1, 100), tpr=0.95)
    raised.save_pretrained(tmp_path / "raised")
    made.calibrate(scores - 100, tpr=0.9).save_pretrained(tmp_path / "lowered")
    words = ("--id", images, "--ood", f"far={others}", "--out", tmp_path / "r.json")
    printed = done("evaluate", tmp_path / "raised", *words).out
    assert "It was calibrated to keep 95 % and keeps fewer" in printed
    done("report", tmp_path / "r.json")
    page = (tmp_path / "r.html").read_text()
    assert "It was calibrated to keep 95 % and keeps fewer" in page
    assert "p-value 0.0" in page
    kept = done("evaluate", tmp_path / "lowered", *words, "--overwrite").out
    assert "keeps fewer" not in kept


def test_with_one_class_there_is_no_softmax_and_no_head(done, bundle, images, others, tmp_path):
    made = OODDetector.from_classes(["cat"], models=bundle, share=0.9)
    made.save_pretrained(tmp_path / "one")
    shutil.copytree(images / "cat", tmp_path / "train" / "cat")
    words = ("--id", images / "cat", "--ood", f"far={others}", "--out", tmp_path / "r.json")
    done("evaluate", tmp_path / "one", *words, "--baselines", "--train", tmp_path / "train")
    names = {row.method for row in read_results(tmp_path / "r.json").rows}
    assert names == {"neglabel", "nearest-image", "class-mean", "mahalanobis-plus"}

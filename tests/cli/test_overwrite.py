"""What somebody made is replaced only with --overwrite, and nothing is worked on in vain."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundling import CLASSES, tiny_bundle
from small_run import QUICK, contents, make_pictures
from synood import OODDetector
from synood.cli import main
from synood.errors import InputError


@pytest.fixture
def no_work(monkeypatch):
    """Fail when a model is asked for anything: what is refused is refused before."""
    from synood.detector.backbone import Backbone
    from synood.models.bundles import Bundle

    def load(*_: object, **__: object) -> None:
        pytest.fail("a model was loaded before the outputs were checked")

    monkeypatch.setattr(Backbone, "load", load)
    monkeypatch.setattr(Bundle, "encoder", load)


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog\n")
    return path


@pytest.fixture
def commands(detector, bundle, images, others, names):
    """Every command that writes one thing, up to its output path."""
    return {
        "score": ["score", detector, images, "--format", "csv", "--out"],
        "evaluate": ["evaluate", detector, "--id", images, "--ood", f"far={others}", "--out"],
        "mine": ["mine", "--classes", names, "--models", bundle, "--out"],
        "zero-shot": ["zero-shot", "--classes", names, "--models", bundle, "--out"],
        "calibrate": ["calibrate", detector, "--id", images, "--tpr", "0.9", "--out"],
    }


@pytest.mark.parametrize("name", ["score", "evaluate", "mine"])
def test_a_file_that_is_there_stays(refused, no_work, commands, tmp_path, name):
    out = tmp_path / "scores.csv"
    out.write_text("mine")
    assert "scores.csv: exists already" in refused(*commands[name], out)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["score", "evaluate", "mine"])
def test_a_file_that_is_there_is_replaced_when_asked_to(done, commands, tmp_path, name):
    out = tmp_path / "scores.csv"
    out.write_text("mine")
    done(*commands[name], out, "--overwrite")
    assert out.read_text() != "mine"


@pytest.mark.parametrize("name", ["zero-shot", "calibrate"])
def test_a_detector_that_is_there_keeps_its_threshold(
    refused, no_work, commands, detector, tmp_path, name
):
    out = shutil.copytree(detector, tmp_path / "detector")
    before = contents(out)
    assert "detector: is not empty" in refused(*commands[name], out)
    assert contents(out) == before


@pytest.mark.parametrize("name", ["zero-shot", "calibrate"])
def test_a_detector_is_replaced_when_asked_to_and_other_things_never(
    done, refused, commands, detector, tmp_path, name
):
    out = shutil.copytree(detector, tmp_path / "detector")
    before = contents(out)
    done(*commands[name], out, "--overwrite")
    assert contents(out) != before

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"mine")
    assert "mine.jpg" in refused(*commands[name], tmp_path / "photos", "--overwrite")
    assert (tmp_path / "photos" / "mine.jpg").read_bytes() == b"mine"


def test_mine_does_not_overwrite_the_class_list_it_reads(refused, no_work, commands, names):
    assert "names.txt: exists already" in refused(*commands["mine"], names)
    assert names.read_text() == "cat\ndog\n"


@pytest.mark.parametrize("name", ["score", "evaluate", "mine", "zero-shot", "calibrate"])
def test_places_that_cannot_be_written_are_refused_before_the_work(
    refused, no_work, commands, tmp_path, name
):
    words = commands[name]
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in refused(*words, tmp_path / "file" / "below" / "out")
    os.mkfifo(tmp_path / "pipe")
    refused(*words, tmp_path / "pipe")
    if name in ("score", "evaluate", "mine"):
        assert "is a directory; name a file" in refused(*words, tmp_path, "--overwrite")
    else:
        assert "is a file; name a directory" in refused(*words, tmp_path / "file", "--overwrite")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_the_work(
    refused, no_work, commands, tmp_path
):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "cannot be written" in refused(*commands["score"], tmp_path / "closed" / "out.csv")


def test_a_missing_parent_is_made(done, commands, tmp_path):
    done(*commands["score"], tmp_path / "new" / "folder" / "scores.csv")
    assert (tmp_path / "new" / "folder" / "scores.csv").read_text().startswith("path,score")


def test_two_results_files_have_two_pages(done, refused, commands, tmp_path):
    for name in ("a.json", "b.json"):
        done(*commands["evaluate"], tmp_path / name)
        done("report", tmp_path / name)
    assert {path.name for path in tmp_path.glob("*.html")} == {"a.html", "b.html"}
    done("report", tmp_path / "a.json")  # its own page, made again
    (tmp_path / "a.html").write_text("<p>written by hand")
    assert "a.html: exists already" in refused("report", tmp_path / "a.json")
    assert (tmp_path / "a.html").read_text() == "<p>written by hand"
    table = ("report", tmp_path / "a.json", "--format", "md", "--out", tmp_path / "a.html")
    assert "exists already" in refused(*table)
    done(*table, "--overwrite")


# A finished run


@pytest.fixture(scope="module")
def finished(bundle, images, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    assert main([str(word) for word in fit_words(images, bundle, run)]) == 0
    return run


def fit_words(images, bundle, out, *more):
    return ["fit", images, "--models", bundle, "--out", out, "--batch-size", 2, "--set", *QUICK,
            *more]  # fmt: skip


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_same_call_leaves_a_finished_run_as_it_is(done, run, images, bundle):
    done("calibrate", run / "detector", "--id", images, "--tpr", "0.5")
    before = contents(run)
    done(*fit_words(images, bundle, run))
    assert contents(run) == before


def test_files_with_other_times_are_the_same_images(done, run, images, bundle, tmp_path):
    copied = shutil.copytree(images, tmp_path / "copied", copy_function=shutil.copyfile)
    before = contents(run / "detector")
    done(*fit_words(copied, bundle, run))
    assert contents(run / "detector") == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("guidance.rounds=1",), "guidance.rounds 2 there, 1 now"),
        (("--recipe", "paper"), "projection.views 3 there, 0 now"),
        (("--seed", "7"), "seed 0 there, 7 now"),
        (("--negatives", "neglabel-imagenet"), "negative labels mined there"),
    ],
)
def test_a_finished_run_of_another_recipe_stays(refused, run, images, bundle, more, sentence):
    before = contents(run)
    line = refused(*fit_words(images, bundle, run, *more))
    assert sentence in line
    assert "--overwrite" in line
    assert contents(run) == before


def test_a_finished_run_of_other_classes_or_images_stays(refused, run, images, bundle, tmp_path):
    before = contents(run)
    renamed = shutil.copytree(images, tmp_path / "renamed")
    (renamed / "tree").rename(renamed / "tower")
    line = refused(*fit_words(renamed, bundle, run))
    assert "classes cat, dog, tree there, cat, dog, tower now" in line

    changed = shutil.copytree(images, tmp_path / "changed")
    others = make_pictures(tmp_path / "others", seed=5)
    for number in range(5):
        shutil.copy(others / "cat" / f"{number}.png", changed / "cat" / f"{number}.png")
    assert "(other images)" in refused(*fit_words(changed, bundle, run))
    assert contents(run) == before


@pytest.mark.parametrize("levels", [1, 256])  # the simplest image, and the most complex one
def test_a_new_image_is_another_input(refused, run, images, bundle, tmp_path, levels):
    """It is redrawn, or it belongs to the images that set the threshold."""
    before = contents(run / "detector")
    more = shutil.copytree(images, tmp_path / "more")
    noise = np.random.default_rng(1).integers(0, levels, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(more / "tree" / "9.png")
    assert "(other images)" in refused(*fit_words(more, bundle, run))
    assert contents(run / "detector") == before


def test_a_finished_run_of_other_models_stays(refused, run, images, tmp_path):
    other = tiny_bundle(tmp_path / "other", inpainter=True, seed=1)
    assert "models" in refused(*fit_words(images, other, run))


def test_a_finished_run_is_replaced_when_asked_to(done, run, images, bundle):
    done(*fit_words(images, bundle, run, "guidance.rounds=1", "--overwrite"))
    assert "rounds = 1" in (run / "run.toml").read_text()


def test_an_unfinished_run_may_change_freely(done, run, images, bundle):
    shutil.rmtree(run / "detector")
    done(*fit_words(images, bundle, run, "guidance.rounds=1"))
    assert "rounds = 1" in (run / "run.toml").read_text()


def test_python_refuses_likewise(run, images, bundle):
    with pytest.raises(InputError, match="overwrite=True in Python"):
        OODDetector.fit(images, "released", run=run, models=bundle)
    assert OODDetector.from_pretrained(run / "detector").class_names == CLASSES


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file")
def test_a_folder_that_takes_no_file_is_refused_before_the_work(refused, no_work, commands):
    for words in commands.values():
        assert "cannot be written (/proc: " in refused(*words, "/proc/synood")


@pytest.mark.parametrize("name", ["score", "evaluate", "mine", "zero-shot", "calibrate"])
def test_a_url_makes_no_folders_and_a_link_to_nothing_stays(
    refused, no_work, commands, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    here = sorted(tmp_path.iterdir())

    assert "s3://bucket/x: is a URL" in refused(*commands[name], "s3://bucket/x")
    assert "link: is a link to nothing" in refused(*commands[name], "link", "--overwrite")
    assert sorted(tmp_path.iterdir()) == here


@pytest.mark.parametrize("name", ["zero-shot", "calibrate"])
def test_a_folder_of_other_things_is_refused_before_the_work(
    refused, no_work, commands, tmp_path, name
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious.txt").write_text("mine")

    assert "holds 'precious.txt'" in refused(*commands[name], tmp_path / "folder", "--overwrite")
    assert (tmp_path / "folder" / "precious.txt").read_text() == "mine"


def test_python_writes_to_no_url_either(detector, bundle, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = OODDetector.from_pretrained(detector)
    with pytest.raises(InputError, match="s3://bucket/x: is a URL"):
        made.save_pretrained("s3://bucket/x")
    with pytest.raises(InputError, match="s3://bucket/x: is a URL"):
        OODDetector.fit(images, models=bundle, run="s3://bucket/x")
    assert not list(tmp_path.iterdir())


def test_no_command_writes_over_what_it_reads(refused, detector, bundle, images, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    image = tmp_path / "a.png"
    shutil.copy(images / "cat" / "0.png", image)
    results = tmp_path / "results.json"
    results.write_text("{}")
    before = contents(tmp_path)

    said = "is read by this command; name another file to write"
    last = ("--overwrite", "--out")
    assert said in refused("mine", "--classes", names, "--models", bundle, *last, names)
    assert said in refused("score", detector, image, *last, image)
    assert said in refused(
        "evaluate", detector, "--id", images, "--ood", f"x={image}", *last, image
    )
    assert said in refused("report", results, *last, results)
    assert said in refused("report", tmp_path, "--format", "md", *last, results)
    assert contents(tmp_path) == before


def test_neither_a_detector_nor_an_image_is_written_over(refused, detector, images, tmp_path):
    mine = shutil.copytree(detector, tmp_path / "mine")
    data = shutil.copytree(images, tmp_path / "data")
    before = contents(tmp_path)

    config, last = mine / "config.json", ("--overwrite", "--out")
    said = "config.json: is read by this command; name another file to write"
    known = ("--id", data, "--ood", f"x={data}")
    assert said in refused("score", mine, data, *last, config)
    assert said in refused("evaluate", f"named={mine}", *known, *last, config)
    assert said in refused("export", mine, *last, config)
    said = "0.png: is an image; name another file to write"
    for given in (data, f"{data}/*/*.png"):
        assert said in refused("score", mine, given, *last, data / "cat" / "0.png")
    assert said in refused("evaluate", mine, *known, *last, data / "cat" / "0.png")
    assert contents(tmp_path) == before


def test_an_experiment_over_a_finished_run_of_other_images_is_refused_at_once(refused, run):
    before = contents(run)
    assert "holds a run of other images" in refused("demo", "--out", run)
    line = refused("reproduce", "table-3", "--out", run)
    assert "holds a finished run that differs (classes cat, dog, tree there, alarm clock" in line
    assert contents(run) == before

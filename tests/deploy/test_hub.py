"""A detector goes to a hub and comes back the same; what can go wrong is said, and undoes nothing.

The hub is one on this machine that huggingface_hub itself talks to (tests/helpers/loopback_hub.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from huggingface_hub import ModelCard

from bundling import CLASSES, tiny_bundle
from loopback_hub import HANG, READ, WRITE, Hub, Repository, hub_environment, loopback_hub, use_hub
from small_detector import make_detector
from synood import OODDetector
from synood.cli import main
from synood.deploy.hub import published_files
from synood.detector.backbone import Backbone
from synood.errors import CheckpointError, InputError
from synood.models.hub import HubError

ID = "somebody/animals"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with loopback_hub() as served:
        use_hub(monkeypatch, served.endpoint, tmp_path / "cache", WRITE)
        yield served


@pytest.fixture(scope="module")
def made(bundle, images):
    detector = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    return detector.calibrate(images, tpr=0.9)


@pytest.fixture
def colours():
    """A detector of no bundle, for what never loads its encoder."""
    return make_detector().calibrate(np.linspace(0.5, 0.6, 30))


def files(hub: Hub, branch: str = "main") -> dict[str, bytes]:
    return hub.repositories[ID].files(branch)


def test_what_was_pushed_scores_the_same_bit_for_bit_in_a_fresh_cache(hub, made, bundle, images):
    address = made.push_to_hub(ID)
    assert address.startswith(f"{hub.endpoint}/{ID}/commit/")
    assert sorted(files(hub)) == [
        ".gitattributes", "README.md", "config.json", "model.safetensors", "negatives.txt",
    ]  # fmt: skip
    loaded = OODDetector.from_pretrained(ID, models=bundle)
    expected, found = made.predict(images), loaded.predict(images)
    assert [one.score for one in found] == [one.score for one in expected]
    assert [one.p_value for one in found] == [one.p_value for one in expected]
    assert [one.is_ood for one in found] == [one.is_ood for one in expected]
    hub.asked.clear()
    OODDetector.from_pretrained(ID)
    assert [line for line in hub.asked if line.startswith("GET") and "resolve" in line] == []


def test_a_cached_detector_needs_no_hub(hub, colours, monkeypatch, tmp_path):
    colours.push_to_hub(ID)
    OODDetector.from_pretrained(ID)
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    assert OODDetector.from_pretrained(ID).threshold == colours.threshold
    with pytest.raises(HubError, match=r"somebody/other: .* not reachable .*no directory"):
        OODDetector.from_pretrained("somebody/other")


def test_branches_are_made_and_found_by_name_and_commit(hub, colours):
    first = colours.push_to_hub(ID).rpartition("/")[2]
    colours.calibrate(np.linspace(0.1, 0.2, 30)).push_to_hub(ID, revision="v2")  # asks for nothing
    for place, revision in [(f"{ID}@v2", None), (ID, "v2")]:
        assert OODDetector.from_pretrained(place, revision=revision).threshold < 0.2
    for place, revision in [(ID, None), (f"{ID}@main", None), (ID, first)]:
        assert OODDetector.from_pretrained(place, revision=revision).threshold >= 0.5
    with pytest.raises(InputError, match="exists already and holds a detector"):
        colours.push_to_hub(ID, revision="v2")
    with pytest.raises(CheckpointError, match="has no revision 'v9'"):
        OODDetector.from_pretrained(f"{ID}@v9")
    with pytest.raises(InputError, match="has a revision in its name already"):
        OODDetector.from_pretrained(f"{ID}@v2", revision="main")


def test_the_card_is_what_the_hub_reads_and_says_how_to_load_it(hub, colours):
    colours.push_to_hub(ID, license="apache-2.0")
    card = ModelCard(files(hub)["README.md"].decode())
    assert card.data.to_dict() == {
        "library_name": "synood",
        "pipeline_tag": "image-classification",
        "license": "apache-2.0",
        "tags": ["out-of-distribution-detection", "ood-detection", "open-set-recognition"],
        "num_classes": 2,
    }
    assert f'OODDetector.from_pretrained("{ID}")' in card.text
    assert f"synood score {ID} photo.jpg" in card.text
    with pytest.raises(InputError, match=r'refuses what it was sent .*"license" must be one of'):
        colours.push_to_hub(ID, license="my own", overwrite=True)


def test_a_card_may_be_edited_on_the_hub_or_removed(hub, colours):
    colours.push_to_hub(ID)
    repository = hub.repositories[ID]
    for card in ({"README.md": b"# Mine"}, {}):
        kept = {name: data for name, data in files(hub).items() if name != "README.md"}
        repository.add("main", {**kept, **card}, "edit")
        assert OODDetector.from_pretrained(ID).class_names == colours.class_names


@pytest.mark.parametrize(
    ("backbone", "base_model"),
    [
        (Backbone("paper", "01ab"), "openai/clip-vit-base-patch16"),
        (Backbone("paper+encoder=google/siglip-base-patch16-224", "01ab"),
         "google/siglip-base-patch16-224"),
        (Backbone("paper+encoder=/home/me/clip+encoder.preprocess=clip", "01ab"), None),
        (Backbone("photo", "01ab"), None),
        (Backbone.absent(), None),
    ],
)  # fmt: skip
def test_the_base_model_is_an_encoder_of_the_hub(backbone, base_model):
    card = published_files(make_detector(encoder=backbone), ID)["README.md"].decode()
    assert ModelCard(card).data.base_model == base_model


def test_no_place_on_this_machine_is_published(tmp_path):
    bundle = tiny_bundle(tmp_path / "private" / "bundle")
    detectors = [
        OODDetector.from_classes(CLASSES, models=bundle, share=0.9),
        make_detector(encoder=Backbone("paper+encoder=/home/me/a+b+encoder.dtype=x", "01ab")),
    ]
    for detector in detectors:
        found = published_files(detector, ID)
        assert not [name for name, data in found.items() if b"/private" in data or b"/home" in data]
        assert b'models="path/to/its/bundle"' in found["README.md"]
    config = json.loads(found["config.json"])
    assert config["backbone"]["bundle"] == "paper+encoder=a+b+encoder.dtype=x"


def test_a_detector_is_replaced_on_demand_alone_and_in_one_commit(hub, colours):
    colours.push_to_hub(ID)
    repository, before = hub.repositories[ID], files(hub)
    with pytest.raises(InputError, match=r"exists already and holds a detector; .*--overwrite"):
        colours.push_to_hub(ID)
    assert files(hub) == before
    repository.add("main", {**before, "LICENSE": b"mine"}, "by hand")
    colours.calibrate(np.linspace(0.1, 0.2, 30)).push_to_hub(
        ID, overwrite=True, commit_message="new threshold"
    )
    assert repository.messages[-1] == "new threshold"
    assert len(repository.commits) == 4  # the first, two of detectors, one by hand
    assert files(hub)["LICENSE"] == b"mine"
    assert OODDetector.from_pretrained(ID).threshold < 0.2


@pytest.mark.parametrize("config", [b'{"model_type": "clip"}', b"{", b"\xff"])
def test_a_model_of_another_library_is_never_replaced(hub, colours, config):
    colours.push_to_hub(ID)
    hub.repositories[ID].add("main", {"config.json": config}, "another model")
    before = files(hub)
    with pytest.raises(InputError, match="holds a model of another library"):
        colours.push_to_hub(ID, overwrite=True)
    assert files(hub) == before


def test_what_was_to_be_private_is_never_public(hub, colours):
    colours.push_to_hub(ID, private=True)
    assert hub.repositories[ID].private
    colours.push_to_hub("somebody/open")
    with pytest.raises(InputError, match="exists already and is public; make it private at"):
        colours.push_to_hub("somebody/open", private=True, overwrite=True)


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("hf_old", ID, "does not accept the access token; run `hf auth login`"),
        (READ, ID, "does not let this access token write there: it needs write permission"),
        (WRITE, "company/animals", "write permission for company"),
        ("", ID, "needs an access token of the hub: run `hf auth login`, or set HF_TOKEN"),
        (WRITE, "two words", "Repo id must use alphanumeric chars"),
        (WRITE, "a/b/c", "Repo id must be in the form"),
    ],
)
def test_who_may_not_push_is_told_why(hub, colours, monkeypatch, token, repo_id, message):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=message) as refused:
        colours.push_to_hub(repo_id)
    assert hub.repositories == {}
    assert len(str(refused.value).splitlines()) == 1


def test_without_a_network_nothing_is_tried_twice(colours, monkeypatch, tmp_path):
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path, WRITE)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"connection to .* broke .* nothing was published"):
        colours.push_to_hub(ID)
    assert time.monotonic() - started < 5
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="offline mode is on"):
        colours.push_to_hub(ID)


@pytest.mark.parametrize("moment", ["POST /api/models/somebody/animals/commit", "PUT /upload"])
@pytest.mark.parametrize("status", [0, 500])
def test_an_upload_that_breaks_leaves_the_repository_as_it_was(
    hub, colours, monkeypatch, moment, status
):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub.break_at(moment, status)
    with pytest.raises(InputError, match=r"nothing was published|answered HTTP 500"):
        colours.push_to_hub(ID)
    assert sorted(files(hub)) == [".gitattributes"]
    hub.repair()
    colours.push_to_hub(ID)  # what is empty needs no permission
    assert OODDetector.from_pretrained(ID).threshold == colours.threshold


def test_of_two_pushes_at_once_the_later_is_refused(hub, colours):
    colours.push_to_hub(ID)
    hub.break_at("/preupload/", HANG)
    told = []

    def push() -> None:
        try:
            colours.push_to_hub(ID, overwrite=True)
        except InputError as error:
            told.append(str(error))

    thread = threading.Thread(target=push)
    thread.start()
    while not any("/preupload/" in line for line in hub.asked[-1:]):
        time.sleep(0.01)
    hub.repositories[ID].add("main", {"config.json": b"{}"}, "meanwhile")
    hub.repair()  # the hanging request is closed, and made again
    thread.join()
    assert len(told) == 1
    assert "has had another commit meanwhile" in told[0]
    assert files(hub) == {"config.json": b"{}"}


def test_what_is_no_detector_is_not_fetched(hub):
    clip = {"config.json": b'{"model_type": "clip"}', "model.safetensors": bytes(9)}
    for name, held in ((ID, clip), ("somebody/empty", {})):
        hub.repositories[name] = Repository(private=False)
        hub.repositories[name].add("main", held, "")
    for name in (ID, "somebody/empty"):
        with pytest.raises(CheckpointError, match=f"{name}: the repository holds no synood"):
            OODDetector.from_pretrained(name)
    assert not [line for line in hub.asked if "safetensors" in line]


def test_files_of_a_directory_stay_a_directory(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(CheckpointError, match="runs/one: no such directory"):
        OODDetector.from_pretrained("runs/one")
    make_detector().save_pretrained("mine/detector")
    with pytest.raises(InputError, match="a revision needs a detector of the hub"):
        OODDetector.from_pretrained("mine/detector", revision="main")
    assert OODDetector.from_pretrained("mine/detector").class_names == ("red", "grün")
    assert hub.asked == []


def test_altered_files_of_the_hub_are_refused(hub, colours):
    colours.push_to_hub(ID)
    for name in ("negatives.txt", "model.safetensors"):
        altered = {**files(hub), name: files(hub)[name].replace(b"e", b"i", 1)}
        hub.repositories[ID].add("altered", altered, "")
        with pytest.raises(CheckpointError, match=f"{name}: altered"):
            OODDetector.from_pretrained(f"{ID}@altered")


def test_the_command_pushes_and_the_others_take_the_id(hub, tmp_path, capsys, images):
    made = OODDetector.from_classes(["cat", "dog"], models="mini", negatives=["car", "tree"])
    made.calibrate(images, tpr=0.9).save_pretrained(tmp_path / "detector")
    assert main(["push", str(tmp_path / "detector"), "animals", "--private"]) == 0
    told = capsys.readouterr()
    assert f"next: synood score {ID} IMAGE" in told.out
    assert "warning: the card names no licence" in told.err
    image = str(next(images.rglob("*.png")))
    assert main(["score", str(tmp_path / "detector"), image, "--format", "jsonl"]) == 0
    expected = capsys.readouterr().out
    assert main(["score", ID, image, "--format", "jsonl"]) == 0
    assert capsys.readouterr().out == expected
    assert main(["show", ID]) == 0
    assert "2: cat, dog" in capsys.readouterr().out
    assert main(["calibrate", ID, "--id", str(images)]) == 2
    assert "give a directory to write to as --out" in capsys.readouterr().err


def test_a_push_that_is_killed_is_made_good_by_the_next(hub, colours, tmp_path):
    colours.save_pretrained(tmp_path / "detector")
    hub.break_at("PUT /upload", HANG)
    words = [sys.executable, "-m", "synood", "push", str(tmp_path / "detector"), ID]
    environment = hub_environment(hub.endpoint, tmp_path / "other", WRITE)
    process = subprocess.Popen(words, env={**os.environ, **environment})
    while not any(line.startswith("PUT") for line in hub.asked):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert sorted(files(hub)) == [".gitattributes"]
    hub.repair()
    assert main(words[3:]) == 0
    assert OODDetector.from_pretrained(ID).threshold == colours.threshold

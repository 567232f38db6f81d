"""Parts by id or folder, told by their files; the catalog's revisions and hashes."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hub_cache
import tiny
from bundling import CLASSES, change_spec, tiny_bundle
from synood.cli.app import main
from synood.detector.backbone import Backbone
from synood.errors import CheckpointError
from synood.models._spec import VARIANTS
from synood.models.bundles import load_bundle
from synood.models.catalog import catalog, known_files, pinned
from synood.models.classifier import TransformersClassifier
from synood.models.clip import ClipEncoder
from synood.models.hub import cached_commit
from synood.models.loaded import Models
from synood.models.parts import PARTS
from synood.pipeline.rundir import runfile as _runfile

NAME = hub_cache.LISTED


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


def test_every_row_of_the_catalog_is_a_pinned_part_with_whole_hashes():
    for name, row in catalog().items():
        assert row.part in PARTS, name
        assert row.licence, name
        assert row.source, name
        assert re.fullmatch("[0-9a-f]{40}", row.revision or hub_cache.COMMIT), name
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in row.files.values()), name


def test_every_hub_id_of_the_named_bundles_is_in_the_catalog_and_recorded():
    for name in ("paper", *VARIANTS):
        spec = load_bundle(name).spec
        for part in PARTS.keys() & spec.keys():
            row = catalog()[spec[part]["id"]]
            assert row.part == part
            assert spec[part]["revision"] == row.revision


def test_a_variant_takes_further_changes():
    bundle = load_bundle("paper-zimage+painter.size=1024+encoder=openai/clip-vit-base-patch32")
    part = bundle.spec["inpainter"]
    assert (part["id"], part["size"]) == ("Tongyi-MAI/Z-Image-Turbo", 1024)
    assert bundle.spec["encoder"]["id"].endswith("patch32")


def test_a_part_is_exchanged_by_id_and_a_field_by_name():
    bundle = load_bundle("paper+encoder=google/siglip-base-patch16-224+classifier.revision=main")
    assert bundle.spec["encoder"]["id"] == "google/siglip-base-patch16-224"
    assert bundle.spec["encoder"]["revision"] == pinned("google/siglip-base-patch16-224")
    assert bundle.spec["classifier"] == {
        "type": "transformers",
        "id": "microsoft/resnet-50",
        "revision": "main",
    }
    assert load_bundle(bundle.name).fingerprint == bundle.fingerprint
    assert load_bundle("paper").spec["encoder"]["id"] == "openai/clip-vit-base-patch16"
    assert bundle.fingerprint != load_bundle("paper").fingerprint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("paper+encoder.type=blip", r"bundle 'paper'\+encoder.type=blip: `encoder.type` is 'blip'"),
        ("paper+encoder.colour=red", "`encoder` has no field 'colour'"),
        ("paper+describer.type=file", "`describer` needs exactly one of `path`"),
        ("paper+cheese=some/id", r"paper\+cheese=some/id/bundle.json: no such file"),
    ],
)
def test_an_exchange_that_cannot_be_is_refused(name, message):
    with pytest.raises(CheckpointError, match=message):
        load_bundle(name)


def test_a_folder_takes_the_place_of_a_part_and_its_kind_is_told_by_its_files(original, tmp_path):
    tiny.tiny_resnet(tmp_path / "other", ["fox", "owl"])
    tiny.tiny_clip(tmp_path / "clip", seed=5)
    folders = f"+classifier={tmp_path / 'other'}+encoder={tmp_path / 'clip'}"
    bundle = load_bundle(f"{original}{folders}")
    assert bundle.classifier().class_names == ("fox", "owl")
    expected = ClipEncoder.from_pretrained(tmp_path / "clip").fingerprint
    assert bundle.encoder().fingerprint == expected != load_bundle(original).encoder().fingerprint


def test_a_detectors_encoder_is_found_again_where_it_was_exchanged(original, tmp_path, monkeypatch):
    tiny.tiny_clip(tmp_path / "clip", seed=5)
    monkeypatch.chdir(tmp_path)
    backbone = Backbone.of(load_bundle(f"{original}+encoder=clip"))
    monkeypatch.chdir(original)
    again = Backbone(backbone.bundle, backbone.fingerprint, backbone.path)
    assert again.load().fingerprint == backbone.fingerprint


def test_a_folder_that_changed_is_told_by_every_fingerprint(original, tmp_path):
    marks = set()
    for seed in (1, 2):
        tiny.tiny_clip(tmp_path / "clip", seed=seed)
        bundle = load_bundle(f"{original}+encoder={tmp_path / 'clip'}")
        marks |= {bundle.fingerprint, Models(bundle, "cpu").part_fingerprint("encoder")}
    assert len(marks) == 4


def test_a_part_without_a_type_is_told_by_its_configuration(original, tmp_path):
    root = tiny_bundle(tmp_path / "bundle")
    change_spec(root, encoder={"path": "encoder"}, classifier={"path": "classifier"})
    bundle = load_bundle(root)
    assert bundle.encoder().fingerprint == load_bundle(original).encoder().fingerprint
    assert bundle.classifier().class_names == CLASSES


def test_what_no_kind_knows_is_refused(original, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint there; it has none of open_clip_conf"):
        load_bundle(f"{original}+encoder={tmp_path}").encoder()
    tiny.tiny_scheduler(tmp_path / "noise", "DDIMScheduler", "epsilon", {})
    (tmp_path / "noise" / "scheduler_config.json").rename(tmp_path / "noise" / "config.json")
    message = "noise: its configuration matches no kind of encoder; give a `type`, one of clip"
    with pytest.raises(CheckpointError, match=message):
        load_bundle(f"{original}+encoder={tmp_path / 'noise'}").encoder()


def test_the_pinned_revision_is_loaded_where_none_is_asked_for(tmp_path):
    for seed, revision in enumerate([hub_cache.COMMIT, "main"]):
        directory = tiny.tiny_clip(tmp_path / "clip", seed=seed)
        hub_cache.put(tmp_path / "hub", NAME, directory, revision)
    with hub_cache.using_cache(tmp_path / "hub"), hub_cache.table_of(tmp_path):
        pinned_one = ClipEncoder.from_pretrained(NAME)
        assert cached_commit(NAME) == hub_cache.COMMIT
        assert (
            pinned_one.fingerprint
            == ClipEncoder.from_pretrained(NAME, revision=hub_cache.COMMIT).fingerprint
        )
        assert (
            pinned_one.fingerprint != ClipEncoder.from_pretrained(NAME, revision="main").fingerprint
        )


def test_weights_are_checked_against_the_catalog(tmp_path):
    directory = tiny.tiny_clip(tmp_path / "clip")
    digest = hub_cache.blob_name(directory / "model.safetensors")
    hub_cache.put(tmp_path / "hub", NAME, directory, hub_cache.COMMIT)
    with hub_cache.using_cache(tmp_path / "hub"):
        with hub_cache.table_of(tmp_path, model__safetensors=digest):
            assert ClipEncoder.from_pretrained(NAME).dim == 16
        with (
            hub_cache.table_of(tmp_path, model__safetensors="0" * 64),
            pytest.raises(CheckpointError, match=r"small-clip/model\.safetensors: altered"),
        ):
            ClipEncoder.from_pretrained(NAME)


def pickled_clip(tmp_path):
    """A checkpoint as OpenAI's towers lie on the hub: a pickle of weights and no safetensors."""
    directory = tiny.tiny_clip(tmp_path / "clip")
    weights = directory / "model.safetensors"
    torch.save(load_file(weights), directory / "pytorch_model.bin")
    weights.unlink()
    return directory


def test_a_pickle_is_opened_where_the_catalog_knows_its_hash_and_nowhere_else(tmp_path):
    directory = pickled_clip(tmp_path)
    expected = ClipEncoder.from_pretrained(tiny.tiny_clip(tmp_path / "safe")).encode_texts(["cat"])
    with pytest.raises(CheckpointError, match="clip: no complete checkpoint"):
        ClipEncoder.from_pretrained(directory)
    digest = hub_cache.blob_name(directory / "pytorch_model.bin")
    hub_cache.put(tmp_path / "hub", NAME, directory, hub_cache.COMMIT)
    with hub_cache.using_cache(tmp_path / "hub"):
        with hub_cache.table_of(tmp_path, pytorch_model__bin=digest):
            found = ClipEncoder.from_pretrained(NAME).encode_texts(["cat"])
            np.testing.assert_allclose(found, expected, atol=1e-6)
        with (
            hub_cache.table_of(tmp_path),
            pytest.raises(CheckpointError, match="no complete checkpoint"),
        ):
            ClipEncoder.from_pretrained(NAME)


def wait_for_conversions():
    for thread in threading.enumerate():
        if "auto_conversion" in thread.name:
            thread.join()


def test_the_hub_is_not_asked_to_convert_a_pickle(tmp_path, monkeypatch):
    """transformers does so in a thread, where it is given an id and may use the network."""
    from transformers import CLIPModel, modeling_utils

    directory = pickled_clip(tmp_path)
    digest = hub_cache.blob_name(directory / "pytorch_model.bin")
    hub_cache.put(tmp_path / "hub", NAME, directory, hub_cache.COMMIT)
    asked = []
    monkeypatch.setattr(modeling_utils, "is_offline_mode", lambda: False)
    monkeypatch.setattr(modeling_utils, "has_file", lambda *_, **__: False)
    monkeypatch.setattr(modeling_utils, "auto_conversion", lambda *_, **__: asked.append("hub"))
    with (
        hub_cache.using_cache(tmp_path / "hub"),
        hub_cache.table_of(tmp_path, pytorch_model__bin=digest),
    ):
        ClipEncoder.from_pretrained(NAME)
        wait_for_conversions()
        assert asked == []
        CLIPModel.from_pretrained(NAME, revision=hub_cache.COMMIT)  # so the check sees a request
        wait_for_conversions()
        assert asked == ["hub"]


def test_a_pickle_of_another_hash_is_refused_before_it_is_opened(tmp_path, monkeypatch):
    hub_cache.put(tmp_path / "hub", NAME, pickled_clip(tmp_path), hub_cache.COMMIT)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the pickle was opened"))
    with (
        hub_cache.using_cache(tmp_path / "hub"),
        hub_cache.table_of(tmp_path, pytorch_model__bin="0" * 64),
        pytest.raises(CheckpointError, match=r"pytorch_model\.bin: altered"),
    ):
        ClipEncoder.from_pretrained(NAME)


def test_a_folder_of_the_same_name_as_an_id_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.tiny_resnet(tmp_path / "microsoft" / "resnet-50", CLASSES)
    assert known_files("microsoft/resnet-50") == {}
    assert TransformersClassifier.from_pretrained("microsoft/resnet-50").class_names == CLASSES


def test_a_run_records_the_commit_and_the_hashes_of_what_came_from_a_hub(original, tmp_path):
    directory = tiny.tiny_clip(tmp_path / "clip")
    digest = hub_cache.blob_name(directory / "model.safetensors")
    commit = hub_cache.put(tmp_path / "hub", NAME, directory)
    bundle = load_bundle(f"{original}+encoder={NAME}+encoder.dtype=bfloat16")
    assert bundle.from_hub("encoder") == {}
    with hub_cache.using_cache(tmp_path / "hub"):
        recorded = _runfile._models(Models(bundle, "cpu"))["encoder"]
    weights = {"model.safetensors": digest}
    wanted = {"id": NAME, "dtype": "bfloat16", "commit": commit, "weights": weights}
    assert recorded == wanted


def test_the_command_lists_what_a_bundle_is_made_of_and_what_is_here(original, tmp_path, capsys):
    hub_cache.put(tmp_path / "hub", NAME, tiny.tiny_clip(tmp_path / "clip"))
    tiny.tiny_resnet(tmp_path / "own", CLASSES)
    name = f"paper+encoder={NAME}+classifier={tmp_path / 'own'}"
    with hub_cache.using_cache(tmp_path / "hub"):
        assert main(["models", name, str(original)]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    inpainter = "sd2-community/stable-diffusion-2-inpainting"
    assert rows[:4] == [
        name,
        f"encoder {NAME} not pinned - here",
        f"inpainter {inpainter} 5f74973cbb64 CreativeML Open RAIL++-M not here",
        f"classifier {tmp_path / 'own'} not pinned - a folder",
    ]
    assert "encoder encoder - - in the bundle" in rows
    assert main(["models"]) == 0
    assert "paper-rn50" in capsys.readouterr().out

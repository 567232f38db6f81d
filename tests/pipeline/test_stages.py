"""Parts of the pipeline: the target, whose classes and descriptions, seeds, features, folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colours import ColourEncoder, picture
from small_run import make_pictures, run
from synood import InputError, OODDetector
from synood.features.extractor import ImageFile
from synood.features.store import FeatureStore
from synood.files import read_jsonl, replacing_directory, sha256_file, write_jsonl
from synood.images.sources import folder_per_class
from synood.models.bundles import load_bundle
from synood.models.describer import FileDescriber
from synood.pipeline.recipe import RECIPES
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.stages.describe import inpainting_prompt
from synood.pipeline.stages.division import evenly
from synood.pipeline.stages.synthesize import image_seed
from synood.settings import DescribeSettings

# The target of the guidance


def test_target_can_be_a_quantile_of_the_images_own_energies(bundle, images, tmp_path):
    told = []

    run(
        images,
        bundle,
        tmp_path / "out",
        "guidance.target_quantile=0.5",
        progress=lambda *event: told.append(event),
    )

    made = read_synthetic(tmp_path / "out" / "synthesize").values()
    target = np.quantile([picture.source_energy for picture in made], 0.5)
    events = read_jsonl(tmp_path / "out" / "events.jsonl")
    assert [row["target"] for row in events if "target" in row] == [pytest.approx(target, abs=1e-5)]
    for one in made:
        shortfall = max(0.0, target - one.energies[0])
        assert one.losses[0] == pytest.approx(shortfall**2, abs=1e-4)
    assert any("guidance.target is" in message for _, _, _, message in told)


def test_target_of_a_quantile_needs_energies(bundle, images, tmp_path):
    with pytest.raises(InputError, match="target_quantile"):
        run(
            images,
            bundle,
            tmp_path / "out",
            "guidance.target_quantile=0.5",
            "guidance.objective=uniformity",
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("target", "idle"), [("-99", True), ("99", False)])
def test_guidance_that_has_nothing_to_do_is_told(bundle, images, tmp_path, target, idle):
    run(images, bundle, tmp_path / "out", f"guidance.target={target}", "guidance.step_size=0.1")
    notices = [row.get("message", "") for row in read_jsonl(tmp_path / "out" / "events.jsonl")]
    assert any("were not guided" in message for message in notices) == idle


# Whose classes, whose descriptions


def test_other_classes_train_a_linear_probe_and_say_so(bundle, tmp_path):
    images = make_pictures(tmp_path / "images", classes=("red_panda", "ant"), count=4)
    told = []

    detector = run(
        images, bundle, tmp_path / "out", progress=lambda stage, *rest: told.append((stage, *rest))
    )

    assert detector.class_names == ("ant", "red panda")
    remark = next(message for stage, _, total, message in told if stage == "probe" and not total)
    assert "linear probe" in remark
    notices = [row for row in read_jsonl(tmp_path / "out/events.jsonl") if row["event"] == "notice"]
    assert remark in [row["message"] for row in notices]
    assert 'classifier_used = "linear probe"' in (tmp_path / "out/run.toml").read_text()
    energies = [p.source_energy for p in read_synthetic(tmp_path / "out/synthesize").values()]
    assert len(energies) == 4


def test_classes_in_another_order_and_case_need_no_probe(bundle, tmp_path):
    images = make_pictures(tmp_path / "images", classes=("a", "b", "c"), count=3)
    renamed = folder_per_class(images, {"a": "Tree", "b": "dog", "c": "Cat"})
    loaded = load_bundle(bundle)
    recipe = replace(RECIPES["paper"], guidance=replace(RECIPES["paper"].guidance, rounds=1))

    from synood.pipeline.run import fit

    detector = fit(renamed, loaded, recipe, tmp_path / "out")

    assert detector.class_names == ("Tree", "dog", "Cat")
    assert "the bundle's" in (tmp_path / "out/run.toml").read_text()


def test_descriptions_from_a_file(bundle, images, tmp_path):
    rows = [
        {"id": path.relative_to(images).as_posix(), "text": f"the {path.stem} {{}} of cloud"}
        for path in images.rglob("*.png")
    ]
    write_jsonl(tmp_path / "texts.jsonl", rows)

    run(
        images,
        bundle,
        tmp_path / "out",
        "describe.max_characters=7",
        describer=FileDescriber(tmp_path / "texts.jsonl"),
    )

    prompts = {p.id: p.prompt for p in read_synthetic(tmp_path / "out/synthesize").values()}
    assert prompts["cat/4.png"] == "A photo only remain the 4 {."


def test_a_description_too_long_is_shortened_and_one_made_too_long_by_hand_refused(
    bundle, images, tmp_path
):
    texts = {path.relative_to(images).as_posix(): "tree" for path in images.rglob("*.png")}
    texts["tree/4.png"] = "tree " * 100
    write_jsonl(tmp_path / "t.jsonl", [{"id": key, "text": text} for key, text in texts.items()])

    describer = FileDescriber(tmp_path / "t.jsonl")
    run(images, bundle, tmp_path / "out", describer=describer)
    path = tmp_path / "out" / "describe.jsonl"
    rows = {row["id"]: row for row in read_jsonl(path)}
    assert rows["tree/4.png"]["full_text"] == "tree " * 99 + "tree"
    assert 0 < len(rows["tree/4.png"]["text"]) < 400
    assert "full_text" not in rows["cat/4.png"]
    notices = [row for row in read_jsonl(tmp_path / "out/events.jsonl") if "message" in row]
    assert any("1 of 6 descriptions shortened" in row["message"] for row in notices)

    rows["cat/4.png"]["text"] = "tree " * 100
    write_jsonl(path, rows.values())
    with pytest.raises(InputError, match=r"tree tree.*tokens"):
        run(images, bundle, tmp_path / "out", describer=describer)


def test_a_class_name_too_long_is_refused_before_anything_is_painted(bundle, tmp_path):
    images = make_pictures(tmp_path / "images", classes=("cat", "q" * 200), count=2)
    with pytest.raises(InputError, match="longer than the text tower of the encoder takes"):
        run(images, bundle, tmp_path / "out")
    assert not (tmp_path / "out" / "describe.jsonl").exists()


# Small parts


@given(st.integers(0, 2**32), st.text(max_size=20))
def test_image_seeds_fit_a_torch_generator_and_depend_on_both(seed, image_id):
    own = image_seed(seed, image_id)
    torch.Generator().manual_seed(own)
    assert own != image_seed(seed + 1, image_id)
    assert own != image_seed(seed, image_id + "x")


@given(st.lists(st.integers(0, 10**6), unique=True).map(sorted), st.integers(1, 30))
def test_evenly_spaced_members_are_distinct_and_span_the_list(members, count):
    taken = evenly(members, count)
    assert len(set(taken)) == len(taken) == min(count, len(members))
    assert set(taken) <= set(members)
    assert taken == sorted(taken)
    assert not members or taken[0] == members[0]


def test_the_threshold_comes_from_images_not_tuned_on_where_there_are_enough(bundle, tmp_path):
    images = make_pictures(tmp_path / "images", count=12)
    run(images, bundle, tmp_path / "out", "calibration.per_class=7")
    uses = [set(row["uses"]) for row in read_jsonl(tmp_path / "out" / "select.jsonl")]
    assert uses.count({"tune"}) == 6
    assert uses.count({"calibrate"}) == 21
    detector = OODDetector.from_pretrained(tmp_path / "out" / "detector")
    assert detector.calibration.images == 21


def test_a_text_is_cut_only_where_the_recipe_says_so():
    whole = inpainting_prompt("bamboo, {grass}", DescribeSettings())
    cut = inpainting_prompt("bamboo, grass", RECIPES["released"].describe)
    assert whole == "A photo only remain bamboo, {grass}."
    assert cut == "A photo only remain bamboo, grass."
    assert inpainting_prompt("x" * 99, RECIPES["released"].describe).count("x") == 73


def test_features_follow_the_content_not_the_name(tmp_path):
    encoder = ColourEncoder()
    store = FeatureStore(tmp_path / "features", "print", lambda: encoder)
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        picture(colour).save(tmp_path / name)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    files = [ImageFile(path, sha256_file(path)) for path in paths]
    features = store.images(files)
    np.testing.assert_array_equal(
        features, encoder.encode_images([picture("red"), picture("blue")])
    )

    renamed = [
        ImageFile(file.path.rename(tmp_path / f"new-{file.path.name}"), file.sha256)
        for file in files
    ]
    nobody = FeatureStore(tmp_path / "features", "print", lambda: pytest.fail("encoded again"))
    np.testing.assert_array_equal(nobody.images(renamed), features)

    other = FeatureStore(tmp_path / "features", "other print", lambda: encoder)
    other.images(renamed)
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_features_that_are_no_numbers_are_refused(tmp_path):
    class Broken(ColourEncoder):
        def encode_texts(self, texts, batch_size=256):
            return super().encode_texts(texts) * np.nan

    store = FeatureStore(tmp_path, "print", Broken)
    with pytest.raises(InputError, match="not finite"):
        store.texts([("a cat",)], lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_replacing_directory_keeps_the_old_one_when_the_new_one_fails(tmp_path):
    place = tmp_path / "place"
    with replacing_directory(place) as part:
        (part / "a").write_text("old")

    with pytest.raises(ZeroDivisionError), replacing_directory(place) as part:
        (part / "a").write_text(f"new {1 / 0}")

    assert (place / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]

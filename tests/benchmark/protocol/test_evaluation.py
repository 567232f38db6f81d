"""The whole job on a benchmark by name, through the command line: fit, then the table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from made_up import NAMES, OOD, WNIDS, write_imagenet, write_mos, write_openood
from small_run import QUICK
from small_suite import CLASSES, tiny_bundle, write_small_suite
from synood import OODDetector, ood_metrics
from synood.benchmark.protocol.evaluation import check_classes, contenders, untuned
from synood.benchmark.results.published import published, published_cell
from synood.benchmark.results.results import read_results
from synood.benchmark.results.tables import Column
from synood.benchmark.suites.suite import read_suite
from synood.cli.app import main
from synood.errors import InputError
from synood.features.extractor import ImageFile, encode_files
from synood.files import sha256_file
from synood.images.decoding import read_image
from synood.images.presets import PREPROCESS, reading_of
from synood.images.reading import PLAIN
from synood.images.sources import find_images
from synood.models.bundles import load_bundle
from synood.models.presets import adapted_preset

QUICKLY = ("--batch-size", "4", "--set", *QUICK)
ROWS = [
    (m, s) for m in ("neglabel", "synood") for s in ("iNaturalist", "SUN", "Places", "Textures")
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("models") / "bundle")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    write_imagenet(place / "ImageNet")
    write_mos(place)
    return place


@pytest.fixture(scope="module")
def run(bundle, root, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert command("fit", "--models", bundle, "--recipe", "paper", "--benchmark", "imagenet-4",
                   "--root", root, "--out", out, *QUICKLY) == 0  # fmt: skip
    return out


@pytest.fixture(scope="module")
def zero_shot(bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("zero") / "detector"
    detector = OODDetector.from_classes(NAMES, models=bundle, share=0.9)
    detector.save_pretrained(out)
    return out


def command(*arguments):
    return main([str(argument) for argument in arguments])


def test_fit_takes_the_training_images_and_tells_equal_names_apart(run):
    detector = OODDetector.from_pretrained(run / "detector")
    assert detector.class_names == NAMES
    assert np.array_equal(detector.class_features[1], detector.class_features[2])  # one prompt
    assert not np.array_equal(detector.class_features[0], detector.class_features[1])
    rows = [json.loads(line) for line in (run / "select.jsonl").read_text().splitlines()]
    assert {row["label"] for row in rows} == set(NAMES)
    assert {row["id"].split("/")[0] for row in rows} == set(WNIDS)


def test_evaluate_prints_the_paper_s_table_with_published_figures_apart(run, root, capsys):
    assert command("evaluate", run / "detector", "--benchmark", "imagenet-4", "--root", root) == 0
    text = capsys.readouterr().out
    results = read_results(run / "results-imagenet-4.json")
    assert [(row.method, row.ood_set) for row in results.rows] == ROWS
    assert {row.group for row in results.rows} == {"far"}
    assert [row.n_ood for row in results.rows[:4]] == [OOD, OOD, OOD, 2 * OOD]
    assert {row["method"] for row in results.published} == {"neglabel", "synood"}
    assert all(row["source"] for row in results.published)
    assert "note: iNaturalist: 5 images, the owners' set has 10,000" in text
    assert any("owners' set has 10,000" in remark for remark in results.run["remarks"])
    lines = [line.split() for line in text.splitlines()]
    fpr95 = lines[next(i for i, line in enumerate(lines) if line[:1] == ["FPR95,"]) :]
    assert ["NegLabel,", "published", "25.40", "1.91", "20.53", "35.59", "43.56"] in fpr95
    assert ["SynOOD,", "published", "14.27", "1.57", "20.46", "-", "-"] in fpr95
    assert ["SynOOD,", "published", "97.01", "-", "-", "-", "-"] in lines
    assert "Published figures, of CLIP ViT-B/16, not measured here:" in text


def test_neglabel_s_row_is_that_of_a_detector_that_was_never_tuned(run, root, bundle):
    """The oracle is the zero-shot path, which shares no file with the run."""
    tuned = OODDetector.from_pretrained(run / "detector")
    recipe = load_bundle(bundle).recipe_defaults["mining.prompt_set"]
    never = OODDetector.from_classes(
        NAMES, models=bundle, share=0.5, prompt_set=recipe, settings=tuned.settings
    )
    assert never.negative_prompts == tuned.negative_prompts
    np.testing.assert_allclose(untuned(tuned).negative_features, never.negative_features, atol=1e-6)
    assert command("evaluate", run / "detector", "--benchmark", "imagenet-4", "--root", root) == 0
    rows = read_results(run / "results-imagenet-4.json").rows
    for detector, method in ((never, "neglabel"), (tuned, "synood")):
        inside = detector.score(root / "ImageNet/val")
        outside = detector.score(root / "dtd/images")
        (row,) = [r for r in rows if (r.method, r.ood_set) == (method, "Textures")]
        assert row.auroc == pytest.approx(ood_metrics(inside, outside).auroc, abs=1e-6)


def test_a_second_evaluation_reads_the_features_and_says_the_same(run, root, capsys, monkeypatch):
    arguments = ("evaluate", run / "detector", "--benchmark", "imagenet-4", "--root", root)
    assert command(*arguments) == 0
    first = (run / "results-imagenet-4.json").read_bytes()

    def refuse(*_, **__):
        raise AssertionError("an image was encoded again")

    monkeypatch.setattr("synood.models.clip.ClipEncoder.encode_images", refuse)
    assert command(*arguments) == 0
    assert (run / "results-imagenet-4.json").read_bytes() == first


def test_a_zero_shot_detector_is_neglabel_alone(zero_shot, root, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert command("evaluate", zero_shot, "--benchmark", "imagenet-4", "--root", root,
                   "--out", out) == 0  # fmt: skip
    assert {row.method for row in read_results(out).rows} == {"neglabel"}
    assert "SynOOD" not in capsys.readouterr().out
    assert [method.name for method, _ in contenders(OODDetector.from_pretrained(zero_shot))] == [
        "neglabel"
    ]


def test_openood_has_near_and_far_averages_and_both_fpr95(zero_shot, tmp_path, capsys):
    write_openood(tmp_path)
    out = tmp_path / "results.json"
    assert command("evaluate", zero_shot, "--benchmark", "openood", "--root", tmp_path,
                   "--out", out) == 0  # fmt: skip
    rows = read_results(out).rows
    assert [(row.ood_set, row.group) for row in rows] == [
        ("SSB-hard", "near"), ("NINCO", "near"),
        ("iNaturalist", "far"), ("Textures", "far"), ("OpenImage-O", "far"),
    ]  # fmt: skip
    text = capsys.readouterr().out
    assert "SSB-hard" in text
    assert "OpenImage-O" in text
    openoods = text[text.index("FPR95 with OOD positive, % of in-distribution rejected") :]
    assert "68.34" in openoods  # NegLabel's average over the near sets, in OpenOOD's convention
    before = text[: text.index("FPR95 with OOD positive, % of in-distribution rejected")]
    assert "68.34" not in before


def test_the_mini_suite_goes_the_same_way(bundle, tmp_path, capsys):
    suite, out = tmp_path / "suite", tmp_path / "run"
    write_small_suite(suite, split="hard")
    assert command("fit", "--models", bundle, "--benchmark", "mini", "--root", suite,
                   "--out", out, *QUICKLY) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert f"next: synood evaluate {out}/detector --benchmark mini --root {suite}\n" in told
    assert command("evaluate", out / "detector", "--benchmark", "mini", "--root", suite) == 0
    results = read_results(out / "results-mini.json")
    assert [row.ood_set for row in results.rows[:3]] == ["near-made", "symbols", "faces"]
    assert results.published == ()
    assert results.run["remarks"] == []
    assert OODDetector.from_pretrained(out / "detector").class_names == tuple(CLASSES)


def test_a_missing_set_stops_an_evaluation_before_anything_is_encoded(
    zero_shot, root, tmp_path, capsys
):
    shutil.copytree(root, tmp_path / "part")
    shutil.rmtree(tmp_path / "part/Places")
    assert command("evaluate", zero_shot, "--benchmark", "imagenet-4",
                   "--root", tmp_path / "part") == 2  # fmt: skip
    assert "Places/images: missing, the images of 'Places'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["evaluate", "d"], "give in-distribution images"),
        (["evaluate", "d", "--root", "x"], "--root needs --benchmark"),
        (["evaluate", "d", "--benchmark", "clean", "--id", "x"], "either --benchmark, or --id"),
        (["fit", "--out", "o"], "a folder of images or --benchmark"),
        (["fit", "x", "--benchmark", "clean", "--out", "o"], "either a folder of images"),
        (["zero-shot", "--out", "o"], "class names: give either a file"),
        (["zero-shot", "--out", "o", "--benchmark", "imagnet"], "benchmark 'imagnet' is unknown"),
    ],
)
def test_contradictions_are_refused(arguments, complaint, capsys):
    assert command(*arguments) == 2
    assert complaint in capsys.readouterr().err


def test_a_thousand_names_need_no_image(bundle, tmp_path):
    out = tmp_path / "detector"
    assert command("zero-shot", "--benchmark", "imagenet-4", "--names", "synood", "--models",
                   bundle, "--share", "0.9", "--out", out) == 0  # fmt: skip
    detector = OODDetector.from_pretrained(out)
    assert len(detector.class_names) == 1000
    assert detector.class_names[7] == "cock"


# Preprocessing


def test_a_preset_is_kept_with_the_detector_and_another_one_is_told(bundle, root, tmp_path, capsys):
    out = tmp_path / "detector"
    assert command("zero-shot", "--benchmark", "imagenet-4", "--models", bundle, "--share", "0.9",
                   "--preprocess", "neglabel", "--out", out) == 0  # fmt: skip
    made = OODDetector.from_pretrained(out)
    assert made.backbone.preprocess == "neglabel"
    assert made.backbone.load().preprocess.interpolation == "bilinear"

    results = tmp_path / "results.json"
    evaluate = ("evaluate", out, "--benchmark", "imagenet-4", "--root", root, "--out", results)
    assert command(*evaluate) == 0
    assert "scored with" not in capsys.readouterr().out
    as_made = read_results(results)
    assert command(*evaluate, "--preprocess", "openood") == 2  # not over the other results
    assert "exists already" in capsys.readouterr().err
    assert read_results(results) == as_made
    assert command(*evaluate, "--preprocess", "openood", "--overwrite") == 0
    told = "the detector was made with preprocessing 'neglabel' and is scored with 'openood'"
    assert f"note: {told}\n" in capsys.readouterr().out
    other = read_results(results)
    assert told in other.run["remarks"]
    assert other.run["models"]["preprocess"] == "openood"
    assert as_made.run["models"]["preprocess"] == "neglabel"
    assert as_made.run["models"]["encoder"] != other.run["models"]["encoder"]


@pytest.fixture
def odd_files(tmp_path):
    """A picture that EXIF turns, and one that is half transparent."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    turned = Image.fromarray(pixels[:, :, :3])
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    return [tmp_path / "turned.png", tmp_path / "clear.png"]


def test_presets_read_files_as_the_peers_do_and_upright_ones_as_people_do(bundle, odd_files):
    for name, plain in (("openood", True), ("openood-upright", False)):
        chosen = load_bundle(f"{bundle}+encoder.preprocess={name}")
        encoder = chosen.encoder()
        assert reading_of(encoder).plain is plain
        read = [
            Image.open(path).convert("RGB") if plain else read_image(path) for path in odd_files
        ]
        expected = encoder.encode_images(read)
        detector = OODDetector.from_classes(["cat", "dog"], models=chosen)
        assert reading_of(detector.backbone.load()).plain is plain
        opened = [Image.open(path) for path in odd_files]
        for images in (odd_files, opened):
            np.testing.assert_allclose(detector.embed(images), expected, atol=1e-5)
        files = [ImageFile(path, sha256_file(path)) for path in odd_files]
        np.testing.assert_allclose(encode_files(encoder, files), expected, atol=1e-5)
    differ = [np.asarray(read_image(path)).tobytes() for path in odd_files]
    plainly = [np.asarray(read_image(path, reading=PLAIN)).tobytes() for path in odd_files]
    assert all(one != other for one, other in zip(differ, plainly, strict=True))


def test_a_detector_made_when_presets_read_upright_goes_on_to_do_so(bundle, odd_files, tmp_path):
    upright = load_bundle(f"{bundle}+encoder.preprocess=openood-upright")
    made = OODDetector.from_classes(["cat", "dog"], models=upright)
    made.save_pretrained(tmp_path / "detector")
    config = tmp_path / "detector" / "config.json"
    config.write_text(config.read_text().replace("openood-upright", "openood"))
    again = OODDetector.from_pretrained(tmp_path / "detector")
    assert again.backbone.preprocess == "openood"
    assert reading_of(again.backbone.load()).plain is False
    np.testing.assert_array_equal(again.embed(odd_files), made.embed(odd_files))


def test_a_preset_changes_what_the_encoder_sees_and_nothing_else(bundle):
    own = load_bundle(bundle).encoder()
    preset = load_bundle(f"{bundle}+encoder.preprocess=openood").encoder()
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    assert not np.allclose(own.encode_images([image]), preset.encode_images([image]))
    assert np.array_equal(own.encode_texts(["a cat"]), preset.encode_texts(["a cat"]))
    steps = preset.preprocess
    assert (steps.size, steps.resize) == (32, round(256 / 224 * 32))
    assert (steps.mean, steps.std) == (own.preprocess.mean, own.preprocess.std)
    again = load_bundle(f"{bundle}+encoder.preprocess=openood").encoder()
    assert preset.fingerprint == again.fingerprint != own.fingerprint


def test_a_preset_of_its_own_size_is_the_preset_itself():
    clip = PREPROCESS["clip"]
    for preset in PREPROCESS.values():
        assert replace(adapted_preset(preset, clip), name="") == replace(preset, name="")


def test_an_unknown_preset_is_refused(bundle):
    with pytest.raises(Exception, match="'blurred' is unknown; use one of exact, fast, clip"):
        load_bundle(f"{bundle}+encoder.preprocess=blurred").encoder()


# Published figures


def test_published_averages_are_those_of_their_sets():
    """NegLabel's printed average is the mean of its four printed sets."""
    rows = published("imagenet-4", ["neglabel"])
    sets = ("iNaturalist", "SUN", "Places", "Textures")
    average = Column("average:all", "average", "all", sets)
    alone = Column("average:far", "far avg.", "far", sets)
    for metric, printed in (("auroc", 0.9421), ("fpr95", 0.2540)):
        assert published_cell(rows, "neglabel", average, metric) == printed
        assert published_cell(rows, "neglabel", alone, metric) == pytest.approx(printed, abs=6e-5)


def test_every_published_row_belongs_to_a_known_set():
    from synood.benchmark.suites.catalog import BENCHMARKS

    for name in ("imagenet-4", "openood", "clean", "imagenet-near"):
        sets = {known.name for known in BENCHMARKS[name].sets if known.group != "id"}
        for row in published(name):
            assert row.ood_set in sets | {"average:all", "average:near", "average:far"}
            assert row.source
            figures = [f for f in (row.auroc, row.fpr95) if f is not None]
            assert figures
            assert all(0 < figure < 1 for figure in figures)
    assert not published("mini")


def test_the_images_of_a_benchmark_are_those_on_disk(root):
    assert len(find_images([root / "dtd/images"]).records) == 2 * OOD


def test_a_detector_of_other_classes_is_refused_with_the_fix(bundle, root, tmp_path, capsys):
    small = tmp_path / "suite"
    write_small_suite(small)
    fruit = OODDetector.from_classes(["apple", "pear"], models=bundle, share=0.9)
    fruit.save_pretrained(tmp_path / "fruit")
    for where, name in ((small, "mini-main"), (root, "imagenet-4")):
        assert command("evaluate", tmp_path / "fruit", "--benchmark", name, "--root", where) == 2
        complaint = capsys.readouterr().err
        assert "has 2 other classes than the" in complaint
        assert "synood zero-shot --benchmark" in complaint


def test_classes_are_compared_without_regard_to_order_case_and_spelling_of_spaces(bundle, tmp_path):
    write_small_suite(tmp_path / "suite")
    suite = read_suite(tmp_path / "suite")
    known = suite.one("train").index().class_names
    shuffled = [name.upper().replace(" ", "_") for name in reversed(known)]
    check_classes(OODDetector.from_classes(shuffled, models=bundle, share=0.9), suite)
    more = OODDetector.from_classes([*known, "zebra"], models=bundle, share=0.9)
    with pytest.raises(InputError, match="'zebra' is none of the benchmark's"):
        check_classes(more, suite)


@pytest.mark.parametrize("run_beside", [True, False])
def test_unreadable_images_are_skipped_and_listed_up_to_a_limit(
    bundle, tmp_path, capsys, monkeypatch, run_beside
):
    place, out = tmp_path / "suite", tmp_path / "results.json"
    write_small_suite(place)
    names = read_suite(place).one("train").index().class_names
    OODDetector.from_classes(names, models=bundle, share=0.9).save_pretrained(tmp_path / "run/d")
    if run_beside:
        (tmp_path / "run/run.toml").write_text("")
    damaged = place / "test/far/faces/0003.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    call = ["evaluate", tmp_path / "run/d", "--benchmark", "mini-main", "--root", place]
    call += ["--out", out, "--overwrite"]
    assert command(*call) == 0
    told = capsys.readouterr()
    assert "faces: 1 unreadable image" in told.err
    results = read_results(out)
    (reason,) = results.run["unreadable"]["faces"]
    assert "0003.png" in reason
    counts = {row.ood_set: row.n_ood for row in results.rows}
    assert counts == {"near-made": 10, "symbols": 10, "faces": 9}
    assert command(*call, "--max-bad", "0") == 2
    assert "faces: 1 of 10 images cannot be read" in capsys.readouterr().err
    for path in sorted((place / "test/far/faces").iterdir()):
        path.write_bytes(b"GIF89a")
    assert command(*call) == 2
    assert "faces: 10 of 10 images cannot be read" in capsys.readouterr().err

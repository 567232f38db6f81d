"""Every way in for a file from outside: a valid example, and the code that reads it.

The promise of a door is the same for all: whatever the bytes are, it either opens or raises an
`InputError` of one line. The fast tests push hypothesis' bytes through it, `python -m fuzzing`
those of atheris, for as long as one likes.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from safetensors.numpy import save

from colours import ColourEncoder, picture
from synood import OODDetector
from synood.benchmark.protocol.outside_scores import OutsideScores
from synood.benchmark.report.page import load_report
from synood.benchmark.report.report import render
from synood.benchmark.results.results import Results, make_row, read_results, write_results
from synood.benchmark.suites.suite import read_suite
from synood.detector.backbone import Backbone
from synood.errors import InputError
from synood.files import sha256_bytes, sha256_file
from synood.images.decoding import image_size, read_image
from synood.images.imglist import read_imglist
from synood.images.listing import listed_images
from synood.images.sources import read_class_names
from synood.labels.lists import label_line, read_labels
from synood.labels.wordnet import read_wordnet
from synood.models.bundles import load_bundle
from synood.models.describer import FileDescriber
from synood.pipeline.recipe import RECIPES, read_recipe, recipe_to_toml
from synood.pipeline.rundir.shards import SynthesisRequest, read_synthetic, write_shard
from synood.settings import ScoreSettings
from synood.synthesis.guidance import Rendered
from synood.tuning.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")


@dataclass(frozen=True)
class Door:
    """`make` writes valid files into a folder; `enter` reads them; `target` is the one to damage.

    `mend` does what a careful forger does after the damage: it puts the hashes right again.
    """

    name: str
    target: str
    make: Callable[[Path], None]
    enter: Callable[[Path], object]
    mend: Callable[[Path], None] = lambda folder: None


def push(door: Door, folder: Path, data: bytes) -> str:
    """Put `data` in the place of the target and enter: "" if it opened, else what it said."""
    (folder / door.target).write_bytes(data)
    door.mend(folder)
    try:
        door.enter(folder)
    except InputError as error:
        message = str(error)
        assert message, "an error that says nothing"
        assert "\n" not in message, f"more than one line: {message!r}"
        return message
    return ""


def doors() -> dict[str, Door]:
    """Return all doors by name."""
    found = [*_detector_doors(), *_text_doors(), *_run_doors(), *_image_doors()]
    return {door.name: door for door in found}


def _detector_doors() -> list[Door]:
    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        encoder = ColourEncoder()
        negatives = ("the nice blue", "the nice cyan")
        detector = OODDetector(
            encoder=Backbone("colours", encoder.fingerprint, encoder=encoder),
            class_names=("red", "grün"),
            prompt_set="neglabel",
            class_features=_unit(encoder.encode_texts(["red", "green"])),
            negative_prompts=negatives,
            negative_features=_unit(encoder.encode_texts(negatives)),
            settings=ScoreSettings(temperature=0.5, groups=2, seed=7),
            tuned_rows=(0,),
            projection=Projection(
                *[rng.normal(size=size).astype(np.float32) for size in [(4, 4), 4, 4, 4]]
            ),
        )
        detector.calibrate([0.4, 0.5, 0.6], tpr=0.7).save_pretrained(folder / "detector")

    def enter(folder: Path) -> object:
        detector = OODDetector.from_pretrained(folder / "detector")
        features = ColourEncoder().encode_images([picture("red")])
        return detector.score_features(features)

    names = ("config.json", "model.safetensors", "negatives.txt", "README.md")
    return [
        Door(
            f"detector {name}",
            f"detector/{name}",
            make,
            enter,
            _rehash if name != "config.json" else lambda folder: None,
        )
        for name in names
    ]


def _rehash(folder: Path) -> None:
    path = folder / "detector" / "config.json"
    config = json.loads(path.read_text())
    config["files"] = {name: sha256_file(path.parent / name) for name in config["files"]}
    path.write_text(json.dumps(config))


def _text_doors() -> list[Door]:
    names = ["cat", "dog", "tea pot"]
    wordnet = (
        "  1 This database is licensed.\n"
        "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which exists\n"
        "00001930 03 n 02 physical_entity 0 thing 0 001 @ 00001740 n 0000 | it exists too\n"
    )
    suite = {
        "schema": 1,
        "name": "s",
        "seed": 0,
        "split": "main",
        "sets": [
            {"name": "t", "group": "id", "role": "train", "path": "t", "n": 1},
            {"name": "v", "group": "id", "role": "validation", "path": "t", "n": 1},
            {"name": "i", "group": "id", "role": "test", "path": "t", "n": 1},
            {"name": "f", "group": "far", "role": "validation", "path": "t", "n": 1},
            {"name": "n", "group": "near", "role": "test", "path": "t", "n": 1},
        ],
    }
    bundle = {
        "schema": 1,
        "name": "b",
        "encoder": {"type": "clip", "path": "e"},
        "describer": {"type": "tagger", "vocabulary": "v.txt", "tags": 2},
        "words": "w.txt",
        "recipe": {"select": {"per_class": 3}},
        "files": {"w.txt": sha256_bytes(b"rope\n")},
    }
    answers = [{"id": "panda/1.jpg", "text": "bamboo"}, {"id": "panda/2.jpg", "text": "a tree"}]
    return [
        _text("imglist", "list.txt", "a/b c.jpg 0\nd.jpg 12\nnope.png -1\n", _enter_imglist),
        _text("class names json", "n.json", json.dumps(names), _classes),
        _text("class names object", "n.json", json.dumps(dict.fromkeys(names, "x")), _classes),
        _text("class names txt", "n.txt", "cat\ndog\n", _classes),
        _text("answers", "a.jsonl", _jsonl(answers), lambda path: FileDescriber(path)),
        _text("recipe", "r.toml", recipe_to_toml(RECIPES["paper"]), read_recipe),
        _text("suite", "suite.json", json.dumps(suite), _enter_suite),
        _text("bundle", "bundle.json", json.dumps(bundle), _enter_bundle),
        _text("wordnet", "data.noun", wordnet, _enter_wordnet),
        _text("negatives", "negatives.txt", "the nice rope\nstone\n", _enter_negatives),
        Door("results", "results.json", _make_results, lambda f: read_results(f / "results.json")),
        Door(
            "evaluation",
            "evaluation.json",
            _make_evaluation,
            lambda folder: render(load_report(folder / "evaluation.json")),
        ),
        _text("list of images", "list.txt", "t/1.png\nnowhere.png\n\n../x.jpg\n", _enter_list),
        _text("scores csv", "s.csv", "path,score\na.png,0.5\nb.png,-1e3\n", _enter_scores),
        _text("scores jsonl", "s.jsonl", '{"path": "a.png", "score": 0.5}\n', _enter_scores),
    ]


def _text(name: str, target: str, text: str, enter: Callable[[Path], object]) -> Door:
    def make(folder: Path) -> None:
        (folder / target).write_text(text, encoding="utf-8")

    return Door(name, target, make, lambda folder: enter(folder / target))


def _enter_imglist(path: Path) -> object:
    records = read_imglist(path, path.parent / "root").records
    root = (path.parent / "root").resolve()
    for record in records[:50]:
        place = Path(str(record.path))
        assert not place.is_absolute() or place.is_relative_to(path.parent / "root")
        assert ".." not in place.relative_to(path.parent / "root").parts, root
    return records


def _classes(path: Path) -> object:
    return read_class_names(path)


def _enter_suite(path: Path) -> object:
    (path.parent / "t").mkdir(exist_ok=True)
    suite = read_suite(path.parent)
    for item in suite.sets:
        assert item.path.resolve().is_relative_to(path.parent.resolve())
    return suite


def _enter_bundle(path: Path) -> object:
    (path.parent / "w.txt").write_text("rope\n")
    bundle = load_bundle(path.parent)
    return bundle.words(), bundle.recipe_defaults, bundle.fingerprint, bundle.prompt_set


def _enter_wordnet(path: Path) -> object:
    (path.parent / "data.adj").write_bytes(path.read_bytes())
    return read_wordnet(path.parent)


def _enter_negatives(path: Path) -> object:
    found = read_labels(path)
    return found.without(["cat"]), found.id, [label_line(w, w.text) for w in found.words]


def _make_results(folder: Path) -> None:
    rng = np.random.default_rng(0)
    row = make_row("m", "inductive", "s", "near", 0, rng.random(9), rng.random(8), resamples=20)
    write_results(folder / "results.json", Results({"recipe": "paper"}, (row,)))


def _make_evaluation(folder: Path) -> None:
    """Write what `evaluate` writes of two sets, with a mistake, a painting and a comparison."""
    rng = np.random.default_rng(0)
    sides = {"in-distribution": rng.normal(1, 1, 9), "s": rng.normal(0, 1, 8)}
    rows = [
        make_row(name, "inductive", "s", "near", 0, *sides.values(), resamples=20)
        for name in ("synood", "mcm")
    ]
    small = base64.b64encode(image_bytes("PNG")).decode()
    mistake = {
        **{"thumbnail": small, "image": "1.png", "score": 0.5, "nearest_class": "cat"},
        **{"nearest_negative": "a rope", "wrong": True, "label": None, "p_value": 0.25},
    }
    painting = {
        **{"source": small, "synthetic": small, "class": "cat", "prompt": "a", "stop": "rounds"},
        **{"negative_label": "a rope", "energy_before": -9.0, "energies": [-8.5, -7.0]},
    }
    gain = {"method": "synood", "other": "mcm", "column": "average:all", "gain": 0.1}
    point = {"method": "synood", "threshold": 0.5, "low": 0.4, "high": 0.9, "fraction": 0.7}
    run = {
        "detector": {"recipe": "plus", "class_names": ["cat"]},
        "models": {"bundle": "mini"},
        "sets": {name: {"images": len(values)} for name, values in sides.items()},
        **{"method": "synood", "threshold": 0.5, "labels": {"right": 3, "images": 9}},
        "calibration": {"images": 20, "tpr_wanted": 0.95},
        "operating_points": [
            {**point, "set": name, "group": "id", "count": 5, "images": 8} for name in sides
        ],
        "comparisons": [
            {**gain, "metric": metric, "low": -0.1, "high": 0.3} for metric in ("auroc", "fpr95")
        ],
        "scored": [
            {"set": name, "group": "near", "scores": {"synood": values.tolist()}}
            for name, values in sides.items()
        ],
        "mistakes": [{"set": "s", "group": "near", "count": 1, "total": 8, "shown": [mistake]}],
        "paintings": [painting],
    }
    write_results(folder / "evaluation.json", Results(run, tuple(rows)))


def _enter_list(path: Path) -> object:
    return [record.id for record in listed_images([path]).records]


def _enter_scores(path: Path) -> object:
    return OutsideScores.read(path)


def _run_doors() -> list[Door]:
    def make(folder: Path) -> None:
        order = SynthesisRequest(
            "cat/1.png", folder / "no.png", "0" * 64, "a tree", 7, "0123456789abcdef"
        )
        image = np.zeros((8, 8, 3), np.uint8)
        write_shard(
            folder / "synthesize", [order], [Rendered(image, (0.5,), (1.0,), 2.0, "rounds")]
        )
        shard = next((folder / "synthesize").iterdir())
        shard.rename(folder / "synthesize" / "shard")
        features = {"features": np.ones((2, 4), np.float32)}
        (folder / "block.safetensors").write_bytes(save(features))

    def block(folder: Path) -> object:
        from synood.features.store import _read

        return _read(folder / "block.safetensors")

    return [
        Door(
            "shard rows",
            "synthesize/shard/rows.jsonl",
            make,
            lambda folder: read_synthetic(folder / "synthesize"),
        ),
        Door("feature block", "block.safetensors", make, block),
    ]


def _image_doors() -> list[Door]:
    def enter(folder: Path) -> object:
        path = folder / "image"
        size: tuple[int, ...] = ()
        with contextlib.suppress(InputError):
            size = image_size(path)
        image = read_image(path)
        assert image.mode == "RGB"
        assert sorted(image.size) == sorted(size)
        return image

    def maker(kind: str) -> Callable[[Path], None]:
        def make(folder: Path) -> None:
            (folder / "image").write_bytes(image_bytes(kind))

        return make

    return [Door(f"image {kind}", "image", maker(kind), enter) for kind in KINDS]


def image_bytes(kind: str) -> bytes:
    """Return a small noisy picture in a format of Pillow's."""
    noise = np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, kind)
    return data.getvalue()


def _jsonl(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)

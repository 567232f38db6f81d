"""What a hostile file must not achieve: run code, read outside its folder, eat all memory.

Each test builds the attack for real; a child process with little memory takes the greedy ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from bundling import tiny_bundle
from fuzzing.doors import doors
from synood.errors import InputError
from synood.images.decoding import read_image
from synood.images.imglist import read_imglist
from synood.models.bundles import load_bundle
from synood.pipeline.rundir.shards import read_synthetic

ROOM = 1 << 30  # bytes of data a child may hold: enough for numpy and Pillow, not for a bomb
CHILD = """
import json, resource, sys
from pathlib import Path
from synood import OODDetector
from synood.benchmark.results.results import read_results
from synood.errors import InputError
from synood.images.decoding import read_image
from synood.images.imglist import read_imglist
from synood.images.sources import read_class_names
from synood.labels.lists import read_labels
from synood.models.bundles import load_bundle
from synood.models.describer import FileDescriber
from synood.pipeline.recipe import read_recipe

resource.setrlimit(resource.RLIMIT_DATA, (ROOM, ROOM))
for call in CALLS:
    try:
        eval(call)
    except InputError as error:
        print(json.dumps(f"refused: {error}"))
    else:
        print(json.dumps("opened"))
"""


def in_little_memory(folder: Path, *calls: str) -> list[str]:
    """What each call in a child process says; one that eats more than ROOM kills the test."""
    code = CHILD.replace("ROOM", str(ROOM)).replace("CALLS", repr(calls))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def sparse(path: Path, size: int = 1 << 40) -> None:
    """A terabyte that takes no room on the disk."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(size)


@pytest.fixture
def detector(tmp_path):
    doors()["detector config.json"].make(tmp_path)
    return tmp_path / "detector"


def test_a_detector_with_a_file_of_a_terabyte_is_refused_before_it_is_read(detector, tmp_path):
    names = ["config.json", "model.safetensors", "negatives.txt"]
    for name in names:
        shutil.copytree(detector, tmp_path / name)
        sparse(tmp_path / name / name)
    calls = [f"OODDetector.from_pretrained(Path({name!r}))" for name in names]
    for name, said in zip(names, in_little_memory(tmp_path, *calls), strict=True):
        assert said.startswith(f"refused: {name}/{name}: 1,099,511,627,776 bytes"), said


def test_a_text_file_of_a_terabyte_is_refused_before_it_is_read(tmp_path):
    calls = {
        "read_imglist(Path('list'), Path())": "list",
        "read_class_names(Path('names.txt'))": "names.txt",
        "read_class_names(Path('names.json'))": "names.json",
        "FileDescriber(Path('answers.jsonl'))": "answers.jsonl",
        "read_results(Path('results.json'))": "results.json",
        "read_recipe(Path('recipe.toml'))": "recipe.toml",
        "load_bundle(Path())": "bundle.json",
        "read_labels(Path('words.txt'))": "words.txt",
    }
    for name in calls.values():
        sparse(tmp_path / name)
    for name, said in zip(calls.values(), in_little_memory(tmp_path, *calls), strict=True):
        assert said.startswith(f"refused: {name}: 1,099,511,627,776 bytes"), said


def test_tensors_that_claim_more_than_there_is_are_refused(detector, tmp_path):
    data = (detector / "model.safetensors").read_bytes()
    lengths = (2**63 - 1, 2**40, len(data))
    for number, length in enumerate(lengths):
        room = tmp_path / str(number)
        shutil.copytree(detector, room / "detector")
        (room / "detector" / "model.safetensors").write_bytes(struct.pack("<Q", length) + data[8:])
        doors()["detector model.safetensors"].mend(room)
    calls = [f"OODDetector.from_pretrained(Path('{n}/detector'))" for n in range(len(lengths))]
    for said in in_little_memory(tmp_path, *calls):
        assert "model.safetensors: not a safetensors file" in said


def test_a_config_that_claims_giant_arrays_is_refused_before_they_are_made(detector, tmp_path):
    config = json.loads((detector / "config.json").read_text())
    config.update(dim=2**40, negatives=2**50)
    (detector / "config.json").write_text(json.dumps(config))
    (said,) = in_little_memory(tmp_path, "OODDetector.from_pretrained(Path('detector'))")
    assert said.startswith("refused:")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """A picture whose header says more than its rows hold."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + header + extra + rows + chunk(b"IEND", b"")


def test_images_that_unpack_to_gigabytes_are_refused_and_texts_are_left_out(tmp_path):
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(b"\0" * (1 << 24)) for _ in range(128)) + packer.flush()
    (tmp_path / "bomb.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    (tmp_path / "large.png").write_bytes(png(60_000, 60_000))
    (tmp_path / "chatty.png").write_bytes(png(4, 4, chunk(b"zTXt", b"Comment\0\0" + text)))
    names = ["bomb.png", "large.png", "chatty.png"]
    calls = [f"read_image(Path({name!r}))" for name in names]
    bomb, large, chatty = in_little_memory(tmp_path, *calls)
    assert bomb.startswith("refused: bomb.png"), bomb
    assert large.startswith("refused: large.png"), large
    assert chatty == "opened"  # without its text, which is never unpacked


@pytest.mark.parametrize(
    "line",
    ["../secret.png 0", "a/../../secret.png", "/etc/secret.png 1", "..", "a/..\\../x.png/.."],
)
def test_a_list_names_no_picture_outside_its_root(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"fine.png 0\n{line}\n")
    with pytest.raises(InputError, match=r"list\.txt, line 2: .*outside"):
        read_imglist(tmp_path / "list.txt", tmp_path / "root")


def test_a_shard_row_reaches_no_picture_outside_the_shard(tmp_path):
    doors()["shard rows"].make(tmp_path)
    shard = tmp_path / "synthesize" / "shard"
    picture = next(shard.glob("*.png"))
    picture.rename(tmp_path / "synthesize" / picture.name)
    rows = (shard / "rows.jsonl").read_text()
    (shard / "rows.jsonl").write_text(rows.replace(picture.name, f"../{picture.name}"))
    assert read_synthetic(tmp_path / "synthesize") == {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("whole") / "bundle", inpainter=True)


@pytest.fixture
def bundle(whole, tmp_path):
    """A bundle without hashes: all that then protects is how its files are loaded."""
    root = Path(shutil.copytree(whole, tmp_path / "bundle"))
    spec = json.loads((root / "bundle.json").read_text())
    del spec["files"]
    (root / "bundle.json").write_text(json.dumps(spec))
    return root


PARTS = ("encoder", "classifier", "inpainter")


def load(bundle: Path, part: str) -> object:
    return getattr(load_bundle(bundle), part)()


@pytest.mark.parametrize("part", PARTS)
def test_code_beside_a_checkpoint_is_not_run(bundle, part, tmp_path):
    trap = tmp_path / "sprung"
    code = f"open({str(trap)!r}, 'w').close()\nclass Evil: pass\nEvilConfig = Evil\n"
    for config in sorted((bundle / part).rglob("*.json")):
        (config.parent / "evil.py").write_text(code)
        value = json.loads(config.read_text())
        if not isinstance(value, dict) or config.name in ("vocab.json", "tokenizer.json"):
            continue
        names = ("AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoTokenizer",
                 "AutoImageProcessor", "AutoProcessor", "CLIPTextModel")  # fmt: skip
        value["auto_map"] = dict.fromkeys(names, "evil.Evil")
        if config.name == "model_index.json":
            value.update(_class_name=["evil", "Evil"], unet=["evil", "Evil"])
        config.write_text(json.dumps(value))
    with contextlib.suppress(InputError):  # refused is as good as ignored
        load(bundle, part)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("encoder", "model.safetensors"),
        ("classifier", "model.safetensors"),
        ("inpainter", "unet/diffusion_pytorch_model.safetensors"),
        ("inpainter", "text_encoder/model.safetensors"),
    ],
)
def test_pickled_weights_are_never_opened(bundle, part, name, tmp_path):
    trap = tmp_path / "sprung"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    weights = bundle / part / name
    weights.unlink()
    stems = ("pytorch_model", "diffusion_pytorch_model", "model")
    for pickled in [f"{stem}{end}" for stem in stems for end in (".bin", ".pt", ".pth", ".ckpt")]:
        (weights.parent / pickled).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError):
        load(bundle, part)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("part", "name"),
    [("encoder", "model.safetensors"), ("inpainter", "unet/diffusion_pytorch_model.safetensors")],
)
def test_an_index_of_shards_leads_to_no_file_outside(bundle, part, name, tmp_path):
    from safetensors import safe_open

    weights = bundle / part / name
    outside = tmp_path / "outside.safetensors"
    shutil.move(weights, outside)
    with safe_open(outside, "np") as file:
        keys = list(file.keys())
    way = os.path.relpath(outside, weights.parent)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(keys, way)}
    weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError):
        load(bundle, part)


def test_a_link_in_a_detector_or_bundle_is_not_followed_out(detector, bundle, tmp_path):
    from synood import OODDetector

    secret = tmp_path / "secret"
    secret.write_text("the nice secret\n")
    for path in (detector / "negatives.txt", bundle / "words.tsv"):
        path.unlink()
        path.symlink_to(secret)
    with pytest.raises(InputError, match="link out of the directory"):
        OODDetector.from_pretrained(detector)
    with pytest.raises(InputError, match="link out of the bundle"):
        load_bundle(bundle).words()


def test_a_picture_of_another_kind_is_not_handed_to_a_rare_decoder(tmp_path):
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(InputError, match="not an image"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("part", PARTS)
def test_the_bundle_loads_when_nothing_was_done_to_it(bundle, part):
    assert load(bundle, part) is not None

"""Batches that fit: found by trying, halved where memory runs out, and on record."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import synood
import tiny
from bundling import change_spec, tiny_bundle
from small_classifier import SmallClassifier
from small_run import contents, run
from synood.errors import InputError
from synood.files import read_jsonl
from synood.models.inpainting import Inpainter
from synood.models.memory import (
    is_out_of_memory,
    largest_that_fits,
    peak_memory,
    total_memory,
    unless_out_of_memory,
)
from synood.pipeline.rundir.shards import read_synthetic
from synood.settings import GuidanceSettings
from synood.synthesis import memory as _fitting
from synood.synthesis.memory import (
    PiecewiseSynthesis,
    fitting_batch_size,
    gradient_memory,
    largest_tried,
    leaner_of,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inpainter(bundle):
    return Inpainter.from_pretrained(bundle / "inpainter")


def small_memory(monkeypatch, most: int):
    """Let the models run out of memory, as torch says it, with more than `most` pictures."""
    original = Inpainter.denoise

    def limited(self, image_latents, *rest):
        if len(image_latents) > most:
            raise torch.OutOfMemoryError("out of memory: tried to allocate 20.00 GiB")
        return original(self, image_latents, *rest)

    monkeypatch.setattr(Inpainter, "denoise", limited)


# what memory is


@given(limit=st.integers(0, 300), most=st.integers(1, 300))
def test_the_largest_number_that_fits_is_found(limit, most):
    tried = []

    def fits(number):
        tried.append(number)
        return number <= limit

    assert largest_that_fits(fits, most) == min(limit, most)
    assert all(1 <= number <= most for number in tried)
    assert len(tried) <= 2 * (most.bit_length() + 1)


def test_memory_of_this_machine_is_told():
    status = Path("/proc/meminfo").read_text()
    machine = 1024 * int(re.search(r"MemTotal:\s+(\d+)", status)[1])
    assert 0 < total_memory("cpu") <= machine
    before = peak_memory("cpu")
    np.ones(200_000_000, np.uint8)
    assert peak_memory("cpu") >= max(before, 200_000_000)


def test_a_real_failed_allocation_is_out_of_memory_and_nothing_else_is():
    assert unless_out_of_memory(lambda: torch.empty(2**60, dtype=torch.uint8)) is None
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        unless_out_of_memory(lambda: torch.ones(2, 3) @ torch.ones(2, 3))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_libraries_of_a_gpu_that_get_no_memory_are_out_of_memory_too(message):
    def fail():
        raise RuntimeError(message)

    assert unless_out_of_memory(fail) is None
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))


# which gradient


def test_the_gradients_memory_is_what_autograd_keeps(inpainter):
    """Counted at a small latent, against the whole picture, counted at autograd's own hooks."""
    weights = {weight.data_ptr() for weight in inpainter._autoencoder._vae.parameters()}
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    side = inpainter.image_size // 2
    latents = torch.zeros(1, 4, side, side, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _pictures = inpainter.decode(latents)
    expected = sum(size for place, size in kept.items() if place not in weights)
    assert inpainter.gradient_bytes == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("memory", "pictures", "expected"),
    [
        (100, 1, "plain"),
        (100, 40, "plain"),
        (100, 41, "slice"),
        (2.5, 8, "slice"),
        (2, 1, "checkpoint"),
    ],
)
def test_the_gradient_is_taken_as_half_the_memory_allows(
    inpainter, monkeypatch, memory, pictures, expected
):
    monkeypatch.setattr(_fitting, "total_memory", lambda _: memory * inpainter.gradient_bytes)
    assert gradient_memory(inpainter, pictures) == expected


def test_the_leaner_gradient_wins():
    assert leaner_of("plain", "slice") == leaner_of("slice", "plain") == "slice"
    assert leaner_of("checkpoint", "plain") == "checkpoint"


# what happens when memory runs out


def piecewise(inpainter, monkeypatch, fits):
    """The real search for pieces over a synthesis that runs out of memory unless `fits`."""
    tried = []

    def guided(inpainter, guide, pixels, prompts, settings, seeds, *, memory, **_):
        tried.append((len(pixels), memory))
        if not fits(len(pixels), memory):
            raise torch.OutOfMemoryError
        return list(seeds)

    monkeypatch.setattr("synood.synthesis.guidance.guided_inpainting", guided)
    return PiecewiseSynthesis(inpainter, None, GuidanceSettings()), tried


def synthesize(synthesis, images):
    pixels = np.zeros((images, 3, 1, 1), np.float32)
    return synthesis.synthesize(pixels, ["a"] * images, range(images))


@settings(max_examples=5, deadline=None)
@given(images=st.integers(1, 40), limit=st.integers(1, 40))
def test_pieces_are_halved_until_they_fit_and_nothing_is_lost(inpainter, images, limit):
    with pytest.MonkeyPatch.context() as patch:
        synthesis, _ = piecewise(inpainter, patch, lambda count, _: count <= limit)
        done, notices = synthesize(synthesis, images)
        assert done == list(range(images))
        assert bool(notices) == (images > limit)
        again, notices = synthesize(synthesis, images)
        assert again == done
        assert not notices  # it has learned


def test_a_leaner_gradient_comes_before_smaller_pieces(inpainter, monkeypatch):
    synthesis, tried = piecewise(
        inpainter, monkeypatch, lambda count, memory: memory == "checkpoint" and count <= 2
    )
    _, notices = synthesize(synthesis, 4)
    assert tried[:4] == [(4, "plain"), (4, "slice"), (4, "checkpoint"), (2, "checkpoint")]
    assert notices[-1] == "memory of cpu ran out with 4 images at a time: going on with 2"


def test_says_so_when_not_even_one_image_fits(inpainter, monkeypatch):
    synthesis, _ = piecewise(inpainter, monkeypatch, lambda *_: False)
    with pytest.raises(InputError, match="one image at a time is too much for the memory of cpu"):
        synthesize(synthesis, 3)


def test_a_run_whose_memory_runs_out_paints_the_same_pictures(
    bundle, images, tmp_path, monkeypatch
):
    run(images, bundle, tmp_path / "whole", batch_size=6)
    small_memory(monkeypatch, 2)
    heard = []
    run(
        images,
        bundle,
        tmp_path / "small",
        batch_size=6,
        progress=lambda stage, done, total, message: heard.append(message),
    )
    assert "memory of cpu ran out with 6 images at a time: going on with 3" in heard
    assert "memory of cpu ran out with 3 images at a time: going on with 1" in heard
    whole, small = (
        {p.id: p for p in read_synthetic(tmp_path / name / "synthesize").values()}
        for name in ("whole", "small")
    )
    assert whole.keys() == small.keys()
    for key, picture in whole.items():
        pair = [_pixels(one.path) for one in (picture, small[key])]
        assert np.abs(pair[0] - pair[1]).max() <= 1


def _pixels(path):
    from PIL import Image

    return np.asarray(Image.open(path), int)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_a_process_whose_memory_really_ends_goes_on_with_less(tmp_path):
    directory = tiny.tiny_inpainting(tmp_path / "paint")
    command = [
        sys.executable,
        str(ROOT / "tests" / "helpers" / "synthesize_in_little_memory.py"),
        str(directory),
        "48",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["images"] == 48
    assert result["notices"]


# the batch size that is found


def test_on_a_cpu_the_batch_is_bounded_by_memory_and_use(inpainter, monkeypatch):
    def found(memory, most):
        monkeypatch.setattr(_fitting, "total_memory", lambda _: memory * inpainter.gradient_bytes)
        return fitting_batch_size(inpainter, SmallClassifier(), GuidanceSettings(), most)

    assert [found(1000, 100), found(1000, 3), found(10, 100), found(0.1, 100)] == [8, 3, 4, 1]


def test_on_an_accelerator_it_is_found_by_trying(inpainter, monkeypatch):
    small_memory(monkeypatch, 11)
    assert largest_tried(inpainter, SmallClassifier(), GuidanceSettings(), 100) == 9
    assert largest_tried(inpainter, SmallClassifier(), GuidanceSettings(), 4) == 3
    small_memory(monkeypatch, 0)
    assert largest_tried(inpainter, SmallClassifier(), GuidanceSettings(), 4) == 1


def test_auto_is_stated_and_the_pictures_do_not_depend_on_it(bundle, images, tmp_path):
    run(images, bundle, tmp_path / "two", batch_size=2)
    run(images, bundle, tmp_path / "auto", batch_size="auto")
    rows = read_jsonl(tmp_path / "auto" / "events.jsonl")
    (stated,) = [row for row in rows if row.get("message") == "batch size 6 fits"]
    assert stated["batch_size"] == 6
    two, auto = (
        {p.id: p for p in read_synthetic(tmp_path / name / "synthesize").values()}
        for name in ("two", "auto")
    )
    for key, picture in two.items():
        assert np.abs(_pixels(picture.path) - _pixels(auto[key].path)).max() <= 1


# the record


def test_pace_and_memory_are_in_the_events_and_in_no_other_file(bundle, images, tmp_path):
    run(images, bundle, tmp_path / "out")
    before = contents(tmp_path / "out")
    (row,) = [r for r in read_jsonl(tmp_path / "out" / "events.jsonl") if "images_per_hour" in r]
    assert row["images"] == 6
    assert row["images_per_hour"] == pytest.approx(3600 * 6 / row["seconds"], rel=1e-2)
    assert 50e6 < row["peak_memory_bytes"] <= peak_memory("cpu")
    assert (row["device"], row["dtype"], row["batch_size"]) == ("cpu", "float32", 2)
    run(images, bundle, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    rows = read_jsonl(tmp_path / "out" / "events.jsonl")
    assert sum("images_per_hour" in row for row in rows) == 1  # nothing was painted again


def test_the_precision_is_a_field_of_the_bundle_and_part_of_the_inputs(images, tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle", inpainter=True)
    run(images, bundle, tmp_path / "out")
    whole = {p.id: p.inputs for p in read_synthetic(tmp_path / "out" / "synthesize").values()}
    change_spec(bundle, inpainter={"path": "inpainter", "dtype": "bfloat16"})
    run(images, bundle, tmp_path / "out")
    half = {p.id: p.inputs for p in read_synthetic(tmp_path / "out" / "synthesize").values()}
    assert whole.keys() == half.keys()
    assert not set(whole.values()) & set(half.values())
    assert 'inpainter_dtype = "bfloat16"' in (tmp_path / "out" / "run.toml").read_text()
    rows = [r for r in read_jsonl(tmp_path / "out" / "events.jsonl") if "dtype" in r]
    assert [row["dtype"] for row in rows] == ["float32", "bfloat16"]


def test_an_unknown_precision_is_refused_by_name(images, tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle", inpainter=True)
    change_spec(bundle, inpainter={"path": "inpainter", "dtype": "float8"})
    with pytest.raises(InputError, match="'float8': is not one of auto, float32, bfloat16"):
        run(images, bundle, tmp_path / "out")


@pytest.mark.parametrize("path", sorted(Path(synood.__file__).parent.rglob("*.py")), ids=str)
def test_no_device_is_chosen_by_a_literal(path):
    """Devices come from the caller; `cpu` alone may be named, as the one that is always there."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""["'](cuda|xpu|hpu|npu)\b|\.cuda\(|torch\.(cuda|mps|xpu)\.""", text)

"""A run whose images are guided within each denoising step: recorded, found again, resumable."""

from __future__ import annotations

import os
import shutil
import signal
import time
import tomllib

import pytest
import torch

import tiny
from small_run import contents, run
from synood.errors import InputError
from synood.files import read_jsonl
from synood.models.bundles import load_bundle
from synood.pipeline.recipe import resolve_recipe
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.shards import read_synthetic
from synood.settings import GuidanceSettings

STEP = ("guidance.method=step", "guidance.target=5", "guidance.mu=0.3")
STEPS = 2  # int(4 * 0.6)


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # a forked child must not wait for the parent's threads
        yield
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def guided(bundle, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "guided"
    run(images, bundle, out, *STEP)
    return out


def test_the_run_says_how_it_was_guided_and_what_each_step_did(guided):
    written = tomllib.loads((guided / "run.toml").read_text())["recipe"]["guidance"]
    assert (written["method"], written["mu"], written["sigma"]) == ("step", 0.3, 0.1)
    made = read_synthetic(guided / "synthesize").values()
    assert len(made) == 6
    for image in made:
        assert len(image.losses) == len(image.energies) == STEPS + 1
        assert image.stop == "steps"


def test_killed_while_it_paints_it_ends_with_the_same_bytes(guided, bundle, images, tmp_path):
    out = tmp_path / "killed"
    child = os.fork()
    if child == 0:
        try:
            run(images, bundle, out, *STEP)
        finally:
            os._exit(0)
    begun = time.monotonic()
    while not list((out / "synthesize").glob("[!.]*/")) and time.monotonic() - begun < 60:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    there = len(list((out / "synthesize").glob("[!.]*/")))
    assert 1 <= there < 3, "it was not killed while it painted"

    run(images, bundle, out, *STEP)

    assert contents(out) == contents(guided)


def inputs_of(out):
    return {image.inputs for image in read_synthetic(out / "synthesize").values()}


def test_only_fields_of_the_method_make_other_images(guided, bundle, images, tmp_path):
    out = shutil.copytree(guided, tmp_path / "run")
    run(images, bundle, out, *STEP, "guidance.rounds=9", "guidance.step_size=3")
    assert inputs_of(out) == inputs_of(guided)
    run(images, bundle, out, *STEP, "guidance.mu=0.4")
    assert not inputs_of(out) & inputs_of(guided)


def test_of_rounds_the_new_fields_change_no_fingerprint():
    """So that images of a version without them are found again."""
    plain = GuidanceSettings().effective()
    assert not {"method", "mu", "sigma", "guided_steps"} & plain.keys()
    assert GuidanceSettings(mu=9.0, sigma=9.0, guided_steps=3).effective() == plain
    assert GuidanceSettings(method="step").effective() != plain


def test_a_scheduler_that_cannot_be_guided_is_refused_before_any_work(bundle, images, tmp_path):
    painter = tiny.tiny_inpainting(tmp_path / "painter", "UniPCMultistepScheduler")
    other = f"{bundle}+painter={painter}"
    with pytest.raises(InputError, match=r"'step' cannot guide the steps of UniPCMultistep"):
        run(images, other, tmp_path / "out", *STEP)
    assert not (tmp_path / "out").exists()


def test_idle_guidance_is_said(bundle, images, tmp_path):
    run(images, bundle, tmp_path / "out", *STEP, "guidance.target=-1000")
    said = [row.get("message", "") for row in read_jsonl(tmp_path / "out" / "events.jsonl")]
    assert any("6 of 6 images were beyond guidance.target from the start" in one for one in said)


def test_the_batch_size_is_found_with_steps(bundle, images, tmp_path):
    run(images, bundle, tmp_path / "out", *STEP, batch_size="auto")
    rows = read_jsonl(tmp_path / "out" / "events.jsonl")
    assert [row["batch_size"] for row in rows if row.get("message") == "batch size 6 fits"] == [6]


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["guidance.method=steps"], r"guidance\.method must be 'rounds' or 'step', not 'steps'"),
        (["guidance.mu=-1"], r"guidance\.mu must be 0 or more"),
        (["guidance.sigma=none"], r"guidance\.sigma must be a number"),
        (["guidance.guided_steps=0"], r"guidance\.guided_steps must be at least 1"),
        (
            ["guidance.method=step", "guidance.guided_steps=13"],
            r"guidance\.guided_steps = 13 is more than the 12 steps",
        ),
    ],
)
def test_fields_of_the_recipe_are_checked(assignments, message):
    with pytest.raises(InputError, match=message):
        resolve_recipe("paper", {}, assignments)


def test_the_recipe_takes_the_fields_and_keeps_the_papers_method():
    assert resolve_recipe("paper").guidance.method == "rounds"
    wanted = ["guidance.method=step", "guidance.guided_steps=12", "guidance.mu=1"]
    found = resolve_recipe("plus", load_bundle("mini").recipe_defaults, wanted).guidance
    assert (found.method, found.guided_steps, found.mu) == ("step", 12, 1.0)

"""Distilled in-painting models bring their own number of steps; others leave the paper's."""

from __future__ import annotations

import pytest

import tiny
from bundling import change_spec, tiny_bundle
from synood.errors import InputError
from synood.models import few_steps
from synood.models.bundles import load_bundle
from synood.models.few_steps import recipe_defaults
from synood.pipeline.recipe import resolve_recipe
from tiny_flow import tiny_zimage

STEPS, SCALE = "guidance.num_inference_steps", "guidance.guidance_scale"
TRAILING = {"timestep_spacing": "trailing"}


def settings(*, scheduler="DDIMScheduler", embedding=None, **config):
    return {"scheduler": scheduler, "guidance_embedding": embedding, "scheduler_config": config}


CHECKPOINTS = {
    "stable diffusion": (settings(), {}),
    "consistency": (settings(scheduler="LCMScheduler", embedding=32), {STEPS: 8}),
    "consistency under another scheduler": (settings(embedding=32), {STEPS: 8}),
    "merged consistency": (settings(scheduler="LCMScheduler"), {STEPS: 8, SCALE: 1.0}),
    "turbo": (settings(scheduler="EulerDiscreteScheduler", **TRAILING), {STEPS: 4, SCALE: 0.0}),
    "ancestral turbo": (
        settings(scheduler="EulerAncestralDiscreteScheduler", **TRAILING),
        {STEPS: 4, SCALE: 0.0},
    ),
    "trailing, but of velocities": (
        settings(scheduler="EulerDiscreteScheduler", prediction_type="v_prediction", **TRAILING),
        {},
    ),
    "trailing, but DDIM": (settings(**TRAILING), {}),
    "trailing, to pure noise": (
        settings(scheduler="EulerDiscreteScheduler", rescale_betas_zero_snr=True, **TRAILING),
        {},
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_known_by_its_configuration(tmp_path, name):
    options, expected = CHECKPOINTS[name]
    assert recipe_defaults(tiny.tiny_inpainting(tmp_path, **options)) == expected


def test_flow_matching_is_known_too_and_nonsense_says_nothing(tmp_path):
    assert recipe_defaults(tiny_zimage(tmp_path / "flow")) == {STEPS: 8, SCALE: 0.0}
    assert recipe_defaults(tmp_path / "nothing") == {}
    (tmp_path / "model_index.json").write_text("[1, 2")
    assert recipe_defaults(tmp_path) == {}
    (tmp_path / "model_index.json").write_text("[1, 2]")
    assert recipe_defaults(tmp_path) == {}


def test_the_papers_painters_are_known_without_a_file(monkeypatch):
    def refused(*_):
        raise AssertionError("a file was asked for")

    monkeypatch.setattr(few_steps, "load_file", refused)
    for name in ("paper", "paper-sdxl", "mini"):
        assert STEPS not in load_bundle(name).recipe_defaults


def test_who_is_nearer_wins(tmp_path):
    """The recipe, the painter, what a bundle says of its own painter, and the user."""
    root = tiny_bundle(tmp_path / "bundle")
    painter = tiny.tiny_inpainting(
        tmp_path / "turbo", "EulerDiscreteScheduler", scheduler_config=TRAILING
    )
    tiny.tiny_inpainting(root / "inpainter", "LCMScheduler", guidance_embedding=32)
    own = {"guidance": {"num_inference_steps": 6}}
    change_spec(root, inpainter={"path": "inpainter"}, files=None)

    def guidance(name, *assignments):
        return resolve_recipe("paper", load_bundle(name).recipe_defaults, assignments).guidance

    assert guidance(root).num_inference_steps == 8
    change_spec(root, recipe=own)
    assert guidance(root).num_inference_steps == 6
    changed = guidance(f"{root}+painter={painter}")
    assert (changed.num_inference_steps, changed.guidance_scale) == (4, 0.0)
    assert guidance(f"{root}+painter={painter}", f"{STEPS}=3").num_inference_steps == 3


def test_scoring_asks_for_no_file_of_the_painter(tmp_path):
    root = tiny_bundle(tmp_path / "bundle")
    change_spec(root, inpainter={"path": "../elsewhere"}, files=None)
    bundle = load_bundle(root)
    assert bundle.score.temperature == 0.01
    assert STEPS not in bundle.recipe_without_inpainter
    with pytest.raises(InputError, match="not inside the bundle"):
        _ = bundle.recipe_defaults

"""What a sampler's states consist of, against the samplers themselves with a model that knows."""

from __future__ import annotations

import copy
from itertools import pairwise
from types import SimpleNamespace

import diffusers
import pytest
import torch

from synood.errors import InputError
from synood.models._levels import check_known, transitions
from synood.models._prompting import Embedding
from synood.models.denoising import Conditioning, denoised, last_timesteps

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # in diffusers' schedulers
]

SHAPE = (1, 4, 48, 48)
NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
STEADY = {
    "DDIMScheduler": {"clip_sample": False, "set_alpha_to_one": False},
    "DPMSolverMultistepScheduler": {},
    "EulerDiscreteScheduler": {},
}
RANDOM = {"LCMScheduler": {}, "EulerAncestralDiscreteScheduler": {}}
PNDM = {"skip_prk_steps": True, "set_alpha_to_one": False}


def scheduler(name, kind="epsilon", **options):
    if name == "FlowMatchEulerDiscreteScheduler":
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return getattr(diffusers, name)(**NOISE, prediction_type=kind, **options)


def drawn(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGE, E = drawn(0), drawn(1)


class Knowing:
    """A model that knows the image, whatever it is shown, and says so in the wanted form.

    It is shown a sample of unit variance, and knows the cumulative alpha of each call.
    """

    dtype = torch.float64
    config = SimpleNamespace(in_channels=4, time_cond_proj_dim=None)

    def __init__(self, kind, alphas):
        self.kind, self.alphas, self.calls, self.seen = kind, alphas, 0, []

    def __call__(self, sample, step, **_):
        alpha = self.alphas[self.calls]
        self.calls += 1
        self.seen.append(sample)
        noise = (sample - alpha**0.5 * IMAGE) / (1 - alpha) ** 0.5
        made = {
            "epsilon": noise,
            "sample": IMAGE,
            "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * IMAGE,
        }
        return (made[self.kind],)


def run(kind, steps, strength=0.6, steer=None, form="epsilon"):
    """Denoise with a knowing model; return the result and the model."""
    trial = copy.deepcopy(kind)
    times = last_timesteps(trial, steps, strength, torch.device("cpu"))
    if hasattr(trial, "sigmas"):
        alphas = [float(1 / (1 + sigma**2)) for sigma in trial.sigmas[-len(times) - 1 : -1]]
    else:
        alphas = [float(trial.alphas_cumprod[int(time)]) for time in times]
    model = Knowing(form, alphas)
    words = Embedding(torch.zeros(1, 1, 1, dtype=torch.float64))
    conditioning = Conditioning(words, words.zeros(), torch.ones(1, 1, 48, 48), IMAGE, 24)
    result = denoised(
        model, kind, IMAGE, E, conditioning, strength=strength, num_inference_steps=steps,
        guidance_scale=1.0, generators=[torch.Generator().manual_seed(3)], steer=steer,
    )  # fmt: skip
    return result, model


def states(kind, steps, strength=0.6):
    """The levels of the sampler's steps, and its timesteps."""
    trial = copy.deepcopy(kind)
    times = last_timesteps(trial, steps, strength, torch.device("cpu"))
    return transitions(trial, times), times


@pytest.mark.parametrize(
    ("name", "form"),
    [
        (name, form)
        for name in (*STEADY, *RANDOM)
        for form in ("epsilon", "v_prediction", "sample")
        if not (form == "sample" and "Euler" in name)  # these schedulers take no such predictions
    ],
)
def test_the_clean_latent_of_a_model_that_knows_it_is_the_image(name, form):
    seen = []
    kind = scheduler(name, form, **STEADY.get(name, {}))
    run(kind, 8, steer=lambda forecast: seen.append(forecast), form=form)
    assert [one.step for one in seen] == list(range(len(seen)))
    assert {one.steps for one in seen} == {len(seen)}
    for one in seen:
        torch.testing.assert_close(one.latents, IMAGE, atol=2e-4, rtol=0)
    assert sum(one.weight for one in seen) == pytest.approx(len(seen))
    noises = [one.noise for one in seen]
    assert noises == sorted(noises, reverse=True)


def test_the_clean_latent_of_a_flow_is_the_image():
    seen = []
    kind = scheduler("FlowMatchEulerDiscreteScheduler")
    kind.set_timesteps(8)
    levels = transitions(kind, kind.timesteps[3:])
    for level, sigma in zip(levels, kind.sigmas[3:], strict=False):
        sample = (1 - float(sigma)) * IMAGE + float(sigma) * E
        seen.append(level.before.clean(sample, E - IMAGE, "flow"))
    assert len(seen) == 5
    for one in seen:
        torch.testing.assert_close(one, IMAGE, atol=1e-6, rtol=0)
    assert (levels[-1].after.signal, levels[-1].after.noise) == (1.0, 0.0)


@pytest.mark.parametrize("name", [*STEADY, *RANDOM])
def test_a_sample_is_the_image_and_noise_at_the_levels_told(name):
    """Regression of every sample on the image: its coefficient, and the size of what is left."""
    kind = scheduler(name, **STEADY.get(name, {}))
    found, _ = states(kind, 8)
    _, model = run(kind, 8)
    scaled = hasattr(kind, "sigmas") and "Euler" in name  # the model is shown sample / length
    for step, seen in zip(found, model.seen, strict=True):
        level = step.before
        length = (level.signal**2 + level.noise**2) ** 0.5 if scaled else 1.0
        sample = seen * length
        rest = sample - level.signal * IMAGE
        assert float(rest.std()) == pytest.approx(level.noise, rel=0.03)
        assert float((rest * IMAGE).mean()) == pytest.approx(0, abs=0.05 * level.noise)
    pairs = pairwise(found)
    if name not in RANDOM:
        assert all(
            (one.after.signal, one.after.noise)
            == pytest.approx((other.before.signal, other.before.noise))
            for one, other in pairs
        )


@pytest.mark.parametrize("name", [*STEADY, *RANDOM, "PNDMScheduler"])
def test_a_change_at_the_last_step_arrives_whole(name):
    kind = scheduler(name, **{**STEADY, "PNDMScheduler": PNDM}.get(name, {}))
    change = drawn(7)

    def last(forecast):
        return change if forecast.step == forecast.steps - 1 else None

    plain, _ = run(kind, 10)
    moved, _ = run(kind, 10, steer=last)
    torch.testing.assert_close(moved - plain, change, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", [*STEADY, *RANDOM, "PNDMScheduler"])
def test_steering_by_nothing_changes_no_bit(name):
    kind = scheduler(name, **{**STEADY, "PNDMScheduler": PNDM}.get(name, {}))
    plain, _ = run(kind, 10)
    for nothing in (lambda _: None, lambda forecast: torch.zeros_like(forecast.latents)):
        assert torch.equal(run(kind, 10, steer=nothing)[0], plain)


def test_of_pndm_the_call_whose_sample_is_thrown_away_is_left_out():
    kind = scheduler("PNDMScheduler", **PNDM)
    found, times = states(kind, 20)
    assert times.tolist()[:3] == [601, 551, 501]
    assert [step is None for step in found] == [True, *[False] * 12]
    abar = kind.alphas_cumprod
    reached = [551, 451, 401, 351, 301, 251, 201, 151, 101, 51, 1, 0]
    signals = [step.after.signal for step in found[1:]]
    assert signals == pytest.approx([float(abar[time]) ** 0.5 for time in reached])
    seen = []
    run(kind, 20, steer=lambda forecast: seen.append(forecast.step))
    assert seen == list(range(12))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("HeunDiscreteScheduler", "HeunDiscreteScheduler"),
        ("UniPCMultistepScheduler", "UniPCMultistepScheduler"),
        ("PNDMScheduler", "Runge-Kutta steps of PNDMScheduler"),
    ],
)
def test_a_scheduler_that_is_not_known_is_refused_by_name(kind, named):
    with pytest.raises(InputError, match=rf"'step' cannot guide the .*{named}.*'rounds'"):
        check_known(getattr(diffusers, kind)())

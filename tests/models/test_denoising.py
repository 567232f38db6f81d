"""Schedulers started in the middle, against replicas in NumPy that share no code with diffusers."""

from __future__ import annotations

from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch

from synood.models._prompting import Embedding
from synood.models.denoising import Conditioning, denoised, last_timesteps

pytestmark = pytest.mark.numerical

SHAPE = (2, 4, 3, 3)
STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
ABAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
PNDM_TIMES = [601, 551, 501, 451, 401, 351, 301, 251, 201, 151, 101, 51, 1]


class LinearPredictor:
    """Takes the place of a U-Net: a prediction in closed form, and a note of what was asked."""

    dtype = torch.float64
    config = SimpleNamespace(in_channels=4, time_cond_proj_dim=None)

    def __init__(self) -> None:
        self.times: list[float] = []
        self.inputs: list[np.ndarray] = []

    def __call__(self, latents, step, **_):
        self.times.append(float(step))
        self.inputs.append(latents.numpy().copy())
        return (torch.from_numpy(predicted(latents.numpy(), float(step))),)


def predicted(latents: np.ndarray, time: float) -> np.ndarray:
    return 0.7 * latents + np.cos(time / 150) * latents[:, ::-1] - 0.2


def scheduler(name: str, **options):
    return getattr(diffusers, name)(**STABLE_DIFFUSION, **options)


def draws() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)


def run(kind, steps=20, strength=0.6):
    """Denoise with our loop: the result, and what the predictor saw."""
    image, noise = (torch.from_numpy(part) for part in draws())
    words = Embedding(torch.zeros(2, 1, 1, dtype=torch.float64))
    conditioning = Conditioning(words, words.zeros(), torch.ones(1, 1, 3, 3), image, 24)
    predict = LinearPredictor()
    result = denoised(
        predict,
        kind,
        image,
        noise,
        conditioning,
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=1.0,
        generators=None,
    )
    return result.numpy(), predict


def noised(abar: float) -> np.ndarray:
    image, noise = draws()
    return abar**0.5 * image + (1 - abar) ** 0.5 * noise


def stepped(latents: np.ndarray, prediction: np.ndarray, abar: float, earlier: float) -> np.ndarray:
    """One DDIM step from cumulative signal share `abar` to `earlier`, without noise."""
    source = (latents - (1 - abar) ** 0.5 * prediction) / abar**0.5
    return earlier**0.5 * source + (1 - earlier) ** 0.5 * prediction


def abar_at(time: int) -> float:
    return float(ABAR[max(time, 0)])  # set_alpha_to_one is false: the last step ends at ABAR[0]


def pndm_from_the_middle() -> np.ndarray:
    """Pseudo linear multistep as it runs when the schedule's doubled second step is cut off.

    The call at 551 corrects the step 601 -> 551 that was taken with one prediction; from then on
    each call at t moves by 50 from wherever the latent stands in name (Liu et al. 2022, eq. 9, 12).
    """
    latents, start, kept = noised(abar_at(601)), None, []
    for count, time in enumerate(PNDM_TIMES):
        prediction = predicted(latents, time)
        at, to = time, time - 50
        if count != 1:
            kept = [*kept[-3:], prediction]
        if count == 0:
            mix, start = prediction, latents
        elif count == 1:
            mix, latents, at, to = (prediction + kept[-1]) / 2, start, time + 50, time
        else:
            weights = {2: (3, -1), 3: (23, -16, 5), 4: (55, -59, 37, -9)}[min(count, 4)]
            recent = kept[::-1]
            mix = sum(w * e for w, e in zip(weights, recent, strict=True)) / sum(weights)
        latents = stepped(latents, mix, abar_at(at), abar_at(to))
    return latents


def ddim_from_the_middle() -> np.ndarray:
    latents = noised(abar_at(551))
    for time in range(551, 0, -50):
        latents = stepped(latents, predicted(latents, time), abar_at(time), abar_at(time - 50))
    return latents


def euler_from_the_middle() -> tuple[np.ndarray, np.ndarray]:
    """Euler's method on dx/dsigma (Karras et al. 2022, algorithm 1): result and first input."""
    sigmas = ((1 - ABAR) / ABAR) ** 0.5
    times = np.linspace(0, 999, 20)[::-1]
    levels = np.append(np.interp(times, np.arange(1000), sigmas), 0.0)
    image, noise = draws()
    latents, inputs = image + levels[8] * noise, []
    for place in range(8, 20):
        sigma, following = levels[place], levels[place + 1]
        inputs.append(latents / (sigma**2 + 1) ** 0.5)
        latents = latents + predicted(inputs[-1], times[place]) * (following - sigma)
    return latents, inputs[0]


def test_pndm_makes_13_calls_from_601_and_takes_the_steps_of_the_replica():
    kind = scheduler("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False)
    result, predict = run(kind)
    assert predict.times == PNDM_TIMES
    assert ABAR[601] ** 0.5 == pytest.approx(0.3998, abs=1e-4)
    assert predict.inputs[0] == pytest.approx(noised(abar_at(601)), abs=1e-6)
    assert result == pytest.approx(pndm_from_the_middle(), abs=1e-4)


def test_ddim_takes_the_steps_of_the_replica():
    kind = scheduler("DDIMScheduler", clip_sample=False, set_alpha_to_one=False)
    result, predict = run(kind)
    assert predict.times == list(range(551, 0, -50))
    assert result == pytest.approx(ddim_from_the_middle(), abs=1e-4)


def test_euler_scales_the_noise_and_the_models_input():
    result, predict = run(scheduler("EulerDiscreteScheduler"))
    expected, first = euler_from_the_middle()
    assert predict.inputs[0] == pytest.approx(first, abs=1e-4)
    assert result == pytest.approx(expected, abs=1e-4)


def test_at_strength_one_euler_starts_from_noise_of_its_largest_sigma():
    _, predict = run(scheduler("EulerDiscreteScheduler"), strength=1.0)
    largest = ((1 - ABAR[-1]) / ABAR[-1]) ** 0.5
    start = draws()[1] * largest / (largest**2 + 1) ** 0.5
    assert predict.inputs[0] == pytest.approx(start, rel=0.01)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
        ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        ("DPMSolverMultistepScheduler", {}),
        ("EulerDiscreteScheduler", {}),
    ],
)
def test_every_scheduler_ends_at_the_picture_when_the_prediction_is_right(name, options):
    """With a model that knows the picture, any scheduler comes back to it: what is left is noise
    of the schedule's lowest level, a little more for PNDM, which loses a step in the middle.
    """
    image, noise = draws()
    times: list[float] = []

    class Knowing(LinearPredictor):
        def __call__(self, latents, step, **_):
            times.append(float(step))
            abar = np.interp(times[-1], np.arange(1000), ABAR)
            noise = (latents.numpy() - abar**0.5 * image) / (1 - abar) ** 0.5
            return (torch.from_numpy(noise),)

    words = Embedding(torch.zeros(2, 1, 1, dtype=torch.float64))
    latents = torch.from_numpy(image)
    conditioning = Conditioning(words, words.zeros(), torch.ones(1, 1, 3, 3), latents, 24)
    result = denoised(
        Knowing(),
        scheduler(name, **options),
        latents,
        torch.from_numpy(noise),
        conditioning,
        strength=0.6,
        num_inference_steps=20,
        guidance_scale=1.0,
        generators=None,
    )
    assert len(times) == (13 if name == "PNDMScheduler" else 12)
    left = np.sqrt(np.mean((result.numpy() - image) ** 2))
    assert left <= (1e-5 if name.startswith(("Euler", "DPM")) else 1.15 * (1 - abar_at(0)) ** 0.5)


def test_the_last_share_of_the_schedule_is_used():
    kind = scheduler("DDIMScheduler")
    times = last_timesteps(kind, 20, 0.35, torch.device("cpu"))
    assert times.tolist() == [301, 251, 201, 151, 101, 51, 1]

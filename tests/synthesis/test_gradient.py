"""The gradient of guidance: through decoder and guide, and in less memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from painting import GENTLE, PROMPTS, guide, images
from small_classifier import SmallClassifier
from synood.models.inpainting import Inpainter
from synood.synthesis.guidance import guided_inpainting
from synood.synthesis.objectives import OBJECTIVES

pytestmark = pytest.mark.numerical

OF_CLASSIFIERS = ("energy", "uniformity")  # the margin has test_margin.py


@pytest.mark.parametrize("objective", OF_CLASSIFIERS)
def test_the_step_is_the_gradient_through_decoder_and_classifier(directory, pixels, objective):
    """The noise after one round, read off the in-painter, against central differences."""
    double = Inpainter.from_pretrained(directory, dtype=torch.float64)
    classifier = SmallClassifier(torch.float64)
    options = replace(GENTLE, objective=objective, rounds=2, step_size=0.25)
    noises, denoised = [], []
    original = double.denoise

    def recorded(image_latents, noise, *rest):
        noises.append(noise)
        denoised.append(original(image_latents, noise, *rest))
        return denoised[-1]

    double.denoise = recorded
    guide(double, pixels, options, classifier)
    stepped = (noises[0] - noises[1]) / options.step_size

    def loss(latents):
        with torch.no_grad():
            logits = classifier.logits(double.decode(latents))
        return OBJECTIVES[objective](logits, options.target, options.temperature)

    places = torch.randint(stepped[0].numel(), (8,), generator=torch.Generator().manual_seed(0))
    for place in places.tolist():
        nudge = torch.zeros_like(stepped[0]).flatten()
        nudge[place] = 1e-5
        nudge = nudge.view_as(stepped[0])
        slope = (loss(denoised[0] + nudge) - loss(denoised[0] - nudge)) / 2e-5
        torch.testing.assert_close(stepped.flatten(1)[:, place], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", OF_CLASSIFIERS)
def test_a_step_lowers_the_objective(inpainter, pixels, objective):
    options = replace(GENTLE, objective=objective, rounds=2, step_size=0.1, target=3.0)
    for rendered in guide(inpainter, pixels, options):
        assert rendered.losses[1] < rendered.losses[0]


def test_rounds_push_the_energy_up(inpainter, pixels):
    for rendered in guide(inpainter, pixels, replace(GENTLE, rounds=4, step_size=0.1)):
        assert list(rendered.energies) == sorted(rendered.energies)
        assert rendered.energies[-1] > rendered.energies[0]


def test_the_gradient_after_the_last_round_is_skipped(inpainter, pixels):
    classifier = SmallClassifier()
    guide(inpainter, pixels, replace(GENTLE, rounds=3), classifier)
    assert classifier.gradients == [False, True, True, False]  # the source, then the rounds
    assert all(weight.grad is None for weight in classifier.network.parameters())


def kept_for_the_gradient(work):
    """Bytes that autograd keeps at the most while `work` runs, counted at its own hooks."""
    held, most = {}, [0]

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            held[id(self)] = tensor.untyped_storage().nbytes()
            most[0] = max(most[0], sum(held.values()))

        def __del__(self):
            held.pop(id(self), None)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    return most[0]


def noises_of(inpainter, pixels, memory, monkeypatch):
    """The noise of every round: what the gradients of the rounds before have made of it."""
    noises = []
    original = Inpainter.denoise
    with monkeypatch.context() as patch:

        def recorded(self, image_latents, noise, *rest):
            noises.append(noise.clone())
            return original(self, image_latents, noise, *rest)

        patch.setattr(Inpainter, "denoise", recorded)
        rendered = guided_inpainting(
            inpainter, SmallClassifier(), pixels, PROMPTS, GENTLE, (1, 2), memory=memory
        )
    return noises, rendered


@pytest.mark.parametrize("memory", ["slice", "checkpoint"])
def test_less_memory_gives_the_same_gradient_to_rounding(inpainter, pixels, memory, monkeypatch):
    plain, expected = noises_of(inpainter, pixels, "plain", monkeypatch)
    lean, rendered = noises_of(inpainter, pixels, memory, monkeypatch)
    moved = (plain[1] - plain[0]).abs().max()
    assert torch.equal(plain[0], lean[0])
    torch.testing.assert_close(lean[1], plain[1], atol=1e-5 * float(moved), rtol=1e-6)
    assert np.abs(images(rendered).astype(int) - images(expected)).max() <= 1


def test_each_kind_of_gradient_keeps_less_than_the_one_before(directory, pixels):
    inpainter = Inpainter.from_pretrained(directory)
    options = replace(GENTLE, rounds=2)
    kept = [
        kept_for_the_gradient(
            lambda memory=memory: guided_inpainting(
                inpainter, SmallClassifier(), pixels, PROMPTS, options, (1, 2), memory=memory
            )
        )
        for memory in ("plain", "slice", "checkpoint")
    ]
    assert kept[1] < 0.6 * kept[0]
    assert kept[2] < kept[1]

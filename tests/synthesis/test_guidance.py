"""What guidance promises: what stays the same, what is recorded, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import tiny
from painting import GENTLE, PROMPTS, generators, guide, images
from small_classifier import SmallClassifier
from synood.errors import InputError
from synood.models.inpainting import Inpainter
from synood.synthesis.guidance import guided_inpainting
from synood.synthesis.objectives import energy

pytestmark = pytest.mark.numerical


# what stays the same


def test_step_size_zero_is_plain_inpainting(inpainter, pixels):
    still = guide(inpainter, pixels, replace(GENTLE, rounds=3, step_size=0.0))
    plain = guide(inpainter, pixels, replace(GENTLE, rounds=1, step_size=7.0))
    assert np.array_equal(images(still), images(plain))
    for one, other in zip(still, plain, strict=True):
        assert one.losses == other.losses * 3
        assert one.energies == other.energies * 3
        assert one.source_energy == other.source_energy


def test_plain_inpainting_is_what_diffusers_paints(directory, inpainter, pixels):
    import diffusers

    plain = guide(inpainter, pixels, replace(GENTLE, rounds=1))
    pipeline = diffusers.StableDiffusionInpaintPipeline.from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt=PROMPTS,
        image=pixels,
        mask_image=torch.ones(2, 1, 32, 32),
        strength=GENTLE.strength,
        num_inference_steps=GENTLE.num_inference_steps,
        guidance_scale=GENTLE.guidance_scale,
        generator=generators(1, 2),
        output_type="np",
    ).images
    assert np.abs(images(plain) - theirs * 255).max() < 0.51


def test_noise_of_a_random_scheduler_is_the_same_in_every_round(tmp_path, pixels):
    painter = Inpainter.from_pretrained(
        tiny.tiny_inpainting(tmp_path, "EulerAncestralDiscreteScheduler")
    )
    still = guide(painter, pixels, replace(GENTLE, rounds=2, step_size=0.0))
    for rendered in still:
        assert rendered.losses[0] == rendered.losses[1]


def test_an_image_comes_out_alike_in_any_batch(inpainter, pixels):
    together = guide(inpainter, pixels)
    for row, rendered in enumerate(together):
        here = slice(row, row + 1)
        (alone,) = guide(inpainter, pixels[here], seeds=(row + 1,), prompts=PROMPTS[here])
        assert alone.losses == pytest.approx(rendered.losses, rel=1e-4)
        assert alone.energies == pytest.approx(rendered.energies, rel=1e-4)
        assert alone.source_energy == pytest.approx(rendered.source_energy, rel=1e-5)
        assert np.abs(alone.image.astype(int) - rendered.image).max() <= 1


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(inpainter, pixels):
    first, again = guide(inpainter, pixels), guide(inpainter, pixels)
    other = guide(inpainter, pixels, seeds=(1, 3))
    assert np.array_equal(images(first), images(again))
    assert [one.losses for one in first] == [one.losses for one in again]
    assert np.array_equal(first[0].image, other[0].image)
    assert not np.array_equal(first[1].image, other[1].image)


def test_the_layout_of_the_pixels_in_memory_changes_no_byte(inpainter, pixels):
    as_decoded = pixels.contiguous(memory_format=torch.channels_last)
    plain, found = guide(inpainter, pixels.contiguous()), guide(inpainter, as_decoded)
    assert np.array_equal(images(plain), images(found))
    assert [one.losses for one in plain] == [one.losses for one in found]


def test_the_global_generator_is_left_alone(inpainter, pixels):
    before = torch.get_rng_state()
    guide(inpainter, pixels)
    assert torch.equal(before, torch.get_rng_state())


# what is recorded, and when it ends


def test_records_losses_and_energies_of_the_pictures(inpainter, pixels):
    classifier = SmallClassifier()
    for row, rendered in enumerate(guide(inpainter, pixels, classifier=classifier)):
        assert len(rendered.losses) == len(rendered.energies) == GENTLE.rounds
        for loss, value in zip(rendered.losses, rendered.energies, strict=True):
            assert loss == pytest.approx(max(GENTLE.target - value, 0) ** 2, rel=1e-4)
        source = energy(classifier.logits(pixels[row : row + 1])).item()
        assert rendered.source_energy == pytest.approx(source, rel=1e-5)
        shown = torch.from_numpy(rendered.image).permute(2, 0, 1)[None] / 255
        final = energy(classifier.logits(shown)).item()
        assert rendered.energies[-1] == pytest.approx(final, abs=0.02)  # rounded to bytes
        assert rendered.image.shape == (32, 32, 3)
        assert rendered.image.dtype == np.uint8
        assert rendered.stop == "rounds"


def test_an_image_on_target_is_left_alone(inpainter, pixels):
    full = guide(inpainter, pixels, replace(GENTLE, rounds=4, step_size=0.1))
    # between the two images' energies of the first round, so that one stops there
    reached, short = sorted(range(2), key=lambda row: -full[row].energies[0])
    target = (full[reached].energies[0] + full[short].energies[0]) / 2
    options = replace(GENTLE, rounds=4, step_size=0.1, target=target, stop_at_target=True)
    stopped = guide(inpainter, pixels, options)
    running = guide(inpainter, pixels, replace(options, stop_at_target=False))
    assert stopped[reached].stop == "target"
    assert stopped[reached].losses == (0.0,)
    assert len(stopped[short].losses) > 1
    assert np.abs(images(stopped).astype(int) - images(running)).max() <= 1


def test_ends_when_every_image_is_on_target(inpainter, pixels):
    calls = []
    rendered = guided_inpainting(
        inpainter,
        SmallClassifier(),
        pixels,
        PROMPTS,
        replace(GENTLE, target=-1e3, stop_at_target=True),
        (1, 2),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 3)]
    assert [one.stop for one in rendered] == ["target", "target"]


def test_tells_its_progress(inpainter, pixels):
    calls = []
    guided_inpainting(
        inpainter,
        SmallClassifier(),
        pixels,
        PROMPTS,
        GENTLE,
        (1, 2),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_renormalising_keeps_the_deviation_of_the_noise(inpainter, pixels, monkeypatch):
    deviations = []
    original = Inpainter.denoise

    def recorded(self, image_latents, noise, *rest):
        deviations.append(noise.std(dim=(1, 2, 3)))
        return original(self, image_latents, noise, *rest)

    monkeypatch.setattr(Inpainter, "denoise", recorded)
    guide(inpainter, pixels, replace(GENTLE, step_size=2000.0, renormalise=False))
    free = list(deviations)
    deviations.clear()
    guide(inpainter, pixels, replace(GENTLE, step_size=2000.0, renormalise=True))
    assert (free[2] - free[0]).abs().min() > 0.01
    torch.testing.assert_close(deviations[2], deviations[0])


def test_conditioning_is_made_once_for_all_rounds(inpainter, pixels, monkeypatch):
    calls = []
    for name in ("condition", "encode", "draw_noise"):
        original = getattr(Inpainter, name)

        def counted(self, *arguments, _name=name, _original=original):
            calls.append(_name)
            return _original(self, *arguments)

        monkeypatch.setattr(Inpainter, name, counted)
    guide(inpainter, pixels, replace(GENTLE, rounds=4))
    assert calls.count("condition") == calls.count("encode") == 1
    assert calls.count("draw_noise") == 3  # the noise, and one for each posterior


def test_msp_guides_nothing_and_renders_the_last_round_alone(inpainter, pixels, monkeypatch):
    rendered, original = [], Inpainter.denoise

    def counted(self, *rest):
        rendered.append(len(rest[0]))
        return original(self, *rest)

    monkeypatch.setattr(Inpainter, "denoise", counted)
    by_msp = guide(inpainter, pixels, replace(GENTLE, objective="msp", step_size=1e6))
    assert rendered == [2]
    plain = guide(inpainter, pixels, replace(GENTLE, step_size=0.0, rounds=1))
    assert [a.image.tobytes() for a in by_msp] == [b.image.tobytes() for b in plain]
    assert all(len(one.losses) == 1 for one in by_msp)


def test_the_grey_image_is_drawn_anew_in_each_round_only_if_asked(inpainter, pixels, monkeypatch):
    seen, original = [], Inpainter.denoise

    def recorded(self, latents, noise, conditioning, *rest):
        seen.append(conditioning.masked_latents.clone())
        return original(self, latents, noise, conditioning, *rest)

    monkeypatch.setattr(Inpainter, "denoise", recorded)
    still = replace(GENTLE, step_size=0.0, rounds=3)
    guide(inpainter, pixels, still)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    once = seen[0]
    seen.clear()
    anew = guide(inpainter, pixels, replace(still, redraw_grey=True))
    assert torch.equal(seen[0], once)  # the first draw is the same
    assert not torch.equal(seen[1], seen[0])
    assert not torch.equal(seen[2], seen[1])
    assert not torch.equal(seen[1][0], seen[1][1])  # each image has its own
    torch.testing.assert_close(seen[2].mean((1, 2, 3)), once.mean((1, 2, 3)), atol=0.2, rtol=0)
    again = guide(inpainter, pixels, replace(still, redraw_grey=True))
    assert [a.image.tobytes() for a in anew] == [b.image.tobytes() for b in again]
    alone = guide(
        inpainter,
        pixels[1:],
        replace(still, redraw_grey=True),
        seeds=(2,),
        prompts=PROMPTS[1:],
    )
    difference = np.abs(alone[0].image.astype(int) - anew[1].image.astype(int))
    assert difference.max() <= 1  # kernels round differently in another batch
    by_msp = guide(inpainter, pixels, replace(still, redraw_grey=True, objective="msp"))
    assert [a.image.tobytes() for a in by_msp] == [b.image.tobytes() for b in anew]


# what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, r"guidance\.rounds"),
        ({"temperature": 0.0}, r"guidance\.temperature"),
        ({"objective": "energie"}, "not one of energy, uniformity, margin"),
        ({"strength": 0.0}, "strength"),
    ],
)
def test_refuses_settings_out_of_range(inpainter, pixels, options, message):
    with pytest.raises(InputError, match=message):
        guide(inpainter, pixels, replace(GENTLE, **options))


def test_refuses_counts_that_do_not_fit(inpainter, pixels):
    with pytest.raises(InputError, match="2 images, 2 prompts and 3 seeds"):
        guide(inpainter, pixels, seeds=(1, 2, 3))


def test_refuses_a_prompt_that_is_too_long(inpainter, pixels):
    with pytest.raises(InputError, match="the text tower 77"):
        guide(inpainter, pixels, prompts=["cat", "cat " * 90])


def test_says_so_when_the_loss_is_not_finite(inpainter, pixels):
    class Broken(SmallClassifier):
        def logits(self, pixels):
            return functional.pad(super().logits(pixels), (0, 1), value=float("nan"))

    with pytest.raises(InputError, match=r"round 1 .* not finite"):
        guide(inpainter, pixels, classifier=Broken())


def test_of_nothing_comes_nothing(inpainter):
    assert guide(inpainter, torch.zeros(0, 3, 32, 32), seeds=(), prompts=[]) == []

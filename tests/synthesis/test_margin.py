"""The encoder's margin as the guide: the score it is, its gradient, its boundary, whole runs."""

from __future__ import annotations

import os
import signal
import tomllib
from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

import tiny
from bundling import CLASSES, change_spec, tiny_bundle
from small_run import contents, run
from synood import OODDetector, scores
from synood.cli.app import main
from synood.errors import InputError
from synood.files import read_jsonl
from synood.models.bundles import load_bundle
from synood.models.clip import ClipEncoder
from synood.models.guide import MarginGuide
from synood.models.inpainting import Inpainter
from synood.pipeline.rundir.selection import SelectedImage
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.stages.synthesize import synthesis_requests
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting
from synood.synthesis.objectives import margin_energy, margin_hinge

pytestmark = pytest.mark.numerical

TEMPERATURE = 0.1
MARGIN = "guidance.objective=margin"
GUIDED = (MARGIN, "guidance.target_quantile=0.9", "guidance.step_size=300")


class PlainEncoder:
    """A random convolution in double precision; a margin asks an encoder for no more than this."""

    dim = 6

    def __init__(self):
        with tiny.seeded(3):
            self.network = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.SiLU(), torch.nn.Flatten(),
                torch.nn.Linear(8 * 10 * 10, self.dim),
            ).double()  # fmt: skip

    def encode_pixels(self, pixels):
        return self.network(pixels.double() * 2 - 1)


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return ClipEncoder.from_pretrained(tiny.tiny_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    return tiny.tiny_inpainting(tmp_path_factory.mktemp("paint"))


@pytest.fixture(scope="module")
def whole(bundle, images, tmp_path_factory):
    """One whole run that others are compared with; nobody may write to it."""
    out = tmp_path_factory.mktemp("runs") / "margin"
    run(images, bundle, out, *GUIDED)
    return out


# the objective


def test_margin_by_hand():
    masses = torch.tensor([[log(8), log(2)], [log(2), log(8)], [0.0, 0.0]])
    torch.testing.assert_close(margin_energy(masses), torch.tensor([-log(4), log(4), 0.0]))
    hinge = margin_hinge(masses, 1.0)
    torch.testing.assert_close(hinge, torch.tensor([(1 + log(4)) ** 2, 0.0, 1.0]))


@settings(max_examples=60)
@given(
    side=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    target=st.floats(-20, 20),
    shift=st.floats(-30, 30),
)
def test_the_hinge_is_zero_from_the_boundary_on_and_pushes_no_farther(side, target, shift):
    masses = torch.tensor([side], dtype=torch.float64, requires_grad=True)
    loss = margin_hinge(masses, target)
    (gradient,) = torch.autograd.grad(loss.sum(), masses)
    value = margin_energy(masses).item()
    if value >= target:
        assert loss.item() == 0
        assert not gradient.any()
    else:
        assert loss.item() == pytest.approx((target - value) ** 2)
        ours, others = gradient[0].tolist()
        assert ours == -others >= 0  # a step takes mass off the class names
        step = (masses - 0.25 * gradient).detach()  # half of the way to the boundary
        assert margin_energy(step).item() == pytest.approx(target)
    moved = margin_hinge(masses + shift, target).item()
    assert moved == pytest.approx(loss.item(), rel=1e-6, abs=1e-9)


def test_other_logits_than_two_are_no_margin():
    with pytest.raises(ValueError, match="expected 2"):
        margin_energy(torch.zeros(1, 3))


# the guide


@pytest.mark.parametrize("kind", ["clip", "mini"])
def test_the_guides_two_logits_are_the_ungrouped_score(kind, clip):
    encoder = clip if kind == "clip" else load_bundle("mini").encoder()
    shape = (3, encoder.image_size, encoder.image_size, 3)
    pictures = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    features = encoder.encode_images([Image.fromarray(picture) for picture in pictures])
    classes, negatives = unit_rows(4, encoder.dim), unit_rows(9, encoder.dim, seed=1)
    guide = MarginGuide(encoder, classes, negatives, TEMPERATURE)
    pixels = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    energies = margin_energy(guide.logits(pixels))
    cosines = (scores.cosine_similarity(features, side) for side in (classes, negatives))
    expected = scores.neglabel(*cosines, temperature=TEMPERATURE, groups=1)
    np.testing.assert_allclose(torch.sigmoid(-energies.detach()), expected, rtol=1e-3)
    (gradient,) = torch.autograd.grad(energies.sum(), pixels)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().amax(dim=(1, 2, 3)).min() > 0


def test_the_gradient_of_the_margin_is_that_of_its_formula(clip):
    """Straight-line twin on a real tiny CLIP: one softmax over all labels, its log odds."""
    classes, negatives = unit_rows(4, clip.dim), unit_rows(9, clip.dim, seed=1)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    pixels.requires_grad_()
    guide = MarginGuide(clip, classes, negatives, TEMPERATURE)
    (found,) = torch.autograd.grad(margin_hinge(guide.logits(pixels), 50.0).sum(), pixels)

    features = clip.encode_pixels(pixels)
    features = features / features.norm(dim=1, keepdim=True)
    everything = torch.from_numpy(np.concatenate([classes, negatives]))
    share = torch.softmax(features @ everything.T / TEMPERATURE, dim=1)[:, :4].sum(1)
    (expected,) = torch.autograd.grad(((50.0 + torch.logit(share)) ** 2).sum(), pixels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_step_is_the_gradient_through_decoder_and_encoder(painter):
    """The noise after one round, read off the in-painter, against central differences."""
    inpainter = Inpainter.from_pretrained(painter, dtype=torch.float64)
    guide = MarginGuide(PlainEncoder(), unit_rows(4, 6), unit_rows(9, 6, seed=1), TEMPERATURE)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    options = GuidanceSettings(
        num_inference_steps=4, objective="margin", target=30.0, rounds=2, step_size=0.25
    )
    noises, denoised, original = [], [], inpainter.denoise

    def recorded(latents, noise, *rest):
        noises.append(noise)
        denoised.append(original(latents, noise, *rest))
        return denoised[-1]

    inpainter.denoise = recorded
    guided_inpainting(inpainter, guide, pixels, ["a cat", "a tree"], options, (1, 2))
    stepped = (noises[0] - noises[1]) / options.step_size

    def loss(latents):
        with torch.no_grad():
            return margin_hinge(guide.logits(inpainter.decode(latents)), options.target)

    for place in (0, 7, 19, 40):
        nudge = torch.zeros_like(stepped[0]).flatten()
        nudge[place] = 1e-5
        nudge = nudge.view_as(stepped[0])
        slope = (loss(denoised[0] + nudge) - loss(denoised[0] - nudge)) / 2e-5
        torch.testing.assert_close(stepped.flatten(1)[:, place], slope, rtol=1e-4, atol=1e-6)
    assert functional.mse_loss(stepped, torch.zeros_like(stepped)) > 0


def test_a_picture_at_the_boundary_is_left_alone(painter):
    """`stop_at_target` ends where the margin is met, with the picture that met it."""
    inpainter = Inpainter.from_pretrained(painter)
    guide = MarginGuide(PlainEncoder(), unit_rows(4, 6), unit_rows(9, 6, seed=1), 1.0)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    options = GuidanceSettings(
        num_inference_steps=4, objective="margin", target=5.0, rounds=4, step_size=3.0
    )

    def guided(target, **more):
        chosen = replace(options, target=target, **more)
        return guided_inpainting(inpainter, guide, pixels, ["a cat", "a tree"], chosen, (1, 2))

    free = guided(5.0)
    assert all(list(one.energies) == sorted(one.energies) for one in free)
    boundary = (free[0].energies[0] + free[0].energies[1]) / 2
    held = guided(boundary, step_size=30.0, stop_at_target=True)[0]
    assert held.stop == "target"
    assert held.losses[-1] == 0
    assert 1 <= len(held.energies) < 4
    assert held.energies[-1] >= boundary
    on = guided(boundary, step_size=30.0)[0]
    assert on.energies[-1] == pytest.approx(held.energies[-1], rel=1e-5)
    assert np.abs(on.image.astype(int) - held.image).max() <= 1


def test_labels_of_another_encoder_are_refused(clip):
    with pytest.raises(InputError, match="16 numbers"):
        MarginGuide(clip, unit_rows(4, 7), unit_rows(9, 7), TEMPERATURE)


# whole runs


def log_odds(features, class_features, negative_features, temperature):
    """Mass on the negatives against that on the class names, in plain NumPy."""
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    masses = [
        np.exp((features @ side.T).astype(np.float64) / temperature).sum(axis=1)
        for side in (class_features, negative_features)
    ]
    return np.log(masses[1] / masses[0])


def test_a_run_records_the_log_odds_of_its_pictures(whole, bundle, images):
    """From the files that the run left, and the encoder; the target is their own quantile."""
    encoder = load_bundle(bundle).encoder()
    detector = OODDetector.from_pretrained(whole / "detector")
    classes = encoder.encode_texts([f"a photo of a {name}" for name in CLASSES])
    negatives = encoder.encode_texts(detector.negative_prompts)
    texts = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (classes, negatives)]
    temperature = detector.settings.temperature
    made = sorted(read_synthetic(whole / "synthesize").values(), key=lambda one: one.id)
    painted = encoder.encode_images([Image.open(one.path) for one in made])
    sources = [Image.open(images / one.id).convert("RGB").resize((32, 32)) for one in made]
    for features, stored in (
        (painted, [one.energies[-1] for one in made]),
        (encoder.encode_images(sources), [one.source_energy for one in made]),
    ):
        expected = log_odds(features, *texts, temperature)
        np.testing.assert_allclose(stored, expected, atol=0.05)  # pictures are rounded to bytes
    target = np.quantile([one.source_energy for one in made], 0.9)
    (told,) = [row["target"] for row in read_jsonl(whole / "events.jsonl") if "target" in row]
    assert told == pytest.approx(target, abs=1e-4)
    for one in made:
        for loss, value in zip(one.losses, one.energies, strict=True):
            assert loss == pytest.approx(max(0.0, target - value) ** 2, abs=1e-2)
    assert any(one.losses[0] > 0 and one.energies[1] > one.energies[0] for one in made)


def test_the_command_line_makes_a_detector_with_a_boundary_to_stop_at(bundle, images, tmp_path):
    words = ["guidance.num_inference_steps=4", "guidance.rounds=2", "guidance.step_size=300",
             "guidance.stop_at_target=true", "guidance.target_quantile=0.9",
             "mining.share=0.5", "select.per_class=2", MARGIN]  # fmt: skip
    given = [part for word in words for part in ("--set", word)]
    for out in ("one", "two"):
        command = ["fit", str(images), "--models", str(bundle), "--out", str(tmp_path / out)]
        assert main([*command, *given]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    made = read_synthetic(tmp_path / "one" / "synthesize").values()
    for one in made:
        assert (one.stop == "target") == (one.losses[-1] == 0)
    record = tomllib.loads((tmp_path / "one" / "run.toml").read_text())
    assert record["recipe"]["guidance"]["objective"] == "margin"
    assert "margin" in record["models"]["classifier_used"]
    place = str(tmp_path / "pictures")
    assert main(["synthesize", str(tmp_path / "one"), "--export", place]) == 0
    assert "guided by the encoder's margin" in (tmp_path / "pictures" / "README.md").read_text()
    detector = OODDetector.from_pretrained(tmp_path / "one" / "detector")
    assert len(detector.score([Image.open(one.path) for one in made])) == len(made)


def test_killed_while_painting_and_run_again_gives_the_same_bytes(
    whole, bundle, images, tmp_path, monkeypatch
):
    out = tmp_path / "killed"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked child must not wait for threads of its parent

    def kill(stage, done, total, message):
        if (stage, done) == ("synthesize", 4):
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("synood.pipeline.rundir.shards.SHARD", 2)
    if os.fork() == 0:
        run(images, bundle, out, *GUIDED, progress=kill)
        os._exit(0)
    _, status = os.wait()
    assert os.WIFSIGNALED(status)
    assert 0 < len(read_synthetic(out / "synthesize")) < 6
    run(images, bundle, out, *GUIDED)
    again = tmp_path / "again"
    run(images, bundle, again, *GUIDED)
    torch.set_num_threads(threads)
    assert contents(out) == contents(again)
    assert {one.stop for one in read_synthetic(whole / "synthesize").values()} == {"rounds"}


def test_what_the_margin_is_made_of_paints_anew_under_the_margin_alone(bundle, images, tmp_path):
    for objective, anew in (("margin", True), ("energy", False)):
        out, chosen = tmp_path / objective, f"guidance.objective={objective}"
        seen = []
        for changed in ((), ("mining.share=0.9",), ("score.temperature=0.05",)):
            run(images, bundle, out, chosen, *changed)
            seen.append(frozenset(read_synthetic(out / "synthesize")))
        assert len(set(seen)) == (3 if anew else 1)


def test_no_probe_is_trained_where_the_margin_guides(images, tmp_path):
    place = tiny_bundle(tmp_path / "bundle", inpainter=True)
    change_spec(place, classifier=None, files=None)
    run(images, place, tmp_path / "out", MARGIN)
    uses = {use for row in read_jsonl(tmp_path / "out" / "select.jsonl") for use in row["uses"]}
    assert "probe" not in uses
    assert (tmp_path / "out" / "detector").is_dir()


def test_a_temperature_of_the_classifier_is_refused_beside_the_margin(bundle, images, tmp_path):
    with pytest.raises(InputError, match=r"guidance\.temperature"):
        run(images, bundle, tmp_path / "out", MARGIN, "guidance.temperature=2.0")
    assert not (tmp_path / "out").exists()


def test_orders_of_the_other_objectives_are_stamped_as_they_were(tmp_path):
    """What earlier versions have painted is found again, and not painted anew."""
    picture = SelectedImage("cat/0.png", tmp_path, "cat", "ab" * 32, 1.0, ("tune",))
    stamps = [
        synthesis_requests([picture], {"cat/0.png": "a photo"}, 0, chosen, ("painter", "guide"))[
            0
        ].inputs
        for chosen in (GuidanceSettings(), GuidanceSettings(target_quantile=0.99))
    ]
    assert stamps == ["43ce09929bc1b702", "bce0a1f8490979b5"]

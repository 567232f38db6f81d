"""The trainers of the mini in-painter: they learn, resume exactly, and write what others load."""

import json
import logging
import re

import numpy as np
import pytest
import torch

from synood.errors import InputError
from tools.mini.contact_sheet import contact_sheet
from tools.mini.painter import PainterSettings, StillPool, build_painter, load_vae
from tools.mini.tokenizer import build_tokenizer, merges_of, words_of
from tools.mini.train_painter import train_painter
from tools.mini.train_vae import VaeSettings, build_vae, export, psnr, standardise, train_vae
from tools.mini.training import LoopSettings, Randomness, Run, to_signed, to_uint8

CPU = torch.device("cpu")
VAE = VaeSettings(widths=(8, 8, 16), groups=4, image_size=32)
PAINTER = PainterSettings(
    widths=(8, 16),
    groups=4,
    heads=2,
    text_width=16,
    text_layers=1,
    max_length=12,
    latent_size=8,
    sheet=2,
)


class Shapes:
    """Red, green or blue squares on grey, 32 px: a world of three words."""

    def painter_batch(self, rng, n):
        images = np.full((n, 32, 32, 3), 128, np.uint8)
        channels = rng.integers(0, 3, n)
        for image, channel, (top, left) in zip(
            images, channels, rng.integers(2, 14, (n, 2)), strict=True
        ):
            image[top : top + 14, left : left + 14] = 40
            image[top : top + 14, left : left + 14, channel] = 230
        return images, [f"a {('red', 'green', 'blue')[channel]} square" for channel in channels]

    scene_batch = painter_batch

    def painter_captions(self):
        return ["a red square", "a green square", "a blue square"]


def vae_run(tmp_path, steps, **changes):
    torch.manual_seed(0)
    settings = LoopSettings(
        **{
            "steps": steps,
            "learning_rate": 3e-3,
            "warmup": 3,
            "cooldown": 0,
            "seed": 1,
            "bf16": False,
            **changes,
        }
    )
    modules = torch.nn.ModuleDict({"vae": build_vae(VAE)})
    return Run(modules, settings, tmp_path / "run.state", {"model": "vae"})


def painter_run(tmp_path, vae, steps, **changes):
    torch.manual_seed(0)
    painter = build_painter(vae, Shapes().painter_captions(), tmp_path / "words", PAINTER)
    modules = torch.nn.ModuleDict({"unet": painter.unet, "text_encoder": painter.text_encoder})
    settings = LoopSettings(
        **{
            "steps": steps,
            "learning_rate": 2e-3,
            "warmup": 3,
            "cooldown": 0,
            "bf16": False,
            **changes,
        }
    )
    return painter, Run(modules, settings, tmp_path / "run.state", {"model": "painter"})


def losses(run, loss_of, count):
    return [run._one_step(loss_of) for _ in range(count)]


def logged_losses(caplog):
    return [float(found) for found in re.findall(r"loss (\S+)", caplog.text)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny VAE and painter, trained a few steps and written as they are shipped."""
    folder = tmp_path_factory.mktemp("trained")
    train_vae(Shapes(), vae_run(folder / "v", 25), VAE, 8, folder / "vae")
    painter, run = painter_run(folder / "p", load_vae(folder / "vae", CPU), 12)
    train_painter(Shapes(), painter, run, 8, folder)
    return folder


def test_a_few_steps_make_the_autoencoder_better(tmp_path, caplog):
    pixels = to_signed(Shapes().painter_batch(np.random.default_rng(5), 16)[0], CPU)
    run = vae_run(tmp_path, 40, log_steps=10)
    before = psnr(run.modules["vae"], pixels).mean()
    with caplog.at_level(logging.INFO):
        train_vae(Shapes(), run, VAE, 8, tmp_path / "vae")
    found = logged_losses(caplog)
    assert len(found) == 4
    assert found[-1] < 0.8 * found[0]
    assert psnr(run.averages["vae"], pixels).mean() > before + 2


def test_a_few_steps_make_the_painter_better(tmp_path, trained, caplog):
    painter, run = painter_run(tmp_path, load_vae(trained / "vae", CPU), 60, log_steps=15)
    with caplog.at_level(logging.INFO):
        train_painter(Shapes(), painter, run, 8, tmp_path)
    found = logged_losses(caplog)
    assert found[-1] < 0.9 * found[0]


@pytest.mark.parametrize("kind", ["vae", "painter"])
def test_a_killed_and_resumed_run_ends_with_the_same_weights(tmp_path, trained, kind):
    def train(folder, stop_after=None):
        if kind == "vae":
            run = vae_run(folder, 8, save_minutes=0)
            arguments = (Shapes(), run, VAE, 4, folder / "vae")
        else:
            painter, run = painter_run(folder, load_vae(trained / "vae", CPU), 8, save_minutes=0)
            arguments = (Shapes(), painter, run, 4, folder)
        one_step = run._one_step

        def killed(loss_of):
            if run.step == stop_after:
                raise KeyboardInterrupt
            return one_step(loss_of)

        run._one_step = killed
        (train_vae if kind == "vae" else train_painter)(*arguments)
        return run

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", stop_after=5)
    resumed = train(tmp_path / "killed")
    assert resumed.step == whole.step == 8
    for part in ("modules", "averages"):
        expected = getattr(whole, part).state_dict()
        for name, value in getattr(resumed, part).state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_a_state_of_another_model_is_refused(tmp_path):
    run = vae_run(tmp_path, 1)
    run.save()
    with pytest.raises(InputError, match=r"run\.state: holds a run of another model"):
        Run(run.modules, run.settings, run.state_file, {"model": "another"})


def test_the_budget_is_of_minutes_or_of_steps(tmp_path):
    run = vae_run(tmp_path, None, minutes=10.0, cooldown=0.5, warmup=1)
    assert (run.progress(), run.learning_rate()) == (0.0, 3e-3)
    run.seconds = 450.0
    assert run.progress() == 0.75
    assert run.learning_rate() == pytest.approx(1.5e-3)
    run.seconds = 6000.0
    assert (run.progress(), run.learning_rate()) == (1.0, 0.0)


def test_the_average_follows_the_weights(tmp_path):
    run = vae_run(tmp_path, 1, average_decay=0.5)
    with torch.no_grad():
        for parameter in run.modules.parameters():
            parameter.fill_(2.0)
        for parameter in run.averages.parameters():
            parameter.fill_(0.0)
    run.step = 1000
    run._average()
    run._average()
    assert all(bool((parameter == 1.5).all()) for parameter in run.averages.parameters())


def test_standardised_latents_rebuild_the_same_picture():
    torch.manual_seed(0)
    vae = build_vae(VAE)
    pixels = to_signed(Shapes().painter_batch(np.random.default_rng(0), 16)[0], CPU)
    with torch.no_grad():
        before = vae.encode(pixels).latent_dist
        rebuilt = vae.decode(before.mean).sample
        standardise(vae, pixels)
        after = vae.encode(pixels).latent_dist
        assert torch.allclose(vae.decode(after.mean).sample, rebuilt, atol=1e-4)
    assert torch.allclose(after.mean.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(after.mean.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4)
    spread = before.mean.std(dim=(0, 2, 3))[None, :, None, None]
    assert torch.allclose(after.std, before.std / spread, rtol=1e-3)


def test_the_written_scaling_factor_gives_unit_latents(tmp_path):
    torch.manual_seed(0)
    pixels = to_signed(Shapes().painter_batch(np.random.default_rng(0), 32)[0], CPU)
    export(build_vae(VAE), pixels, tmp_path / "vae")
    vae = load_vae(tmp_path / "vae", CPU)
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    assert float(latents.std()) == pytest.approx(1.0, abs=0.02)


def test_the_pipeline_loads_in_diffusers_and_paints(trained):
    from diffusers import StableDiffusionInpaintPipeline

    index = json.loads((trained / "painter/model_index.json").read_text())
    assert index["safety_checker"] == [None, None]
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(
        str(trained / "painter"), torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet.config.in_channels == 9
    assert pipeline.tokenizer("a red square")["input_ids"][0] == pipeline.tokenizer.bos_token_id
    painted = pipeline(
        "a red square", torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32), height=32, width=32,
        num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="np",
    ).images  # fmt: skip
    assert painted.shape == (1, 32, 32, 3)
    assert np.isfinite(painted).all()


def test_the_pipeline_is_written_in_half_precision_with_the_classic_tokenizer(trained):
    from safetensors import safe_open

    for part in ("unet", "vae"):
        path = trained / "painter" / part / "diffusion_pytorch_model.safetensors"
        with safe_open(path, "pt") as tensors:
            assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.float16}  # noqa: SIM118
    names = {path.name for path in (trained / "painter/tokenizer").iterdir()}
    assert {"vocab.json", "merges.txt"} <= names
    assert list(trained.glob("sheet-*.png"))


def test_a_step_draws_from_a_pool_that_its_number_alone_decides(trained, tmp_path):
    painter, _ = painter_run(tmp_path, load_vae(trained / "vae", CPU), 1)
    early = StillPool(Shapes(), painter, seed=3, size=16, uses=2)
    late = StillPool(Shapes(), painter, seed=3, size=16, uses=2)
    for step in range(9):
        walked = early.batch(step, 8, np.random.default_rng(step))
    jumped = late.batch(8, 8, np.random.default_rng(8))
    assert np.array_equal(walked.images, jumped.images)
    assert torch.equal(walked.latents, jumped.latents)
    assert walked.captions == jumped.captions


def test_holes_hide_what_is_to_be_painted_and_show_the_rest(trained, tmp_path):
    painter, _ = painter_run(tmp_path, load_vae(trained / "vae", CPU), 1)
    images, _ = Shapes().painter_batch(np.random.default_rng(0), 64)
    mask, masked = painter._holes(images, Randomness.of(0, 4))
    holed = mask.mean(dim=(1, 2, 3)) < 1
    assert 2 <= int(holed.sum()) <= 25
    assert torch.equal(masked[~holed], painter.blank.expand(int((~holed).sum()), -1, -1, -1))
    assert not torch.allclose(masked[holed], painter.blank, atol=0.05)


def test_every_word_of_the_world_is_one_token_and_other_text_still_comes_back(tmp_path):
    captions = [f"A photo only remain {w}." for w in ("catalogue", "cat", "at", "log")]
    tokenizer = build_tokenizer([*captions, "ta", "alog"], tmp_path)
    for caption in captions:
        assert len(tokenizer.tokenize(caption)) == 6
    assert tokenizer.decode(tokenizer("zebra crossing!").input_ids, skip_special_tokens=True) == (
        "zebra crossing !"
    )
    assert tokenizer("").input_ids == [tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert tokenizer.unk_token_id not in tokenizer("überçal 漢 7").input_ids[1:-1]


def test_merges_join_words_whose_parts_overlap():
    words = words_of(["The cat", "catalogue; at a log", "alogue tat"])
    assert words == ["a", "alogue", "at", "cat", "catalogue", "log", "tat", "the"]
    assert merges_of(words) == merges_of(words)
    assert len(set(merges_of(words))) == len(merges_of(words))


def test_pixels_go_to_tensors_and_back():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3) * 2
    assert np.array_equal(to_uint8(to_signed(images, CPU)), images)


def test_a_contact_sheet_shows_every_picture(tmp_path):
    from PIL import Image

    images = np.stack([np.full((16, 16, 3), 20 * index, np.uint8) for index in range(1, 10)])
    contact_sheet([("first", images), ("second", images)], [f"n {i}" for i in range(9)],
                  tmp_path / "sheet.png")  # fmt: skip
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    for index in range(1, 10):
        assert ((sheet == 20 * index).all(axis=2).sum()) >= 2 * 32 * 32

"""Models of random weights, made on the device itself: at full size, or tiny for a processor.

At full size nothing is drawn or read on the processor but the vocabulary, so a model of eight
billion weights is there in seconds. The last layer of each denoising network is zero: a random one
would send the latents out of range, and what it computes takes as long.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import full_size
import tiny
import tiny_flow
from synood.models._autoencoder import Autoencoder
from synood.models._chat_prompting import ChatPromptEncoder, ChatTokenizer
from synood.models._diffusers_layout import Layout
from synood.models._prompting import PromptEncoder
from synood.models.classifier import TransformersClassifier
from synood.models.clip import ClipEncoder
from synood.models.flow import FlowInpainter
from synood.models.image_processors import load_preprocess
from synood.models.inpainting import Inpainter
from synood.models.precision import chosen_dtype
from synood.models.tokens import load_tokenizer
from synood.settings import GuidanceSettings

if TYPE_CHECKING:
    from synood.models.classifier import Classifier
    from synood.models.latents import LatentInpainter

DIFFUSION = GuidanceSettings()  # the paper's
FLOW = replace(DIFFUSION, num_inference_steps=8, guidance_scale=0.0)  # those of a distilled model
SIDE = 512  # pixels, at full size


@dataclass(frozen=True)
class Painting:
    """A painter, what guides it, and the settings that fit it."""

    title: str
    inpainter: LatentInpainter
    guide: Classifier
    settings: GuidanceSettings
    last: int  # how many steps are guided where not all are


def stable_diffusion(device: str, toy: bool, folder: Path, pixels: int = SIDE) -> Painting:
    """Stable Diffusion 2 for in-painting: 866 million weights and a tower of 340 million."""
    guide = classifier(device, toy, folder)
    if toy:
        place = tiny.tiny_inpainting(folder / "painter", "PNDMScheduler")
        return Painting(
            "Stable Diffusion, tiny", Inpainter.from_pretrained(place, device), guide, DIFFUSION, 4
        )
    dtype = chosen_dtype("auto", device)
    place = folder / "painter"
    full_size.tokenizer_of_clip(place / "tokenizer", pad="!")
    with full_size.one_copy():
        tower = full_size.filled(full_size.stable_diffusion_2_text, dtype, device)
    unet = full_size.filled(full_size.stable_diffusion_2_unet, dtype, device)
    torch.nn.init.zeros_(unet.conv_out.weight)
    vocabulary = load_tokenizer(place, tower.config.vocab_size, subfolder="tokenizer")
    tiny.tiny_scheduler(place / "scheduler", "PNDMScheduler", "epsilon", {})
    inpainter = Inpainter(
        network=unet.requires_grad_(False),
        autoencoder=_autoencoder(device),
        prompter=PromptEncoder([(vocabulary, tower)], zeros_for_empty=False),
        scheduler=_scheduler("PNDMScheduler", place),
        layout=Layout(place, None, {}),
        side=pixels // 8,
    )
    return Painting("Stable Diffusion 2", inpainter, guide, DIFFUSION, 4)


def z_image(device: str, toy: bool, folder: Path, pixels: int = SIDE) -> Painting:
    """Z-Image-Turbo: a transformer of 6.2 billion weights, prompts read by Qwen3-4B."""
    guide = classifier(device, toy, folder)
    if toy:
        place = tiny_flow.tiny_zimage(folder / "painter")
        inpainter = FlowInpainter.from_pretrained(place, device, size=32)
        return Painting("Z-Image, tiny", inpainter, guide, FLOW, 2)
    dtype = chosen_dtype("auto", device)
    place = folder / "painter"
    tiny_flow.chat_tokenizer(place / "tokenizer")
    with full_size.one_copy():
        reader = full_size.filled(full_size.qwen3_4b, dtype, device)
    transformer = full_size.filled(full_size.z_image_transformer, dtype, device)
    for layer in transformer.all_final_layer.values():
        torch.nn.init.zeros_(layer.linear.weight)
    vocabulary = ChatTokenizer.from_pretrained(place, reader.config.vocab_size, None)
    autoencoder = _autoencoder(device, 16, scaling_factor=0.3611, shift_factor=0.1159)
    tiny_flow.flow_scheduler(place / "scheduler")
    inpainter = FlowInpainter(
        network=transformer.requires_grad_(False),
        autoencoder=autoencoder,
        prompter=ChatPromptEncoder(vocabulary, reader.requires_grad_(False)),
        scheduler=_scheduler("FlowMatchEulerDiscreteScheduler", place),
        layout=Layout(place, None, {}),
        side=pixels // 8,
    )
    return Painting("Z-Image-Turbo", inpainter, guide, FLOW, 2)


def classifier(device: str, toy: bool, folder: Path) -> Classifier:
    """ResNet-50 of 1,000 classes, which guides."""
    names = [f"class {number}" for number in range(7 if toy else 1000)]
    build = tiny.tiny_resnet if toy else full_size.resnet_50
    return TransformersClassifier.from_pretrained(build(folder / "guide", names), device)


def clip(device: str, toy: bool, folder: Path, dtype: torch.dtype) -> ClipEncoder:
    """CLIP ViT-B/16, 150 million weights."""
    if toy:
        return ClipEncoder.from_pretrained(tiny.tiny_clip(folder), device, dtype)
    full_size.clip_surroundings(folder)
    with full_size.one_copy():
        model = full_size.filled(full_size.clip_model, dtype, device).requires_grad_(False)
    vocabulary = load_tokenizer(folder, full_size.WORDS)
    return ClipEncoder(model, vocabulary, load_preprocess(folder), folder)


def _autoencoder(device: str, channels: int = 4, **scaling: float) -> Autoencoder:
    """In single precision, as elsewhere: gradients pass through it."""
    vae = full_size.filled(
        lambda: full_size.stable_diffusion_vae(channels, **scaling), torch.float32, device
    )
    return Autoencoder(vae.requires_grad_(False))


def _scheduler(name: str, place: Path) -> object:
    import diffusers

    return getattr(diffusers, name).from_pretrained(place, subfolder="scheduler")

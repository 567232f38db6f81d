"""What one guided image costs at full size: calls of the U-Net and the decoder, and operations.

Stable Diffusion 2 for in-painting at 512 x 512 with ResNet-50 as the guide, in the shapes of the
public checkpoints; no weights are needed, since operations follow from shapes alone. The calls are
those that the package makes, counted on a small model of random weights with the same settings.

    OMP_NUM_THREADS=1 PYTHONPATH=src python perf/painting_cost.py [--steps 20] [--strength 0.6]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import full_size
import tiny
from synood.models.classifier import TransformersClassifier
from synood.models.inpainting import Inpainter
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting

if TYPE_CHECKING:
    from collections.abc import Callable

UNET = {
    "sample_size": 64,
    "in_channels": 9,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
TERA = 1e12


@dataclass(frozen=True)
class Calls:
    """Calls for one image: of the U-Net (two with a prompt and without), and of the decoder."""

    unet: int
    decoder: int
    gradient: int


@dataclass(frozen=True)
class Operations:
    """Multiplications and additions of one call, in teraflops."""

    unet: float
    decoder: float
    gradient: float

    def of(self, calls: Calls) -> float:
        """Return those of an image."""
        return (
            self.unet * calls.unet + self.decoder * calls.decoder + self.gradient * calls.gradient
        )


def counted_operations() -> Operations:
    """Count the operations of each call at full size, on tensors without storage."""
    import diffusers
    from transformers import ResNetConfig, ResNetForImageClassification

    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**UNET).eval().requires_grad_(False)
        vae = full_size.stable_diffusion_vae().eval().requires_grad_(False)
        guide = ResNetForImageClassification(ResNetConfig(num_labels=1000)).eval()
        guide.requires_grad_(False)
        sample, text = torch.zeros(1, 9, 64, 64), torch.zeros(1, 77, 1024)
        latents = torch.zeros(1, 4, 64, 64, requires_grad=True)

    def judge() -> torch.Tensor:
        image = vae.decode(latents).sample
        logits: torch.Tensor = guide(torch.nn.functional.adaptive_avg_pool2d(image, 224)).logits
        return logits.sum()

    with torch.no_grad():
        denoising = _operations(lambda: unet(sample, 1, encoder_hidden_states=text))
        judging = _operations(judge)
    return Operations(denoising, judging, _operations(lambda: judge().backward()))


def _operations(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / TERA


def counted_calls(
    inpainter: Inpainter, guide: TransformersClassifier, settings: GuidanceSettings
) -> Calls:
    """Count the calls that the package makes for one image."""
    calls = {"unet": 0, "decoder": 0, "gradient": 0}
    decode, unet = inpainter.decode, inpainter._unet

    def noted(latents: torch.Tensor, *, recompute: bool = False) -> torch.Tensor:
        calls["gradient" if latents.requires_grad else "decoder"] += 1
        return decode(latents, recompute=recompute)

    def note(_: object, inputs: tuple[torch.Tensor, ...], __: object) -> None:
        calls["unet"] += len(inputs[0])

    inpainter.decode = noted  # type: ignore[method-assign]
    hook = unet.register_forward_hook(note)
    size = inpainter.image_size
    guided_inpainting(inpainter, guide, torch.full((1, 3, size, size), 0.5), ["cat"], settings, [0])
    hook.remove()
    inpainter.decode = decode  # type: ignore[method-assign]
    return Calls(**calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--strength", type=float, default=0.6)
    options = parser.parse_args()
    base = GuidanceSettings(
        num_inference_steps=options.steps, strength=options.strength, target=1e3
    )
    step = replace(base, method="step")
    ways = {
        "one rendering, unguided": base.unguided(),
        f"{base.rounds} rounds": base,
        "every step": step,
        "the last 4 steps": replace(step, guided_steps=4),
        "the last 2 steps": replace(step, guided_steps=2),
    }
    operations = counted_operations()
    print(f"one call: U-Net {operations.unet:.2f}, decoder and guide {operations.decoder:.2f}, ")
    print(f"decoder and guide with the gradient {operations.gradient:.2f} teraflops; an image:")
    with tempfile.TemporaryDirectory() as place:
        painter = tiny.tiny_inpainting(Path(place) / "paint", "PNDMScheduler")
        judge = tiny.tiny_resnet(Path(place) / "judge", ["a", "b"])
        inpainter = Inpainter.from_pretrained(painter)
        guide = TransformersClassifier.from_pretrained(judge)
        found = {name: counted_calls(inpainter, guide, how) for name, how in ways.items()}
    rounds = operations.of(found[f"{base.rounds} rounds"])
    print("| | U-Net | decoder | with gradient | teraflops | of the rounds' |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, calls in found.items():
        total = operations.of(calls)
        cells = (calls.unet, calls.decoder, calls.gradient, f"{total:.1f}", f"{total / rounds:.2f}")
        print(f"| {name} | {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()

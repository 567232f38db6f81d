"""What one guided image costs at full size: calls of the network and the decoder, and operations.

Stable Diffusion 2 for in-painting and Z-Image-Turbo, both at 512 x 512 with ResNet-50 as the guide,
in the shapes of the public checkpoints; no weights are needed, since operations follow from shapes
alone. The calls are those that the package makes, counted on small models of random weights with
the same settings.

    OMP_NUM_THREADS=1 PYTHONPATH=src python perf/painting_cost.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import full_size
import tiny
import tiny_flow
from synood.models.classifier import TransformersClassifier
from synood.models.flow import FlowInpainter
from synood.models.inpainting import Inpainter
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synood.models.latents import LatentInpainter

PROMPT = 40  # tokens of a prompt with the chat around it
TERA = 1e12
# the paper's, and those of a distilled model's card
DIFFUSION = GuidanceSettings(target=1e3)
FLOW = replace(DIFFUSION, num_inference_steps=8, guidance_scale=0.0)


@dataclass(frozen=True)
class Calls:
    """Calls for one image: of the network (two with a prompt and without), and of the decoder."""

    network: int
    decoder: int
    gradient: int


@dataclass(frozen=True)
class Operations:
    """Multiplications and additions of one call, in teraflops."""

    network: float
    decoder: float
    gradient: float

    def of(self, calls: Calls) -> float:
        """Return those of an image."""
        return (
            self.network * calls.network
            + self.decoder * calls.decoder
            + self.gradient * calls.gradient
        )


def diffusion_operations() -> float:
    """Count a call of Stable Diffusion 2's U-Net, on tensors without storage."""
    import diffusers

    with torch.device("meta"), torch.no_grad():
        unet = diffusers.UNet2DConditionModel(**full_size.STABLE_DIFFUSION_2).eval()
        sample, text = torch.zeros(1, 9, 64, 64), torch.zeros(1, 77, 1024)
        return _operations(lambda: unet(sample, 1, encoder_hidden_states=text))


def flow_operations() -> float:
    """Count a call of Z-Image's transformer."""
    import diffusers

    with torch.device("meta"), torch.no_grad():
        transformer = diffusers.ZImageTransformer2DModel().eval()
        sample, text = torch.zeros(16, 1, 64, 64), torch.zeros(PROMPT, 2560)
        return _operations(lambda: transformer([sample], torch.zeros(1), [text]))


def judging_operations(channels: int) -> tuple[float, float]:
    """Count a call of decoder and guide for latents of so many channels, and its gradient."""
    from transformers import ResNetConfig, ResNetForImageClassification

    with torch.device("meta"):
        vae = full_size.stable_diffusion_vae(channels).eval().requires_grad_(False)
        guide = ResNetForImageClassification(ResNetConfig(num_labels=1000)).eval()
        guide.requires_grad_(False)
        latents = torch.zeros(1, channels, 64, 64, requires_grad=True)

    def judge() -> torch.Tensor:
        image = vae.decode(latents).sample
        logits: torch.Tensor = guide(torch.nn.functional.adaptive_avg_pool2d(image, 224)).logits
        return logits.sum()

    with torch.no_grad():
        forward = _operations(judge)
    return forward, _operations(lambda: judge().backward())


def _operations(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / TERA


def counted_calls(
    inpainter: LatentInpainter,
    guide: TransformersClassifier,
    settings: GuidanceSettings,
) -> Calls:
    """Count the calls that the package makes for one image."""
    calls = {"network": 0, "decoder": 0, "gradient": 0}
    decode = inpainter.decode

    def noted(latents: torch.Tensor, *, recompute: bool = False) -> torch.Tensor:
        calls["gradient" if latents.requires_grad else "decoder"] += 1
        return decode(latents, recompute=recompute)

    def note(_: object, inputs: tuple[torch.Tensor, ...], __: object) -> None:
        calls["network"] += len(inputs[0])

    inpainter.decode = noted  # type: ignore[method-assign]
    hook = inpainter._network.register_forward_hook(note)
    size = inpainter.image_size
    guided_inpainting(inpainter, guide, torch.full((1, 3, size, size), 0.5), ["cat"], settings, [0])
    hook.remove()
    inpainter.decode = decode  # type: ignore[method-assign]
    return Calls(**calls)


def table(
    title: str,
    operations: Operations,
    count: Callable[[GuidanceSettings], Calls],
    base: GuidanceSettings,
    last: Sequence[int],
) -> str:
    """Return the cost of each way of guiding as Markdown."""
    step = replace(base, method="step")
    ways = {
        "one rendering, unguided": base.unguided(),
        f"{base.rounds} rounds": base,
        "every step": step,
        **{f"the last {steps} steps": replace(step, guided_steps=steps) for steps in last},
    }
    found = {name: count(how) for name, how in ways.items()}
    rounds = operations.of(found[f"{base.rounds} rounds"])
    lines = [
        f"{title}: a call {operations.network:.2f}, decoder and guide {operations.decoder:.2f}, "
        f"with the gradient {operations.gradient:.2f} teraflops",
        "| | network | decoder | with gradient | teraflops | of the rounds' |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, calls in found.items():
        total = operations.of(calls)
        cells = (calls.network, calls.decoder, calls.gradient, f"{total:.1f}")
        lines.append(f"| {name} | {' | '.join(map(str, cells))} | {total / rounds:.2f} |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        guide = TransformersClassifier.from_pretrained(tiny.tiny_resnet(root / "guide", ["a", "b"]))
        unet = Inpainter.from_pretrained(tiny.tiny_inpainting(root / "unet", "PNDMScheduler"))
        flow = FlowInpainter.from_pretrained(tiny_flow.tiny_zimage(root / "flow"), size=32)

        diffusion = Operations(diffusion_operations(), *judging_operations(4))
        print(
            table(
                "Stable Diffusion 2",
                diffusion,
                partial(counted_calls, unet, guide),
                DIFFUSION,
                (4, 2),
            )
        )
        transformer = Operations(flow_operations(), *judging_operations(16))
        print(table("Z-Image-Turbo", transformer, partial(counted_calls, flow, guide), FLOW, (2,)))


if __name__ == "__main__":
    main()

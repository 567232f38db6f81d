"""The cost of the gradient through Stable Diffusion's decoder and ResNet-50, computed in four ways.

Full-size architectures with random weights, one process per way, since peak memory is counted per
process. All ways give the same gradient (checked). Time is CPU time; memory is the peak above that
of the loaded models, printed with the estimate of `Inpainter.gradient_bytes`.

    OMP_NUM_THREADS=1 PYTHONPATH=src python perf/gradient_memory.py [--size 512]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import full_size
from synood.models._autoencoder import Autoencoder
from synood.models.memory import peak_memory
from synood.settings import GuidanceSettings
from synood.synthesis.guide_output import guide_output

WAYS = ("none", "plain", "slice", "checkpoint")
MEGABYTE = 1e6


class ResNet:
    """ResNet-50 on images downsampled by averaging."""

    def __init__(self) -> None:
        from transformers import ResNetConfig, ResNetForImageClassification

        with full_size.one_copy():
            model = full_size.filled(
                lambda: ResNetForImageClassification(ResNetConfig(num_labels=1000))
            )
        self._model = model.requires_grad_(False)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        inputs = torch.nn.functional.adaptive_avg_pool2d(pixels, 224)
        logits: torch.Tensor = self._model(inputs).logits
        return logits


def measure(way: str, size: int, images: int) -> dict[str, Any]:
    """Take the gradient once in this process; without one ("none") images go one by one."""
    vae = full_size.filled(full_size.stable_diffusion_vae).requires_grad_(False)
    decoder, classifier = Autoencoder(vae), ResNet()
    shape = (images, 4, size // 8, size // 8)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, start = peak_memory("cpu"), time.process_time()
    output = guide_output(
        decoder,  # type: ignore[arg-type] - it decodes, and no more is asked of it
        classifier,  # type: ignore[arg-type]
        latents,
        GuidanceSettings(target=100.0),
        "slice" if way == "none" else way,  # type: ignore[arg-type]
        differentiate=way != "none",
    )
    seconds, peak = time.process_time() - start, peak_memory("cpu") - before
    gradient = output.gradient
    return {
        "seconds": seconds,
        "peak": peak,
        "norm": None if gradient is None else float(gradient.double().norm()),
        "estimated": images * decoder.bytes_per_cell * (size // 8) ** 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options.size, options.images)))
        return
    print(f"{options.images} image(s) of {options.size} px, {torch.get_num_threads()} thread(s)")
    norms = []
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        norms += [found["norm"]] if found["norm"] else []
        print(
            f"{way:10} {found['peak'] / MEGABYTE:8.0f} MB {found['seconds']:7.1f} CPU s"
            f"   (plain, estimated: {found['estimated'] / MEGABYTE:.0f} MB)"
        )
    if max(norms) - min(norms) > 1e-4 * max(norms):
        raise SystemExit(f"the gradients differ: {norms}")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""A program: paint DIRECTORY's model so many pictures in little more memory than it has by now.

python tests/helpers/synthesize_in_little_memory.py DIRECTORY IMAGES
"""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path

import torch

from small_classifier import SmallClassifier
from synood.models.inpainting import Inpainter
from synood.settings import GuidanceSettings
from synood.synthesis.memory import PiecewiseSynthesis

SETTINGS = GuidanceSettings(num_inference_steps=2, rounds=2, strength=0.6)
ROOM = 60_000_000  # bytes


def main(directory: Path, batch: int) -> None:
    torch.set_num_threads(1)
    inpainter, classifier = Inpainter.from_pretrained(directory), SmallClassifier()
    size = inpainter.image_size
    pixels = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))

    def synthesize(images):
        synthesis = PiecewiseSynthesis(inpainter, classifier, SETTINGS)
        return synthesis.synthesize(pixels[:images].numpy(), ["cat"] * images, range(images))

    synthesize(1)  # libraries and their pools are there by then
    status = Path("/proc/self/status").read_text()
    taken = 1024 * int(re.search(r"VmSize:\s+(\d+)", status)[1])
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, resource.RLIM_INFINITY))
    images, notices = synthesize(batch)
    sys.stdout.write(json.dumps({"images": len(images), "notices": notices}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

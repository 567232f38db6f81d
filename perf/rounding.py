"""How much synthetic images change with the batch size and the number of threads.

Paints the same noise images with the mini bundle under the recipe `paper` and compares them with
those of batches of 4 on one thread. Noise is the worst case: its gradients are large.

    python perf/rounding.py
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from synood.models.bundles import load_bundle
from synood.pipeline.recipe import resolve_recipe
from synood.synthesis.guidance import Rendered, guided_inpainting

if TYPE_CHECKING:
    from collections.abc import Callable

THINGS = ("dog", "cat", "tree", "lamp")
WAYS = ((4, 1), (1, 1), (2, 1), (4, 2))  # batch size, threads


def painter() -> Callable[[int], list[Rendered]]:
    """Return what paints all images: (batch size) -> images, by number."""
    bundle = load_bundle("mini")
    inpainter, classifier = bundle.inpainter(), bundle.classifier()
    guidance = replace(resolve_recipe("paper", bundle.recipe_defaults).guidance, target=0.0)
    size = inpainter.image_size
    noise = np.random.default_rng(0).random((len(THINGS), 3, size, size), dtype=np.float32)
    pixels, prompts = torch.from_numpy(noise), [f"a photo of a {thing}" for thing in THINGS]

    def paint(batch_size: int) -> list[Rendered]:
        return [
            image
            for start in range(0, len(THINGS), batch_size)
            for image in guided_inpainting(
                inpainter,
                classifier,
                pixels[start : start + batch_size],
                prompts[start : start + batch_size],
                guidance,
                list(range(len(THINGS)))[start : start + batch_size],
            )
        ]

    return paint


def main() -> None:
    """Print a line for each batch size and number of threads."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    paint, first = painter(), None
    for batch_size, threads in WAYS:
        torch.set_num_threads(threads)
        begun = time.process_time()
        images = paint(batch_size)
        seconds = time.process_time() - begun
        first = first or images
        moved = [
            np.abs(one.image.astype(int) - other.image)
            for one, other in zip(images, first, strict=True)
        ]
        energy = max(
            abs(a - b)
            for one, other in zip(images, first, strict=True)
            for a, b in zip(one.energies, other.energies, strict=True)
        )
        same = sum(not difference.any() for difference in moved)
        print(
            f"batches of {batch_size}, {threads} threads: {same} of {len(moved)} the same bytes, "
            f"at most {max(d.max() for d in moved)} of 255, "
            f"{np.mean([d > 0 for d in moved]):.2%} of values, energies by {energy:.1e}, "
            f"{seconds:.1f} s of processor time",
            flush=True,
        )


if __name__ == "__main__":
    main()

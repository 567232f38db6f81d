"""Textual inversion: a vector in place of a word that makes a prompt mean an image.

What is learned depends on the image alone, not on its batch, so that it is learned once an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.models.contexts import ContextEncoder

    Floats = NDArray[np.float32]

PROMPT = "a photo of a"
END = "."
RATE, DECAY = 2e-2, 1e-2  # of AdamW, in InterNeg's and TINS's code
TOGETHER = 64  # images inverted at a time
SPREAD = 0.02  # of a vector drawn at the start


class Start(Protocol):
    """Where the inversion of an image begins."""

    def __call__(self, image: Floats) -> torch.Tensor:
        """Return the embeddings (n, W) of a prompt for an image (D,); the last one is learned."""


@dataclass(frozen=True)
class Inversion:
    """How an inversion is learned: steps, and the weight of the distance from `repelling`."""

    steps: int
    repelling_weight: float = 0.0


class Inverter:
    """Unit text features (B, D) of images (B, D), of which those seen before are remembered."""

    def __init__(
        self, encoder: ContextEncoder, settings: Inversion, start: Start, repelling: Floats
    ) -> None:
        self._encoder, self._settings, self._start = encoder, settings, start
        self._repelling = repelling  # (C, D) unit image features of the classes
        self._known: dict[bytes, Floats] = {}

    def __call__(self, images: Floats) -> Floats:
        """Invert unit image features (B, D)."""
        new = {image.tobytes(): image for image in images if image.tobytes() not in self._known}
        starts = {key: self._start(image) for key, image in new.items()}
        lengths: dict[int, list[bytes]] = {}
        for key, rows in starts.items():
            lengths.setdefault(len(rows), []).append(key)
        for keys in lengths.values():
            for first in range(0, len(keys), TOGETHER):
                some = keys[first : first + TOGETHER]
                learned = self._learn([new[key] for key in some], [starts[key] for key in some])
                self._known.update(zip(some, learned, strict=True))
        return np.stack([self._known[image.tobytes()] for image in images])

    def _learn(self, images: list[Floats], starts: list[torch.Tensor]) -> Floats:
        """Minimise 1 - cos(text, image) + weight * mean(1 + cos(text, class)) of each image."""
        import torch
        import torch.nn.functional as F

        aims = torch.from_numpy(np.stack(images))
        classes = torch.from_numpy(self._repelling)
        fixed = torch.stack([rows[:-1] for rows in starts])
        words = torch.stack([rows[-1:] for rows in starts]).clone().requires_grad_()
        texts = [END] * len(images)

        def encoded() -> torch.Tensor:
            contexts = torch.cat([fixed, words], dim=1)
            return F.normalize(self._encoder.encode_with_context(texts, contexts)).cpu()

        adam = torch.optim.AdamW([words], lr=RATE, weight_decay=DECAY)
        for _ in range(self._settings.steps):
            adam.zero_grad()
            found = encoded()
            loss = (1 - (found * aims).sum(1)).sum()
            if self._settings.repelling_weight:
                beside = (1 + found @ classes.T).mean(1).sum()
                loss = loss + self._settings.repelling_weight * beside
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        with torch.no_grad():
            return scores.normalise(encoded().numpy())


def drawn_start(encoder: ContextEncoder) -> Start:
    """Start from "a photo of a" and a vector drawn from the image's own bytes."""
    import torch

    prompt = encoder.token_embeddings(PROMPT).cpu()

    def start(image: Floats) -> torch.Tensor:
        seed = int.from_bytes(sha256(image.tobytes()).digest()[:6], "big")
        drawn = torch.randn(1, prompt.shape[1], generator=torch.Generator().manual_seed(seed))
        return torch.cat([prompt, SPREAD * drawn])

    return start


_INVERTERS: WeakKeyDictionary[FitInputs, dict[str, Inverter]] = WeakKeyDictionary()


def inverter_of(inputs: FitInputs, name: str, make: Callable[[], Inverter]) -> Inverter:
    """Return the inverter of a system on these inputs, made once for all of its seeds."""
    known = _INVERTERS.setdefault(inputs, {})
    if name not in known:
        known[name] = make()
    return known[name]

"""A convolutional classifier's logits when its last feature maps are changed on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.models.classifier import Classifier

_PROBE = (1, 3, 32, 32)  # an image to find the stage with
_COLOURS = 3


def without_first_rank(maps: Tensor) -> Tensor:
    """Subtract from each image's (C, H, W) maps their best approximation of rank one.

    An image's maps are a matrix of C rows and H x W columns (RankFeat, rankfeat_postprocessor.py).
    """
    rows = maps.flatten(2)
    left, sizes, right = torch.linalg.svd(rows, full_matrices=False)
    largest = sizes[:, :1, None] * left[:, :, :1] @ right[:, :1]
    left_over: Tensor = (rows - largest).view_as(maps)
    return left_over


@dataclass(frozen=True, eq=False)
class LastStage:
    """The last part of a classifier that maps feature maps to feature maps: a ResNet's layer 4."""

    classifier: Classifier
    module: torch.nn.Module

    @classmethod
    def of(cls, classifier: Classifier) -> LastStage:
        """Find the stage; a classifier that is no convolutional network is an `InputError`."""
        network = getattr(classifier, "network", None)
        found: list[torch.nn.Module] = []

        def seen(module: torch.nn.Module, inputs: tuple[Any, ...], output: object) -> None:
            if _is_maps(output) and inputs and _is_maps(inputs[0]):
                found.append(module)

        if isinstance(network, torch.nn.Module):
            hooks = [part.register_forward_hook(seen) for part in network.modules()]
            try:
                with torch.no_grad():
                    classifier.logits(torch.full(_PROBE, 0.5))
            finally:
                for hook in hooks:
                    hook.remove()
        if not found:
            raise InputError(
                f"classifier {type(classifier).__name__}: has no feature maps between its stages, "
                "which RankFeat changes; use a convolutional network"
            )
        return cls(classifier, found[-1])

    @torch.no_grad()
    def rankfeat(self, pixels: Tensor) -> NDArray[Any]:
        """Mean of two logits (N, C): without the first rank of the maps after and before the stage.

        `pixels` (N, 3, H, W) are in [0, 1].
        """
        after = self.module.register_forward_hook(lambda _, __, maps: without_first_rank(maps))
        try:
            last = self.classifier.logits(pixels)
        finally:
            after.remove()
        before = self.module.register_forward_pre_hook(
            lambda _, inputs: (without_first_rank(inputs[0]), *inputs[1:])
        )
        try:
            previous = self.classifier.logits(pixels)
        finally:
            before.remove()
        mean: NDArray[Any] = ((last + previous) / 2).float().cpu().numpy()
        return mean


def _is_maps(value: object) -> bool:
    """Whether a value is (N, C, H, W) feature maps, with more channels than pixels have."""
    return (
        isinstance(value, Tensor)
        and value.ndim == 4
        and value.shape[1] > _COLOURS
        and value.shape[2] * value.shape[3] > 1
    )

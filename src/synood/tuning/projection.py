"""Residual projection of image features: tuned with torch, applied with numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from synood.settings import ProjectionSettings
    from synood.tuning._residual import ResidualProjection
    from synood.tuning.loop import Callback

_ARRAYS = ("weight", "bias", "norm_weight", "norm_bias")


@dataclass(frozen=True, eq=False)
class Projection:
    """z -> z + max(0, LN(W z + b)), paper equation 11; all arrays float32.

    `weight` is W (D, D), `bias` b (D,); `norm_weight` and `norm_bias` (D,) are the LayerNorm's
    gain and bias, `eps` what keeps it from dividing by zero.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    norm_weight: NDArray[np.float32]
    norm_bias: NDArray[np.float32]
    eps: float = 1e-5

    def __post_init__(self) -> None:
        dim = len(self.bias)
        for name in _ARRAYS:
            array = getattr(self, name)
            shape = (dim, dim) if name == "weight" else (dim,)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise InputError(
                    f"projection: {name} should be finite float32 {shape}, "
                    f"found {array.dtype} {array.shape}"
                )

    def apply(self, features: ArrayLike) -> NDArray[np.float32]:
        """Project image features (N, D), not normalised; the result is not normalised either."""
        rows = to_numpy(features, "image features").astype(np.float32, copy=False)
        mapped = rows @ self.weight.T + self.bias
        centred = mapped - mapped.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        normed = centred / np.sqrt(variance + np.float32(self.eps))
        result: NDArray[np.float32] = rows + np.maximum(
            normed * self.norm_weight + self.norm_bias, np.float32(0)
        )
        return result

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, `eps` as float64 (1,), as safetensors writes them."""
        return {**{name: getattr(self, name) for name in _ARRAYS}, "eps": np.array([self.eps])}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Projection:
        """Make a projection of what `to_tensors` returned; `eps` may be missing.

        Raises `InputError` for a missing array or one of another shape or kind.
        """
        missing = [name for name in _ARRAYS if name not in tensors]
        if missing:
            raise InputError(f"projection: {missing[0]} is missing")
        arrays = {name: tensors[name] for name in _ARRAYS}
        return cls(**arrays, eps=float(tensors["eps"].item()) if "eps" in tensors else 1e-5)


def tune_projection(
    id_features: ArrayLike,
    id_targets: ArrayLike,
    synthetic_features: ArrayLike,
    synthetic_targets: ArrayLike,
    class_features: ArrayLike,
    negative_features: ArrayLike,
    settings: ProjectionSettings,
    seed: int,
    validate: Callable[[Projection, int], None] | None = None,
    callback: Callback | None = None,
) -> Projection:
    """Tune a projection that sends images to their own name and synthetic ones to their negative.

    Cross-entropy over the C class names and the M' negatives (paper equations 12 and 13; authors'
    ind_ood_projection.py): in-distribution images (m, D) have targets below C, synthetic images
    (n, D) targets below M', which index `negative_features`. To let all negatives compete, as
    `negatives_in_loss = "all"` asks for, pass all and targets into all. Image features come as the
    encoder gives them, since their length sets the weight of the residual; text features (C, D)
    and (M', D) are frozen and brought to unit length here. Without synthetic images, (0, D), the
    classes are learnt against labels that no image shows.

    Adam with L2 decay, the rate a cosine per epoch, everything in float32 on the CPU; equal
    arguments give equal bytes on one machine. After each epoch `validate` gets the projection and
    the number of epochs done; after each step `callback` gets (step, steps in all, loss). Raises
    `InputError` for arrays that do not fit together and for a loss that is not finite.
    """
    import torch
    import torch.nn.functional as F

    from synood.tuning._residual import ResidualProjection
    from synood.tuning.loop import as_features, as_targets, minimise

    classes = as_features("class features", class_features)
    dim = classes.shape[1]
    negatives = as_features("negative features", negative_features, dim)
    images = as_features("in-distribution features", id_features, dim)
    targets = as_targets("in-distribution targets", id_targets, len(images), len(classes))
    if np.shape(synthetic_features) != (0, dim):
        synthetic = as_features("synthetic features", synthetic_features, dim)
        theirs = as_targets("synthetic targets", synthetic_targets, len(synthetic), len(negatives))
        images = torch.cat([images, synthetic])
        targets = torch.cat([targets, theirs + len(classes)])
    texts = F.normalize(torch.cat([classes, negatives]))
    module = ResidualProjection(dim, settings.start, torch.Generator().manual_seed(seed))

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        cosines = F.normalize(module(images[batch])) @ texts.T
        return F.cross_entropy(settings.logit_scale * cosines, targets[batch])

    def after_epoch(epoch: int) -> None:
        if validate is not None:
            validate(_to_numpy(module), epoch)

    adam = torch.optim.Adam(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    minimise(loss_of, adam, len(images), settings, seed, callback, after_epoch)
    return _to_numpy(module)


def _to_numpy(module: ResidualProjection) -> Projection:
    """Copy the module's present state."""
    from synood.tuning._residual import EPS

    arrays = {name: getattr(module, name).detach().numpy().copy() for name in _ARRAYS}
    return Projection(**arrays, eps=EPS)

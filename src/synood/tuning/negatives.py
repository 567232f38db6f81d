"""Tuning of the used negatives' text features on the synthetic images that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from synood.settings import NegativeSettings
    from synood.tuning.loop import Callback


def tune_negatives(
    synthetic_features: ArrayLike,
    targets: ArrayLike,
    negative_features: ArrayLike,
    settings: NegativeSettings,
    seed: int,
    class_features: ArrayLike | None = None,
    callback: Callback | None = None,
) -> NDArray[np.float32]:
    """Move the used negatives (M', D) towards their synthetic images (n, D); returns (M', D).

    Cross-entropy of each image over the M' negatives (paper equation 14, in the direction of the
    authors' ood_label_finetuning.py, image to label); `targets` (n,) index `negative_features`.
    With `include_classes` the C class names (C, D) compete as well and stay where they are, so
    negatives are also kept away from what looks like a class.

    Pass the negatives as the encoder gives them: they are free vectors that enter by direction, so
    a longer one turns more slowly. Neither they nor the images pass the projection (§3.5). SGD
    with momentum and L2 decay, the rate a cosine per epoch, a float32 master copy on the CPU; equal
    arguments give equal bytes on one machine. The arrays passed in are left as they are. After
    each step `callback` gets (step, steps in all, loss). Raises `InputError` for arrays that do not
    fit together and for a loss that is not finite.
    """
    import torch
    import torch.nn.functional as F

    from synood.tuning.loop import as_features, as_targets, minimise

    free = as_features("negative features", negative_features).requires_grad_()
    dim = free.shape[1]
    images = F.normalize(as_features("synthetic features", synthetic_features, dim))
    wanted = as_targets("synthetic targets", targets, len(images), len(free))
    classes = torch.zeros(0, dim)
    if settings.include_classes:
        if class_features is None:
            raise InputError("negatives.include_classes is on, but no class features are given")
        classes = F.normalize(as_features("class features", class_features, dim))

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        texts = torch.cat([F.normalize(free), classes])
        return F.cross_entropy(settings.logit_scale * images[batch] @ texts.T, wanted[batch])

    sgd = torch.optim.SGD(
        [free],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    minimise(loss_of, sgd, len(images), settings, seed, callback)
    tuned: NDArray[np.float32] = free.detach().numpy()
    return tuned

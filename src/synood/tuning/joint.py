"""Projection and used negatives tuned at once: what the paper found worse than one by one (§4.3).

Kept for that comparison. The paper does not say how it was done; here both learn from the loss of
the projection, each with its own optimiser and rate, so nothing else differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from synood.settings import NegativeSettings, ProjectionSettings
    from synood.tuning.projection import Projection


def tune_jointly(
    id_features: ArrayLike,
    id_targets: ArrayLike,
    synthetic_features: ArrayLike,
    synthetic_targets: ArrayLike,
    class_features: ArrayLike,
    negative_features: ArrayLike,
    projection: ProjectionSettings,
    negatives: NegativeSettings,
    seed: int,
) -> tuple[Projection, NDArray[np.float32]]:
    """Tune the projection and the used negatives (M', D) in one loop; returns both.

    Arrays as for `tune_projection`, whose loss it is: cross-entropy over the C class names and the
    M' negatives, all images through the projection. Adam moves the projection; SGD moves the
    negatives, at `negatives.learning_rate` in the same proportion to its start all the way.
    Equal arguments give equal bytes on one machine; raises `InputError` as `tune_projection`.
    """
    import torch
    import torch.nn.functional as F

    from synood.tuning._residual import ResidualProjection
    from synood.tuning.loop import as_features, as_targets, minimise
    from synood.tuning.projection import _to_numpy

    classes = F.normalize(as_features("class features", class_features))
    dim = classes.shape[1]
    free = as_features("negative features", negative_features, dim).requires_grad_()
    ids = as_features("in-distribution features", id_features, dim)
    synthetic = as_features("synthetic features", synthetic_features, dim)
    images = torch.cat([ids, synthetic])
    own = as_targets("in-distribution targets", id_targets, len(ids), len(classes))
    theirs = as_targets("synthetic targets", synthetic_targets, len(synthetic), len(free))
    targets = torch.cat([own, theirs + len(classes)])
    module = ResidualProjection(dim, projection.start, torch.Generator().manual_seed(seed))

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        texts = torch.cat([classes, F.normalize(free)])
        cosines = F.normalize(module(images[batch])) @ texts.T
        return F.cross_entropy(projection.logit_scale * cosines, targets[batch])

    adam = torch.optim.Adam(
        module.parameters(), lr=projection.learning_rate, weight_decay=projection.weight_decay
    )
    sgd = torch.optim.SGD(
        [free],
        lr=negatives.learning_rate,
        momentum=negatives.momentum,
        weight_decay=negatives.weight_decay,
    )

    def step_negatives(optimiser: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        factor = optimiser.param_groups[0]["lr"] / projection.learning_rate
        sgd.param_groups[0]["lr"] = factor * negatives.learning_rate
        sgd.step()
        sgd.zero_grad()

    adam.register_step_post_hook(step_negatives)
    minimise(loss_of, adam, len(images), projection, seed)
    tuned: NDArray[np.float32] = free.detach().numpy()
    return _to_numpy(module), tuned

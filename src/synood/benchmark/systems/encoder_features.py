"""Image evidence alone: distances and a linear head on the image-text encoder's own features.

No text is read. They learn from the training images that SynOOD's recipes are given, and their
records say how many; nothing is chosen on validation images. KNN, Mahalanobis and Cosine of the
other modules read the classifier's features, as their papers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, IMAGES, LABELLED, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._training import class_labels, labelled
from synood.errors import InputError

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

_PLUS = "Mueller and Hein, ICML 2025, arXiv 2505.18032"
NEAREST_IMAGE = Method(
    "nearest-image",
    "1-NN (encoder)",
    "Sun et al., ICML 2022, arXiv 2204.06507, k = 1: the largest cosine with a training image",
    "inductive",
    (ENCODER, IMAGES),
)
CLASS_MEAN = Method(
    "class-mean",
    "Class mean (encoder)",
    "Ngoc-Hieu et al., 2023, arXiv 2306.14920: the largest cosine with a class mean",
    "inductive",
    (ENCODER, LABELLED),
)
MAHALANOBIS_PLUS = Method(
    "mahalanobis-plus",
    "Mahalanobis++",
    f"{_PLUS}, on the encoder's features",
    "inductive",
    (ENCODER, LABELLED),
)
RELATIVE_PLUS = Method(
    "relative-mahalanobis-plus",
    "Relative Mahalanobis++",
    f"{_PLUS}, relative as in Ren et al., 2021, on the encoder's features",
    "inductive",
    (ENCODER, LABELLED),
)
LINEAR_HEAD = Method(
    "linear-head",
    "Linear head (encoder)",
    "logistic regression on the encoder's features, scored by the largest log odds of a class",
    "inductive",
    (ENCODER, LABELLED),
)
ENCODER_BASELINES = (NEAREST_IMAGE, CLASS_MEAN, MAHALANOBIS_PLUS, RELATIVE_PLUS, LINEAR_HEAD)


def fit_nearest(inputs: FitInputs, seed: int) -> Fitted:
    """Keep the training images' features."""
    fitted = scores.Neighbours.fit(inputs.train.features)
    return Fitted(lambda encoded: fitted.cosine(encoded.features), _seen(inputs), fitted.rows.size)


def fit_class_mean(inputs: FitInputs, seed: int) -> Fitted:
    """Average each class's unit features."""
    fitted = scores.ClassMeans.fit(*labelled(inputs.train))
    return Fitted(lambda encoded: fitted.cosine(encoded.features), _seen(inputs), fitted.means.size)


def fit_mahalanobis_plus(inputs: FitInputs, seed: int) -> Fitted:
    """Estimate class means and their shared covariance from unit features."""
    fitted = scores.MahalanobisPlus.fit(inputs.train.features, class_labels(inputs.train))
    gaussians = fitted.classes
    return Fitted(
        lambda encoded: fitted.score(encoded.features),
        _seen(inputs, shrinkage=gaussians.shrinkage),
        gaussians.whitening.size + gaussians.centres.size,
    )


def fit_relative_plus(inputs: FitInputs, seed: int) -> Fitted:
    """The same, and one Gaussian for all training images; a single class has no relative form."""
    fitted = scores.MahalanobisPlus.fit(inputs.train.features, class_labels(inputs.train))
    if fitted.background is None:
        raise InputError(
            "needs two classes or more, one of them with two images: else nothing is relative"
        )
    both = (fitted.classes, fitted.background)
    return Fitted(
        lambda encoded: fitted.relative(encoded.features),
        _seen(inputs, shrinkage=[one.shrinkage for one in both]),
        sum(one.whitening.size + one.centres.size for one in both),
    )


def fit_linear_head(inputs: FitInputs, seed: int) -> Fitted:
    """Train the probe that `fit` trains: its weight penalty is chosen on held-out training images.

    Both have no randomness that `seed` could change.
    """
    from synood.models.classifier import train_probe

    if len(inputs.class_names) < 2:
        raise InputError("needs two classes or more: what a class is not is learned from others")
    rows, labels = labelled(inputs.train)
    weight, bias = train_probe(rows, labels, inputs.class_names, inputs.encoder).head
    return Fitted(
        lambda encoded: scores.max_log_odds(
            scores.linear(scores.normalise(encoded.features), weight, bias)
        ),
        _seen(inputs),
        weight.size + bias.size,
    )


def _seen(inputs: FitInputs, **chosen: object) -> dict[str, object]:
    """Return what is recorded: how many training images were learned from."""
    return {"training_images": len(inputs.train), **chosen}


SYSTEMS = (
    System(NEAREST_IMAGE, fit_nearest),
    System(CLASS_MEAN, fit_class_mean),
    System(MAHALANOBIS_PLUS, fit_mahalanobis_plus),
    System(RELATIVE_PLUS, fit_relative_plus),
    System(LINEAR_HEAD, fit_linear_head),
)

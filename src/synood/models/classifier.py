"""Classifier: images in [0, 1] -> logits, differentiable down to the pixels.

Guidance needs the gradient of an energy with respect to an image, so a checkpoint's resizing,
cropping and normalisation are done on tensors.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synood.errors import InputError
from synood.files import fingerprint, sha256_bytes
from synood.models._pixels import TORCHVISION, PixelPreprocess, preprocess_from_config
from synood.models.checkpoints import checkpoint_fingerprint, load_model, load_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from synood.models.clip import ImageTextEncoder

_STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # weight penalties that `train_probe` tries
_USUAL_STRENGTH = 1e-4  # with too few images for a held-out part


class Classifier(Protocol):
    """A classifier of the in-distribution classes, as the synthesis needs it."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the logits."""

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the weights and the preprocessing."""

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, C), differentiable."""

    def penultimate(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, P): the input of the last linear layer, differentiable."""

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last linear layer: weight (C, P) and bias (C,)."""


class TransformersClassifier:
    """Any image classification checkpoint that transformers loads (ResNet, ViT, ConvNeXT, ...).

    >>> classifier = TransformersClassifier.from_pretrained("microsoft/resnet-50")  # doctest: +SKIP
    >>> classifier.logits(torch.rand(2, 3, 512, 512)).shape  # doctest: +SKIP
    torch.Size([2, 1000])
    """

    def __init__(
        self,
        model: torch.nn.Module,
        preprocess: PixelPreprocess,
        class_names: Sequence[str],
        mark: str,
    ) -> None:
        self.class_names = tuple(class_names)
        self.fingerprint = mark
        self._model = model
        self._preprocess = preprocess
        self._device = next(model.parameters()).device

    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, device: str = "cpu", revision: str | None = None
    ) -> TransformersClassifier:
        """Load a directory or a hub id; safetensors only.

        Missing weights or an unsupported preprocessing are an `InputError`.
        """
        from transformers import AutoModelForImageClassification
        from transformers.image_processing_base import ImageProcessingMixin

        read_settings = ImageProcessingMixin.get_image_processor_dict
        settings, _ = load_part(read_settings, path_or_id, revision=revision)
        steps = preprocess_from_config(settings, f"{path_or_id}/preprocessor_config.json")
        model = load_model(
            AutoModelForImageClassification,
            path_or_id,
            dtype=torch.float32,
            device=device,
            revision=revision,
            trust_remote_code=False,
        )
        labels = model.config.id2label
        names = [str(labels[index]) for index in sorted(labels)]
        mark = checkpoint_fingerprint(path_or_id, revision=revision)
        return cls(model, steps, names, mark)

    def preprocessed_as_torchvision(self) -> TransformersClassifier:
        """Return the same network on images resized to 232 pixels and cropped to 224.

        So do torchvision's second weights of ResNet-50, on tensors.
        """
        changed = copy(self)
        changed._preprocess = TORCHVISION
        changed.fingerprint = fingerprint("torchvision", self.fingerprint)
        return changed

    @property
    def network(self) -> torch.nn.Module:
        """The network, which takes preprocessed images."""
        return self._model

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, C) on the classifier's device, differentiable."""
        return self._logits_of(self._preprocess(pixels.to(self._device, torch.float32)))

    def _logits_of(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self._model(pixel_values=inputs).logits
        return logits

    def penultimate(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, P): the input of the last linear layer, differentiable.

        A network whose logits are not the output of one linear layer is an `InputError`.
        """
        caught: list[tuple[Tensor, Tensor]] = []
        hook = self._last_layer.register_forward_hook(
            lambda _, inputs, output: caught.append((inputs[0], output))
        )
        try:
            logits = self.logits(pixels)
        finally:
            hook.remove()
        if len(caught) != 1 or caught[0][0].ndim != 2 or not torch.equal(caught[0][1], logits):
            raise self._headless()
        return caught[0][0]

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last linear layer: weight (C, P) and bias (C,)."""
        state = self._last_layer.state_dict()
        arrays = {name: value.float().cpu().numpy() for name, value in state.items()}
        return arrays["weight"], arrays.get("bias", np.zeros(len(self.class_names), np.float32))

    @cached_property
    def _last_layer(self) -> torch.nn.Linear:
        """The last module that is a linear layer with one output per class."""
        width = len(self.class_names)
        linear = [part for part in self._model.modules() if isinstance(part, torch.nn.Linear)]
        for layer in reversed(linear):
            if layer.out_features == width:
                return layer
        raise self._headless()

    def _headless(self) -> InputError:
        return InputError(
            f"classifier {type(self._model).__name__}: its logits are not the output of one linear "
            "layer, so it has no penultimate features; use another classifier, or a probe"
        )


class ProbeClassifier:
    """Multinomial logistic regression on an encoder's unit-length image features.

    Used where the bundle's classifier has other classes than the user. `weight` is (C, D) and
    `bias` (C,), both float32.
    """

    def __init__(
        self, encoder: ImageTextEncoder, weight: ArrayLike, bias: ArrayLike, names: Sequence[str]
    ) -> None:
        self.encoder = encoder
        self.class_names = tuple(names)
        self.weight: NDArray[np.float32] = np.asarray(weight, dtype=np.float32)
        self.bias: NDArray[np.float32] = np.asarray(bias, dtype=np.float32)
        if self.weight.shape != (len(names), encoder.dim) or self.bias.shape != (len(names),):
            raise InputError(
                f"probe: weight {self.weight.shape} and bias {self.bias.shape} do not fit "
                f"{len(names)} classes and {encoder.dim} features"
            )
        contents = [sha256_bytes(array.tobytes()) for array in (self.weight, self.bias)]
        self.fingerprint = fingerprint(encoder.fingerprint, contents, self.class_names)

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, C), differentiable."""
        features = self.penultimate(pixels)
        weight = torch.from_numpy(self.weight).to(features)
        return features @ weight.T + torch.from_numpy(self.bias).to(features)

    def penultimate(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, D): the encoder's features at unit length."""
        return F.normalize(self.encoder.encode_pixels(pixels), dim=-1)

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The probe itself: weight (C, D) and bias (C,)."""
        return self.weight, self.bias


def train_probe(
    features: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    encoder: ImageTextEncoder,
    seed: int = 0,
) -> ProbeClassifier:
    """Fit a linear probe: features (N, D) of any length, labels (N,) indices into `class_names`.

    The weight penalty is the one of five with the lowest cross-entropy on a held-out fifth of each
    class, drawn with `seed`; the probe is then fitted to all features. The same input gives the
    same probe. A class without images and features that are not finite are an `InputError`.

    >>> train_probe(features, labels, ["cat", "dog"], encoder).class_names  # doctest: +SKIP
    ('cat', 'dog')
    """
    x, y = _checked_samples(features, labels, class_names)
    held_out = _held_out(y, seed)
    strength = _USUAL_STRENGTH
    if held_out.any():
        strength = _best_strength(x, y, torch.from_numpy(held_out), len(class_names))
    weight, bias = fit_linear(x, y, len(class_names), strength)
    return ProbeClassifier(encoder, weight.numpy(), bias.numpy(), class_names)


def _checked_samples(
    features: ArrayLike, labels: ArrayLike, class_names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise InputError(f"probe: features {x.shape} need as many integer labels, not {y.shape}")
    if not np.isfinite(x).all():
        raise InputError("probe: features contain NaN or infinity")
    if y.size and not 0 <= y.min() <= y.max() < len(class_names):
        raise InputError(f"probe: labels must lie in 0 to {len(class_names) - 1}")
    for name, images in zip(class_names, np.bincount(y, minlength=len(class_names)), strict=True):
        if images == 0:
            raise InputError(f"probe: class {name!r} has no image; add some or drop the class")
    return F.normalize(torch.from_numpy(x), dim=1), torch.from_numpy(y.astype(np.int64))


def _held_out(labels: Tensor, seed: int) -> NDArray[np.bool_]:
    """Mark a fifth of each class (none of a class with fewer than five images)."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels.numpy()):
        members = np.flatnonzero(labels.numpy() == label)
        mask[rng.permutation(members)[: len(members) // 5]] = True
    return mask


def _best_strength(x: Tensor, y: Tensor, held_out: Tensor, classes: int) -> float:
    losses = {}
    for strength in _STRENGTHS:
        weight, bias = fit_linear(x[~held_out], y[~held_out], classes, strength)
        logits = x[held_out] @ weight.T.double() + bias.double()
        losses[strength] = float(F.cross_entropy(logits, y[held_out]))
    return min(losses, key=lambda strength: losses[strength])


def fit_linear(x: Tensor, y: Tensor, classes: int, strength: float) -> tuple[Tensor, Tensor]:
    """Fit a linear layer: minimise mean cross-entropy + strength / 2 * |W|^2, from zero.

    `x` (N, D) in double precision and `y` (N,) below `classes`; returns weight (C, D) and bias (C,)
    in single precision.
    """
    weight = torch.zeros(classes, x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    search = torch.optim.LBFGS(
        [weight, bias], max_iter=300, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, y) + strength / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach().float(), bias.detach().float()

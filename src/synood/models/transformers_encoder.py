"""One adapter for the image-text models that transformers maps under zero-shot classification.

ALIGN, AltCLIP, BLIP, Chinese-CLIP, CLIPSeg, MetaCLIP 2 and TIPSv2; what differs between them is in
`families.py`. CLIP and SigLIP have adapters of their own, NaFlex (`naflex.py`) builds on this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.errors import CheckpointError, InputError
from synood.models.checkpoints import FINGERPRINTED, load_model
from synood.models.families import family_of
from synood.models.image_processors import check_image_size, load_preprocess
from synood.models.precision import chosen_dtype
from synood.models.tokens import check_end, check_vocabulary, named_tokenizer, padded
from synood.models.towers import TowerEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from synood.images.presets import Preprocess
    from synood.models.families import Family


class TransformersEncoder(TowerEncoder):
    """An image-text model of transformers with `get_image_features` and `get_text_features`.

    >>> TransformersEncoder.from_pretrained("google/tipsv2-b14").dim  # doctest: +SKIP
    768
    """

    _suffixes = FINGERPRINTED | {".model"}  # vocabularies of sentencepiece

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers is untyped here
        tokenizer: Any,  # noqa: ANN401
        family: Family,
        preprocess: Preprocess,
        source: str | Path,
        revision: str | None = None,
    ) -> None:
        positions = model.config.text_config.max_position_embeddings - family.first_position
        context = min(positions, family.tokens or positions)
        super().__init__(model, tokenizer, context, preprocess, source, revision)
        projected = getattr(model.config, "projection_dim", None)
        self.dim: int = projected or model.config.vision_config.hidden_size
        scale = getattr(model, family.scale_tensor).float()
        self.logit_scale: float = (1 / scale if family.is_temperature else scale.exp()).item()
        bias = getattr(model, "logit_bias", None)
        self.logit_bias: float = 0.0 if bias is None else bias.float().item()
        self.image_size: int = preprocess.size

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
    ) -> TransformersEncoder:
        """Load weights, vocabulary and preprocessing; `dtype` as for `ClipEncoder`.

        Raises `CheckpointError` when a file is missing, the weights are incomplete, or the parts do
        not belong together.
        """
        where: dict[str, Any] = {"source": path_or_id, "revision": revision}
        family = checked_family(**where)
        preprocess = load_preprocess(**where)
        tokenizer = named_tokenizer(**where)
        model = load_family(family, tokenizer, device=device, dtype=dtype, **where)
        if not family.any_size:
            check_image_size(model.config.vision_config, preprocess, path_or_id)
        return cls(model, tokenizer, family, preprocess, path_or_id, revision)

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.get_image_features(pixel_values=inputs).pooler_output
        return features

    def _token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        rows = super()._token_rows(texts)
        if empty := [text for text, row in zip(texts, rows, strict=True) if not row]:
            raise InputError(f"{self.name}: its text tower reads no token in {empty[0]!r}")
        return rows

    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        longest = max(len(row) for row in rows)
        ids, mask = padded(rows, longest, self._tokenizer.pad_token_id or 0)
        features: torch.Tensor = self._model.get_text_features(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device)
        ).pooler_output
        return features


def checked_family(source: str | Path, revision: str | None) -> Family:
    """Return the family of a checkpoint; one without an adapter is a `CheckpointError`.

    So is a BLIP that was not trained to compare images with texts, as most are not.
    """
    import transformers

    from synood.models._spec import configuration

    config = configuration(str(source), revision)
    family = family_of(config)
    if family is None:
        raise CheckpointError(f"{source}: {config.get('model_type')!r} has no adapter here")
    if not hasattr(transformers, family.model):
        raise InputError(
            f"{source}: transformers {transformers.__version__} has no {family.model}; "
            "pip install -U transformers"
        )
    made_for = [str(name) for name in config.get("architectures") or []]
    if config.get("model_type") == "blip" and made_for not in ([], [family.model]):
        raise CheckpointError(
            f"{source}: is a {made_for[0]}, which has no scale to compare images and texts with; "
            f"only a {family.model} has one"
        )
    return family


def load_family(
    family: Family,
    tokenizer: Any,  # noqa: ANN401 - transformers is untyped here
    source: str | Path,
    *,
    revision: str | None,
    device: str,
    dtype: str | torch.dtype,
) -> Any:  # noqa: ANN401
    """Load the model of a checkpoint, and see that the tokenizer belongs to it."""
    import transformers

    kind, precision = getattr(transformers, family.model), chosen_dtype(dtype, device)
    model = load_model(kind, source, revision=revision, device=device, dtype=precision)
    text = model.config.text_config
    check_vocabulary(tokenizer, text.vocab_size, str(source))
    if family.reads_end:
        check_end(text.eos_token_id, tokenizer, str(source), legacy=family.legacy_end)
    return model

"""The text towers of a latent diffusion model: prompts -> embeddings for its U-Net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from synood.models.checkpoints import load_model
from synood.models.tokens import load_tokenizer, padded, token_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models._diffusers_layout import Layout


@dataclass(frozen=True)
class Embedding:
    """Prompt embeddings; models with two towers also have a `pooled` vector per prompt."""

    text: torch.Tensor  # (B, L, D)
    pooled: torch.Tensor | None = None  # (B, P)

    def select(self, rows: list[int]) -> Embedding:
        """Return the embeddings at the indices `rows`."""
        return Embedding(self.text[rows], None if self.pooled is None else self.pooled[rows])

    def zeros(self) -> Embedding:
        """Return an embedding of zeros with the same shape, for one prompt."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled[:1])
        return Embedding(torch.zeros_like(self.text[:1]), pooled)


class PromptEncoder:
    """One CLIP text tower (Stable Diffusion 1 and 2) or two (SDXL).

    With one tower the embedding is its last hidden state; with two it is the penultimate hidden
    state of each and the projected output of the second, as in the pipelines of diffusers.
    """

    def __init__(self, towers: Sequence[tuple[Any, Any]], *, zeros_for_empty: bool) -> None:
        self._towers = towers  # (tokenizer, text tower)
        self._zeros_for_empty = zeros_for_empty

    @classmethod
    def from_pretrained(cls, layout: Layout, device: str, dtype: torch.dtype) -> PromptEncoder:
        """Load the text towers of a checkpoint."""
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        source, at = layout.source, {"revision": layout.revision}
        kinds = {"": CLIPTextModel}
        if layout.has_two_towers:
            kinds["_2"] = CLIPTextModelWithProjection
        towers = []
        for end, kind in kinds.items():
            tower = load_model(
                kind, source, device=device, subfolder=f"text_encoder{end}", dtype=dtype, **at
            )
            vocabulary = tower.config.vocab_size
            tokenizer = load_tokenizer(source, vocabulary, subfolder=f"tokenizer{end}", **at)
            towers.append((tokenizer, tower))
        return cls(towers, zeros_for_empty=layout.zeros_for_empty)

    @property
    def width(self) -> int:
        """D, the length of a token's embedding."""
        return sum(int(tower.config.hidden_size) for _, tower in self._towers)

    @property
    def pooled_width(self) -> int:
        """P, the length of a prompt's pooled vector; 0 where there is none."""
        return int(self._towers[1][1].config.projection_dim) if len(self._towers) > 1 else 0

    def check(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` naming a prompt that is too long for a tower."""
        for tokenizer, tower in self._towers:
            token_rows(tokenizer, prompts, _context(tokenizer, tower))

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Embedding:
        """Embed B prompts, padded to the full context length as in training.

        Raises an `InputError` naming a prompt that is too long for a tower.
        """
        if len(self._towers) == 1:
            return Embedding(self._outputs(*self._towers[0], prompts)[0])
        outputs = [
            self._outputs(tokenizer, tower, prompts, output_hidden_states=True)
            for tokenizer, tower in self._towers
        ]
        text = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        return Embedding(text, outputs[1].text_embeds)

    def empty(self, like: Embedding) -> Embedding:
        """Embed the empty prompt of classifier-free guidance, for one image.

        SDXL was trained with zeros in its place, unless its model_index.json says otherwise.
        """
        return like.zeros() if self._zeros_for_empty else self.embed([""])

    def _outputs(
        self,
        tokenizer: Any,  # noqa: ANN401 - transformers is untyped here
        tower: Any,  # noqa: ANN401
        prompts: Sequence[str],
        **options: bool,
    ) -> Any:  # noqa: ANN401
        context = _context(tokenizer, tower)
        ids, mask = padded(token_rows(tokenizer, prompts, context), context, tokenizer.pad_token_id)
        masked = getattr(tower.config, "use_attention_mask", False)
        attention = mask.to(tower.device) if masked else None
        return tower(ids.to(tower.device), attention_mask=attention, **options)


def _context(tokenizer: Any, tower: Any) -> int:  # noqa: ANN401
    return int(min(tokenizer.model_max_length, tower.config.max_position_embeddings))

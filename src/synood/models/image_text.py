"""Describer with a local image-text-to-text model of transformers that has a chat template.

Qwen-VL, SmolVLM, LLaVA and similar models, by hub id or folder. Decoding is greedy, so the same
image gets the same answer; batches are padded on the left, since text is generated at the right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.errors import CheckpointError, InputError
from synood.files import fingerprint
from synood.models._answer_text import AnswerError, whole_items
from synood.models.chat_processors import load_processor
from synood.models.checkpoints import checkpoint_fingerprint, load_model, load_part
from synood.models.describer import NoDescription, named_images
from synood.models.precision import chosen_dtype
from synood.models.questions import find_question

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from PIL.Image import Image

    from synood.models.questions import Question


_UNFIT = (ValueError, IndexError, ZeroDivisionError)  # what processors raise for odd shapes


class ImageTextDescriber:
    """Asks a model in this process what is around the subject of each image.

    >>> describer = ImageTextDescriber.from_pretrained(  # doctest: +SKIP
    ...     "Qwen/Qwen3-VL-4B-Instruct"
    ... )
    >>> describer.describe([image], ["panda"])  # doctest: +SKIP
    ['bamboo, wooden fence, rocks']
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a transformers model and its processor, both untyped here
        processor: Any,  # noqa: ANN401
        question: Question,
        name: str,
        batch_size: int = 8,
    ) -> None:
        self._model, self._processor = model, processor
        self._question, self._batch_size = question, batch_size
        self.id = f"image-text-{fingerprint(name, question.text, str(model.dtype))}"

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        device: str = "cpu",
        revision: str | None = None,
        dtype: str = "auto",
        question: str = "surroundings-v1",
        batch_size: int = 8,
    ) -> ImageTextDescriber:
        """Load a checkpoint by hub id or folder.

        Raises:
            CheckpointError: it is incomplete or has no chat template.
            InputError: question or dtype are unknown.
        """
        from transformers import AutoModelForImageTextToText

        asked = find_question(question)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"describer: batch_size must be at least 1, not {batch_size!r}")
        precision = chosen_dtype(dtype, device)
        processor = load_part(load_processor, source, revision=revision)
        if not getattr(processor, "chat_template", None):
            raise CheckpointError(
                f"{source}: has no chat template, which a question needs; use a checkpoint "
                "with one, such as Qwen/Qwen3-VL-4B-Instruct"
            )
        processor.tokenizer.padding_side = "left"
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        model = load_model(
            AutoModelForImageTextToText,
            source,
            device=device,
            revision=revision,
            dtype=precision,
            trust_remote_code=False,
        )
        name = checkpoint_fingerprint(source, revision=revision)
        return cls(model, processor, asked, name, batch_size)

    def describe(
        self,
        images: Sequence[Image],
        class_names: Sequence[str],
        image_ids: Sequence[str] | None = None,
    ) -> list[str | NoDescription]:
        """Return "thing, thing" per image; one that the model cannot take is a `NoDescription`."""
        ids = named_images(images, class_names, image_ids)
        texts: list[str | NoDescription] = []
        for start in range(0, len(images), self._batch_size):
            part = slice(start, start + self._batch_size)
            texts += self._batch(images[part], class_names[part])
        return [
            NoDescription(f"{id_}: no description: {text.reason}")
            if isinstance(text, NoDescription)
            else text
            for id_, text in zip(ids, texts, strict=True)
        ]

    def _batch(
        self, images: Sequence[Image], class_names: Sequence[str]
    ) -> list[str | NoDescription]:
        """Describe a batch; where the processor refuses it, without the images at fault."""
        try:
            answers = self._answers(images, class_names)
        except _UNFIT as error:
            if len(images) == 1:
                return [NoDescription(f"the model does not take the image ({error})")]
            fit = [self._fits(*pair) for pair in zip(images, class_names, strict=True)]
            if all(fit):
                raise
            good = [row for row, fits in enumerate(fit) if fits]
            found: dict[int, str | NoDescription] = {}
            for part in (good, *([row] for row, fits in enumerate(fit) if not fits)):
                some = self._batch([images[i] for i in part], [class_names[i] for i in part])
                found |= dict(zip(part, some, strict=True))
            return [found[row] for row in range(len(images))]
        return [self._read(*pair) for pair in zip(answers, class_names, strict=True)]

    def _fits(self, image: Image, class_name: str) -> bool:
        """Whether the processor takes the image alone."""
        try:
            self._inputs([image], [class_name])
        except _UNFIT:
            return False
        return True

    def _read(self, answer: tuple[str, bool], class_name: str) -> str | NoDescription:
        text, whole = answer
        try:
            return self._question.read(text if whole else whole_items(text), class_name)
        except AnswerError as error:
            return NoDescription(str(error))

    def _answers(
        self, images: Sequence[Image], class_names: Sequence[str]
    ) -> list[tuple[str, bool]]:
        """Return each answer, and whether the model came to its end."""
        import torch

        if not images:
            return []
        inputs = self._inputs(images, class_names)
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                temperature=None,  # the checkpoint's settings for sampling do not apply
                top_p=None,
                top_k=None,
                max_new_tokens=self._question.max_tokens,
                pad_token_id=self._processor.tokenizer.pad_token_id,
            )
        new = tokens[:, inputs["input_ids"].shape[1] :]
        whole = torch.isin(new, torch.tensor(self._ends, device=new.device)).any(dim=1).tolist()
        answers = self._processor.batch_decode(new, skip_special_tokens=True)
        return [*zip(answers, whole, strict=True)]

    @property
    def _ends(self) -> list[int]:
        """Return the tokens that end an answer."""
        ends = self._model.generation_config.eos_token_id
        ends = self._processor.tokenizer.eos_token_id if ends is None else ends
        return [*ends] if isinstance(ends, list | tuple) else [ends]

    def _inputs(
        self, images: Sequence[Image], class_names: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": image.convert("RGB")},
                        {"type": "text", "text": self._question.ask(name)},
                    ],
                }
            ]
            for image, name in zip(images, class_names, strict=True)
        ]
        inputs = self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        placed = inputs.to(self._model.device, dtype=self._model.dtype)  # dtype: of pixels alone
        return dict(placed)

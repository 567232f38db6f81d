"""Describers: an image and its class name -> a text about its context, without the class itself.

The paper asks a large multimodal model for the elements around the main object (§3.3). Besides such
models there are a zero-shot tagger on the bundle's encoder and a file of ready texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from synood.errors import InputError
from synood.files import fingerprint, read_jsonl, read_text, sha256_file, text_lines
from synood.labels.forms import contains_name
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image

    from synood.models.clip import ImageTextEncoder


@dataclass(frozen=True)
class NoDescription:
    """Stands in place of a description; `reason` is a sentence that names the image."""

    reason: str


class Describer(Protocol):
    """The interface that the describe stage needs."""

    @property
    def id(self) -> str:
        """Identifies everything that can change a description."""

    def describe(
        self,
        images: Sequence[Image],
        class_names: Sequence[str],
        image_ids: Sequence[str] | None = None,
    ) -> Sequence[str | NoDescription]:
        """Return one context text per image; `class_names` holds each image's own class.

        An image that cannot be described is a `NoDescription`: it stops none of the others.
        """


class Tagger:
    """The `tags` vocabulary words most similar to the image, without the class and its synonyms.

    A word is excluded for a class when one contains the other ("red panda", "pandas" for "panda"),
    or when it is in the fraction `exclude` of the vocabulary whose text features are most similar
    to the class's. A fraction, since cosines of texts are near 0.9 in one encoder and near 0.3 in
    another.

    >>> tagger = Tagger(encoder, ["bamboo", "tree", "red panda"])  # doctest: +SKIP
    >>> tagger.describe([image], ["panda"])  # doctest: +SKIP
    ['bamboo, tree']
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        vocabulary: Sequence[str],
        tags: int = 2,
        template: str = "a photo of a {}",
        exclude: float = 0.01,
    ) -> None:
        words = (" ".join(word.split()) for word in vocabulary)
        self.vocabulary = tuple(dict.fromkeys(word for word in words if word))
        if not self.vocabulary:
            raise InputError("tagger: the vocabulary has no words")
        whole = isinstance(tags, int) and not isinstance(tags, bool)
        text = isinstance(template, str) and "{}" in template
        fraction = isinstance(exclude, int | float) and 0 <= exclude < 1
        if not (whole and tags >= 1 and text and fraction):
            raise InputError("tagger: needs tags >= 1, a template with {} and 0 <= exclude < 1")
        self._encoder = encoder
        self._tags, self._template, self._exclude = tags, template, exclude
        self._word_features: NDArray[np.float32] | None = None
        settings = [self.vocabulary, tags, template, exclude]
        self.id = f"tagger-{fingerprint(encoder.fingerprint, settings)}"

    @classmethod
    def from_file(
        cls,
        vocabulary: str | Path,
        encoder: ImageTextEncoder,
        **settings: Any,  # noqa: ANN401 - tags, template, exclude
    ) -> Tagger:
        """Read the vocabulary from a file with one word per line; `settings` as for the class."""
        return cls(encoder, text_lines(read_text(Path(vocabulary))), **settings)

    def describe(
        self,
        images: Sequence[Image],
        class_names: Sequence[str],
        image_ids: Sequence[str] | None = None,
    ) -> list[str]:
        """Return "word, word" per image, the most similar first; ids are not needed."""
        _same_length(images, class_names)
        if not images:
            return []
        return self.describe_features(self._encoder.encode_images(images), class_names)

    def describe_features(
        self, features: NDArray[np.float32], class_names: Sequence[str]
    ) -> list[str]:
        """Describe images by their features (N, D) from the tagger's encoder."""
        similarity = normalise(features) @ self._features().T
        allowed = {name: self._allowed(name) for name in sorted(set(class_names))}
        return [
            self._best(row, allowed[name])
            for row, name in zip(similarity, class_names, strict=True)
        ]

    def _best(self, similarity: NDArray[np.float32], allowed: NDArray[np.bool_]) -> str:
        order = np.argsort(-np.where(allowed, similarity, -np.inf), kind="stable")
        return ", ".join(self.vocabulary[i] for i in order[: self._tags] if allowed[i])

    def _allowed(self, class_name: str) -> NDArray[np.bool_]:
        """Return which words may describe the surroundings of this class."""
        name = self._template.format(class_name)
        alike = self._features() @ normalise(self._encoder.encode_texts([name]))[0]
        count = int(self._exclude * len(self.vocabulary))
        allowed = np.array([not names_overlap(word, class_name) for word in self.vocabulary])
        allowed[np.argsort(-alike, kind="stable")[:count]] = False
        if not allowed.any():
            raise InputError(
                f"tagger: every word of the vocabulary is too similar to class {class_name!r}; "
                "add words for its surroundings"
            )
        return allowed

    def _features(self) -> NDArray[np.float32]:
        if self._word_features is None:
            texts = [self._template.format(word) for word in self.vocabulary]
            self._word_features = normalise(self._encoder.encode_texts(texts))
        return self._word_features


class FileDescriber:
    """Descriptions from a file: JSONL, one {"id": ..., "text": ...} per line.

    The id is the image's path relative to the folder of images.

    >>> import json, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "context.jsonl"
    >>> _ = path.write_text(json.dumps({"id": "panda/1.jpg", "text": "bamboo"}) + chr(10))
    >>> FileDescriber(path).texts(["panda/1.jpg"])
    ['bamboo']
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path = Path(path)
        self._texts: dict[str, str] = {}
        for number, row in enumerate(read_jsonl(path), start=1):
            image_id, text = row.get("id"), row.get("text")
            if not isinstance(image_id, str) or not isinstance(text, str) or not text.strip():
                raise InputError(f"{path}, line {number}: needs an `id` and a non-empty `text`")
            if image_id in self._texts:
                raise InputError(f"{path}, line {number}: {image_id!r} is described twice")
            self._texts[image_id] = text.strip()
        self.id = f"file-{sha256_file(path)[:16]}"

    def texts(self, image_ids: Sequence[str]) -> list[str]:
        """Return the texts of ids; one that is not in the file is an `InputError`."""
        for image_id in image_ids:
            if image_id not in self._texts:
                raise InputError(
                    f"{self._path}: no description for {image_id!r}; add a line for it"
                )
        return [self._texts[image_id] for image_id in image_ids]

    def describe(
        self,
        images: Sequence[Image],
        class_names: Sequence[str],
        image_ids: Sequence[str] | None = None,
    ) -> list[str]:
        """Return the texts of `image_ids`, which are required; the images are not used."""
        if image_ids is None:
            raise InputError(f"{self._path}: descriptions from a file require the images' ids")
        _same_length(images, class_names)
        _same_length(images, image_ids)
        return self.texts(image_ids)


def named_images(
    images: Sequence[Image], class_names: Sequence[str], image_ids: Sequence[str] | None
) -> Sequence[str]:
    """Return what the images are called in messages: their ids, else their numbers.

    Another number of class names or ids than of images is an `InputError`.
    """
    names = image_ids or [f"image number {number}" for number in range(1, len(images) + 1)]
    _same_length(images, class_names)
    _same_length(images, names)
    return names


def names_overlap(word: str, name: str) -> bool:
    """Whether one contains a form of the other: as words, or inside a word from four letters on.

    >>> names_overlap("red pandas", "Panda"), names_overlap("fish", "goldfish")
    (True, True)
    >>> names_overlap("a bowl of cherries", "cherry"), names_overlap("elephant", "ant")
    (True, False)
    """
    shorter, longer = sorted((word.casefold(), name.casefold()), key=len)
    if len(shorter) >= 4 and shorter in longer:
        return True
    if re.search(rf"\b{re.escape(shorter)}(e?s)?\b", longer) is not None:
        return True
    return contains_name(longer, shorter)


def _same_length(images: Sequence[Image], others: Sequence[str]) -> None:
    if len(images) != len(others):
        raise InputError(f"describer: {len(images)} images but {len(others)} names or ids")

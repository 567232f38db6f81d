"""What the recipe `released` does for ImageNet's classes alone, and what is done for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.labels.imagenet import class_names_by_wnid, wnids_of

if TYPE_CHECKING:
    from synood.images.sources import ImageIndex
    from synood.labels.imagenet import Naming
    from synood.settings import Recipe


def naming_of(recipe: Recipe) -> Naming:
    """Return whose names ImageNet's classes have in the recipe."""
    return "synood" if recipe.mining.class_names == "first-synonym" else "openai"


def named_as(recipe: Recipe, index: ImageIndex) -> ImageIndex:
    """Return the images under the class names of the recipe: first synonyms, or as given.

    Only ImageNet's classes have such synonyms; others keep their names.
    """
    wnids = wnids_of(index.class_names) if recipe.mining.class_names == "first-synonym" else None
    if wnids is None:
        return index
    synonyms = class_names_by_wnid(naming_of(recipe))
    names = {name: synonyms[wnid] for name, wnid in zip(index.class_names, wnids, strict=True)}
    return index if all(old == new for old, new in names.items()) else index.renamed(names)


def not_for_these_classes(recipe: Recipe, index: ImageIndex) -> str | None:
    """Return a sentence on what the recipe cannot do since the classes are not ImageNet's."""
    if wnids_of(index.class_names) is not None:
        return None
    mining = recipe.mining
    instead = {
        "negative labels are mined": mining.labels == "released",
        "class names stay as given": mining.class_names == "first-synonym",
        "the guide sees images in its own way": recipe.guidance.preprocess == "torchvision",
    }
    said = [words for words, asked in instead.items() if asked]
    if not said:
        return None
    return f"the classes are not ImageNet's, which the recipe is made for, so {listed(said)}"


def listed(words: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))

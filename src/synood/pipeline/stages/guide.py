"""Guide: a classifier, a linear probe or the encoder's margin judges the synthetic images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from synood.features.texts import unit
from synood.files import fingerprint
from synood.labels.imagenet import same_classes
from synood.models.guide import GuideSpec, MarginTexts, ProbeWeights

if TYPE_CHECKING:
    from collections.abc import Callable

    from synood.labels.negatives import Negatives
    from synood.pipeline.stages.context import RunContext
    from synood.pipeline.stages.embed import Selection
    from synood.settings import Recipe

GuideKind: TypeAlias = Literal["classifier", "probe", "margin", "none"]
ONE_CLASS_QUANTILE = 0.95  # of the images' energies is the target where the recipe's is in logits
NAMES: dict[GuideKind, str] = {
    "classifier": "the bundle's",
    "probe": "linear probe",
    "margin": "none, the encoder's margin",
    "none": "none, nothing is guided",
}
"""What run.toml says."""


@dataclass(frozen=True)
class GuideChoice:
    """A guide that is made only when something is to be synthesized."""

    fingerprint: str
    make: Callable[[], GuideSpec]


def for_one_class(recipe: Recipe, n_classes: int) -> tuple[Recipe, str | None]:
    """Return the recipe that can guide images of so many classes, and a sentence if it is another.

    A classifier of one class is sure of everything, so its energy says nothing: the encoder's
    margin between the class name and the negative labels guides in its place.
    """
    guided = recipe.synthesis.method == "inpaint" and recipe.guidance.objective != "margin"
    if n_classes > 1 or not guided:
        return recipe, None
    quantile = recipe.guidance.target_quantile or ONE_CLASS_QUANTILE
    margin = replace(recipe.guidance, objective="margin", target_quantile=quantile, temperature=1.0)
    return replace(recipe, guidance=margin), (
        "one class has no classifier to guide with: the encoder's margin between its name and the "
        "negative labels guides in its place"
    )


def guide_kind(run: RunContext) -> GuideKind:
    """Return which guide the run has: the bundle's classifier where it knows these very classes."""
    if run.recipe.guidance.objective == "margin":
        return "margin"
    if "classifier" in run.models.bundle.spec:
        classifier = run.models.classifier
        if classifier and same_classes(classifier.class_names, run.class_names):
            return "classifier"
    return "probe"


def choose_guide(
    run: RunContext, kind: GuideKind, selection: Selection, negatives: Negatives
) -> GuideChoice:
    """Return the guide of a kind."""
    if kind == "margin":
        return _margin(run, negatives)
    if kind == "probe":
        return _probe(run, selection)
    classifier = run.models.classifier
    assert classifier is not None, "guide_kind has seen that the bundle has one"
    return GuideChoice(classifier.fingerprint, lambda: None)


def _probe(run: RunContext, selection: Selection) -> GuideChoice:
    """Return a linear probe on the encoder's features, in place of a classifier."""
    images = selection.used_for("probe")
    run.workspace.notify(
        "probe",
        f"bundle {run.models.bundle.name!r} has no classifier for these "
        f"{len(run.class_names)} classes: a linear probe on the encoder's features of "
        f"{len(images)} images takes its place",
    )
    run.progress("probe")(len(images), len(images), "")

    def train() -> ProbeWeights:
        from synood.models.classifier import train_probe

        targets = run.targets([image.label for image in images])
        rows = selection.rows(images)
        probe = train_probe(rows, targets, run.class_names, run.models.encoder, run.seed)
        return ProbeWeights(probe.weight, probe.bias, probe.class_names)

    contents = [(image.sha256, image.label) for image in images]
    encoder = run.models.part_fingerprint("encoder")
    inputs = "probe", contents, run.class_names, encoder, run.seed
    return GuideChoice(fingerprint(*inputs), train)


def _margin(run: RunContext, negatives: Negatives) -> GuideChoice:
    """Return the margin between class names and negative labels.

    Its fingerprint covers the texts, not their features, which another machine rounds differently.
    """
    prompt_set, temperature = run.recipe.mining.prompt_set, run.recipe.score.temperature
    texts = run.class_names, prompt_set, negatives.words, negatives.prompts
    encoder = run.models.part_fingerprint("encoder")

    def make() -> MarginTexts:
        classes = run.class_features(prompt_set)
        return MarginTexts(classes, unit(negatives.features), temperature)

    return GuideChoice(fingerprint("margin", encoder, texts, temperature), make)

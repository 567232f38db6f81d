"""Every hyperparameter of the method: a named field with its source, its default the paper's.

Sources: [P] the paper's text, arXiv 2507.10225; [C] the authors' code at commit e13114e, file:line;
[N] NegLabel, ICLR 2024, and its code at commit 3253db6; [CSP] CSP's code, NeurIPS 2024, at commit
3a7bdab; [GOOD] Gao et al., NeurIPS 2025, arXiv 2510.17131, and its code at commit f93295e; [ours] a
choice where all are silent.
Nothing here imports anything heavy, so `synood --help` can list recipes in no time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class SelectSettings:
    """Which in-distribution images are redrawn: the most complex of each class."""

    per_class: int = 50  # [P] §3.4; [C] cleaned/clean_data.py:10


@dataclass(frozen=True)
class DescribeSettings:
    """How the context's description becomes a prompt of the in-painting model."""

    template: str = "A photo only remain {}."  # [C] datasets.py:81, its grammar as it is
    max_characters: int | None = None  # [C] datasets.py:80 cuts at 73; None: all that fits


@dataclass(frozen=True)
class SynthesisSettings:
    """What the near-boundary images are made by.

    Without an in-painting model "inpaint" becomes "jigsaw" (`synood.synthesis.jigsaw`); with "none"
    there are no such images, and what is tuned on them alone is left as it was.
    """

    method: Literal["inpaint", "jigsaw", "none"] = "inpaint"  # [P] §3.3; the others [ours]


@dataclass(frozen=True)
class GuidanceSettings:
    """Energy-guided in-painting (paper §3.3, equations 5 to 10).

    With the objective "margin" the encoder guides in the classifier's place: E is then the log odds
    of the negative labels against the class names, at `score.temperature`. The objective "msp" of
    the authors' code has no gradient, so that it guides nothing. With the method "step" the
    gradient acts in each denoising step of one rendering, with "rounds" on the noise of the next of
    several renderings (docs/guidance.md).
    """

    method: Literal["rounds", "step"] = "rounds"  # [P] eq. 10; "step" [GOOD]

    strength: float = 0.6  # [P] §4.1
    num_inference_steps: int = 20  # [P] §4.1
    guidance_scale: float = 8.0  # [C] generate_near_ood_sample.py, default; not in the paper
    rounds: int = 3  # [P] §4.1; the last round's gradient is never used
    step_size: float = 10.0  # [P] r * rho = 10, per image; of "rounds"
    mu: float = 0.5  # [GOOD] of "step": the largest change of a predicted latent, as its RMS
    sigma: float = 0.1  # [GOOD] of "step": noise on that latent while it is judged
    guided_steps: int | None = None  # [ours] of "step": only the last so many; None: all [GOOD]
    # "uniformity" and "msp" [C] generate_near_ood_sample.py:66-78; "margin" [ours]
    objective: Literal["energy", "uniformity", "margin", "msp"] = "energy"  # [P] eq. 7
    target: float = -5.0  # m_out; [C] generate_near_ood_sample.py:73
    target_quantile: float | None = None  # [ours] target = this quantile of the images' energies
    temperature: float = 1.0  # tau of eq. 7; "margin" has score.temperature
    renormalise: bool = False  # [ours] rescale the noise to unit deviation after each update
    stop_at_target: bool = False  # [ours] an image that has reached the target is left alone
    redraw_grey: bool = False  # [C] :112-125 draws the grey image's latents anew in each round
    # "torchvision" [C] :91-92: 232 pixels, bilinear, 224 cut out, for a classifier of ImageNet
    preprocess: Literal["own", "torchvision"] = "own"  # [ours] of the guide: its checkpoint's

    @property
    def uses_gradient(self) -> bool:
        """Whether any gradient changes an image."""
        if self.objective == "msp":
            return False
        if self.method == "step":
            return self.mu != 0
        return self.step_size != 0 and self.rounds > 1

    def unguided(self) -> GuidanceSettings:
        """Return the settings of the same in-painting without any gradient."""
        return replace(self, method="rounds", step_size=0.0, rounds=1)

    def effective(self) -> dict[str, object]:
        """Return the fields that an image depends on, by name.

        Those of the other method are left out, and those that came later as in `identity`, so that
        images of earlier versions are found again.
        """
        of_rounds = {"rounds", "step_size", "renormalise", "redraw_grey"}
        unused = of_rounds if self.method == "step" else {"mu", "sigma", "guided_steps"}
        return {name: value for name, value in identity(self).items() if name not in unused}


@dataclass(frozen=True)
class MiningSettings:
    """Negative labels: WordNet words far from every class name (NegLabel §3)."""

    pool: Literal["neglabel", "csp"] = "neglabel"  # candidates; see synood.labels.pools
    seed: int = 0  # [CSP] multi_modal.py:84, of the nouns behind adjectives
    share: float = 0.15  # [N] kept fraction of the candidates
    quantile: float = 0.95  # [N] 1 - eta; 1 in NegRefine
    max_similarity: float | None = None  # [CSP] 0.95 with CLIP; other encoders' cosines differ
    exclude_class_names: bool = True  # [ours]; the released list holds 32 class names
    prompt_set: str = "neglabel"  # [N] multi_modal.py:54
    # "released" [C] texts/selected_neg_labels_in1k_10k.txt, where the classes are ImageNet's
    labels: Literal["mined", "released"] = "mined"  # [P] §3.4, as NegLabel
    # "first-synonym" [C] datasets.py:417-428, where the classes are ImageNet's
    class_names: Literal["given", "first-synonym"] = "given"  # [ours] the user's or OpenAI's


@dataclass(frozen=True)
class ProjectionSettings:
    """Tuning of the residual projection of image features (paper §3.5, equations 11 to 13)."""

    epochs: int = 3  # [C] ind_ood_projection.py
    min_steps: int | None = None  # [ours] more epochs until this many steps on small data
    batch_size: int = 128  # [C]
    learning_rate: float = 1e-3  # [P] and [C], Adam
    final_learning_rate: float = 1e-5  # [C] cosine per epoch
    weight_decay: float = 1e-5  # [C] L2, not decoupled
    logit_scale: float = 100.0  # [C] CLIP's own
    start: Literal["random", "identity"] = "random"  # [C] default PyTorch start
    negatives_in_loss: Literal["used", "all"] = "used"  # [C]; "all" [ours]
    class_prompt_set: str | None = None  # [P] the mining's own; [C] datasets.py:424 "a nice {}"
    images_per_class: int | None = None  # [ours] images it learns a class from; None: those redrawn
    views: int = 0  # [ours] changed views added for each such image; see synood.images.views


@dataclass(frozen=True)
class NegativeSettings:
    """Tuning of the used negatives' features (paper §3.5, equation 14)."""

    epochs: int = 5  # [P] and [C]
    min_steps: int | None = None  # [ours] as above
    batch_size: int = 128  # [C]
    learning_rate: float = 2e-3  # [P] §4.1, SGD; [C] ood_label_finetuning.py:38 has 2e-2
    final_learning_rate: float = 0.0  # [C] cosine per epoch
    momentum: float = 0.9  # [C]
    weight_decay: float = 1e-5  # [C]
    logit_scale: float = 100.0  # [C]
    include_classes: bool = False  # [ours] class names compete in the softmax too
    # "four-kinds" [C] datasets.py:321-334: by "msp", unguided and from the label's text as well
    images: Literal["guided", "four-kinds"] = "guided"  # [P] §3.5, X_syn


@dataclass(frozen=True)
class ScoreSettings:
    """The score of equation 2, as NegLabel computes it."""

    temperature: float = 0.01  # [N]
    groups: int = 100  # [N] clip_ood.py:25; 1 = ungrouped
    seed: int = 0  # [N] of the permutation that makes the groups


@dataclass(frozen=True)
class EvidenceSettings:
    """How text and images are weighed against each other: all of it [ours], docs/plus.md.

    Each kind of evidence is standardised by in-distribution images that it has not learned from,
    then they are added with these weights. Without weight on any evidence from images the score is
    the text's alone: the log odds of equation 2.
    """

    text: float = 1.0  # equation 2 with the tuned projection; with one class only if it is alone
    distance: float = 0.0  # Mahalanobis++ distance to the nearest class
    neighbour: float = 0.0  # cosine with the nearest training image
    head: float = 0.0  # largest logit of a linear head; only where there are two classes or more
    head_penalty: float = 1e-2  # half of it times the squared weights is added to the head's loss
    folds: int = 5  # of the images, for values from evidence that has not seen them; at least 2

    @property
    def from_images(self) -> bool:
        """Whether any evidence from images has weight."""
        return max(self.distance, self.neighbour, self.head) > 0


# Chosen on validation images alone: docs/plus.md. A projection that learns the classes from few
# images learns their style; every label that will score competes in its loss.
PLUS_PROJECTION = ProjectionSettings(
    images_per_class=16, views=3, negatives_in_loss="all", epochs=6, weight_decay=1e-2
)
# Fixed weights: no judge that we tried - left-out classes, synthetic images - did better.
PLUS_EVIDENCE = EvidenceSettings(text=0.5, distance=0.5, neighbour=0.5, head=1.0)


@dataclass(frozen=True)
class ProbeSettings:
    """The linear classifier that stands in where the bundle has none for the user's classes."""

    per_class: int = 200  # [ours] images of each class it learns from, evenly spaced


@dataclass(frozen=True)
class CalibrationSettings:
    """The threshold a new detector gets; the method itself is silent on it."""

    tpr: float = 0.95  # [ours] fraction of in-distribution images to keep, as in FPR95
    per_class: int | None = None  # [ours] images of each class; None: all that nothing learns from


@dataclass(frozen=True)
class Recipe:
    """One complete way of making a detector from in-distribution images."""

    name: str
    select: SelectSettings = field(default_factory=SelectSettings)
    describe: DescribeSettings = field(default_factory=DescribeSettings)
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    negatives: NegativeSettings = field(default_factory=NegativeSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)


_LATER = {  # fields that came later, with the value that does what was done before
    "method": "rounds",
    "mu": 0.5,
    "sigma": 0.1,
    "guided_steps": None,
    "redraw_grey": False,
    "preprocess": "own",
    "labels": "mined",
    "class_names": "given",
    "images": "guided",
}


def identity(settings: DataclassInstance) -> dict[str, Any]:
    """Return the settings as plain values for fingerprints, which earlier versions had as well.

    A field that came later counts only where it is not what was done before it.

    >>> [identity(one).get("preprocess") for one in (
    ...     GuidanceSettings(), GuidanceSettings(preprocess="torchvision"))]
    [None, 'torchvision']
    """
    return _without_later(asdict(settings))


def _without_later(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_later(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in _LATER or value != _LATER[key]
    }

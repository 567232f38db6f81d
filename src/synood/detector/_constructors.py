"""The ways to make an `OODDetector`: of names, images, features, or of a directory that has one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from synood.detector._load import read_detector
from synood.detector._zero_shot import zero_shot
from synood.detector.from_hub import located
from synood.errors import InputError
from synood.labels.mining import mining_settings
from synood.models.bundles import Bundle, load_bundle
from synood.models.device import pick_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from synood.detector.backbone import Backbone
    from synood.detector.ood_detector import OODDetector
    from synood.executor import Executor
    from synood.images.sources import ImageIndex
    from synood.labels.lists import GivenNegatives
    from synood.models.describer import Describer
    from synood.progress import Progress, Tracker
    from synood.settings import MiningSettings, Recipe, ScoreSettings


class Constructors:
    """The class methods of `OODDetector` that return one."""

    @classmethod
    def _of(cls, arguments: dict[str, Any]) -> OODDetector:
        return cast("type[OODDetector]", cls)(**arguments)

    @classmethod
    def from_classes(
        cls,
        names: Sequence[str],
        models: str | Path | Bundle = "photo",
        negatives: GivenNegatives | None = None,
        prompt_set: str | None = None,
        share: float | None = None,
        quantile: float | None = None,
        settings: ScoreSettings | None = None,
        device: str = "auto",
        mining: MiningSettings | None = None,
    ) -> OODDetector:
        """Make a detector from class names alone (NegLabel, ICLR 2024); no image is needed.

        Negative labels are mined from the bundle's words: of nouns and of adjectives, the fraction
        `share` least like the classes, by the `quantile` of their cosines. `mining` holds all
        settings of it, CSP's pool among them; `prompt_set`, `share` and `quantile` take precedence.
        Or they are given: as words, `Word`s or prompts, as a text file with one per line, or as the
        name of a shipped list, "neglabel-imagenet" or "negrefine-imagenet". Labels equal to a class
        name are left out, unless `mining` says otherwise. `device` is "auto" (the accelerator if
        there is one), "cpu" or another that torch knows. Raises `InputError` for no, empty or
        repeated names.

        >>> OODDetector.from_classes(["cat", "dog"], negatives=["car"])  # doctest: +SKIP
        """
        bundle = load_bundle(models)
        chosen = mining_settings(mining or bundle.mining, prompt_set, share, quantile)
        parts = zero_shot(names, bundle, chosen, negatives, settings, pick_device(device))
        return cls._of(parts)

    @classmethod
    def from_features(
        cls,
        features: ArrayLike,
        labels: ArrayLike,
        class_names: Sequence[str],
        text_features: ArrayLike | None = None,
        negative_features: ArrayLike | None = None,
        *,
        negative_labels: Sequence[str] | None = None,
        logit_scale: float = 100.0,
        tpr: float = 0.95,
        seed: int = 0,
    ) -> OODDetector:
        """Make a detector from image features (N, D) computed anywhere; no encoder is loaded.

        `labels` (N,) are the images' classes, as names or as rows of `class_names`. With features
        of the class names (C, D) and of negative labels (M, D) from the same model's text side, a
        projection is tuned and the score weighs text and images; without, images alone. Lengths of
        rows do not matter. `logit_scale` is the model's (100: CLIP's), `negative_labels` are the
        negatives' names, for explanations. The threshold keeps `tpr` of new images, from scores of
        these images by evidence that has not seen them; too few of them leave it unset.

        The detector scores features alone: see `score_features` and `predict_features`.

        >>> detector = OODDetector.from_features(train, labels, ["cat", "dog"])  # doctest: +SKIP
        >>> detector.score_features(new)  # doctest: +SKIP
        """
        from synood.detector.from_features import detector_from_features

        return detector_from_features(
            features,
            labels,
            class_names,
            text_features,
            negative_features,
            negative_labels=negative_labels,
            logit_scale=logit_scale,
            tpr=tpr,
            seed=seed,
        )

    @classmethod
    def fit(
        cls,
        images: str | Path | ImageIndex,
        recipe: str | Path | Recipe = "plus",
        *,
        run: str | Path,
        models: str | Path | Bundle = "photo",
        seed: int = 0,
        progress: Progress | None = None,
        device: str = "auto",
        batch_size: int | Literal["auto"] = 8,
        max_bad: float = 0.05,
        describer: Describer | None = None,
        executor: Executor | None = None,
        negatives: GivenNegatives | None = None,
        mirror: str | None = None,
        overwrite: bool = False,
        tracker: Tracker | str | None = None,
    ) -> OODDetector:
        """Make a detector from a folder per class of images, by the whole method of the paper.

        `run` is the directory of the run: an interrupted run goes on with the same call; a finished
        run of other classes, images, models or recipe is replaced only with `overwrite`. `seed` is
        the random seed, `progress` is called after each batch of a stage, `device` is as for
        `from_classes`. `batch_size` images are synthesized together ("auto": as many as fit).
        `max_bad` is the fraction of unreadable images to tolerate. An encoder of images alone
        (`models="photo+encoder=facebook/dinov2-base"`) gives a detector of image evidence alone:
        nothing is mined, synthesized or tuned. `describer` replaces the
        bundle's, `negatives` the mined negative labels. `executor` does the heavy work, by default
        this process. `mirror` is the URL to mirror `run` to. `tracker` is
        sent progress, losses and results: trackio, wandb, or an object with init, log and finish.
        See `synood.pipeline.run.fit`.

        >>> OODDetector.fit("photos/", run="runs/first")  # doctest: +SKIP
        """
        from synood.images.checks import check_outside
        from synood.images.sources import ImageIndex, folder_per_class

        if not isinstance(images, (str, Path, ImageIndex)):
            raise InputError(
                "images: give the folder of a folder per class, or an index of it "
                f"(synood.images.sources.folder_per_class), not {type(images).__name__}"
            )
        if isinstance(images, (str, Path)):
            check_outside(Path(images), Path(run))
        # by its name, since the pipeline is built on detectors and not the other way round
        run_pipeline = import_module("synood.pipeline.run").fit
        detector: OODDetector = run_pipeline(
            folder_per_class(Path(images)) if isinstance(images, (str, Path)) else images,
            load_bundle(models),
            recipe,
            Path(run),
            seed,
            progress,
            device=device,
            batch_size=batch_size,
            max_bad=max_bad,
            describer=describer,
            executor=executor,
            negatives=negatives,
            mirror=mirror,
            overwrite=overwrite,
            tracker=tracker,
        )
        return detector

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        models: str | Path | Bundle | None = None,
        device: str = "auto",
        revision: str | None = None,
    ) -> OODDetector:
        """Read a detector directory, refusing a damaged one with a `CheckpointError`.

        `path` may be the id of one on the Hugging Face hub: "owner/name", at a `revision` (branch,
        tag or commit), also written "owner/name@revision". It is fetched once, into the hub's
        cache. The encoder is loaded when the first image is scored, from the recorded bundle or
        from `models`, and must be the one the detector was made with. `device` is as for
        `from_classes`.

        >>> OODDetector.from_pretrained("my-detector").class_names  # doctest: +SKIP
        ('panda', 'lighthouse')
        """
        place = located(path, revision)
        arguments = read_detector(place.directory, place.root)
        backbone: Backbone = arguments["encoder"]
        backbone.device = device
        if place.is_fetched:
            backbone.path = None  # of the machine that it was made on
        if models is not None:
            backbone.use(load_bundle(models))
        return cls._of(arguments)

"""`synood zero-shot` and `synood mine`: what is made of class names alone."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING

from synood.cli.console import deliver, detector_text, reporter
from synood.cli.evaluate import Preprocess  # noqa: TC001
from synood.cli.options import Assignments, Device, Models, Names  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models.bundles import Bundle
    from synood.settings import MiningSettings


def zero_shot(
    *,
    classes: Path | None = None,
    out: Path,
    models: Models = "mini",
    benchmark: str | None = None,
    root: Path | None = None,
    names: Names = "openai",
    preprocess: Preprocess | None = None,
    negatives: str | None = None,
    share: float | None = None,
    set_: Assignments = (),
    device: Device = "auto",
) -> None:
    """Make a detector from class names alone (NegLabel): no images, no training.

    Parameters
    ----------
    classes
        File of class names: .txt with one a line, or a .json list.
    out
        Directory for the detector.
    benchmark
        Name of a benchmark (`synood benchmark list`) whose class names are taken instead.
    root
        Folder that holds the benchmark's sets; only the embedded ones need to be there.
    names
        Whose names ImageNet's classes bear: OpenAI's, as in NegLabel, or those of SynOOD's code.
    preprocess
        How the encoder's images are resized and cropped, in place of its checkpoint's own way.
    negatives
        Negative labels instead of those mined from WordNet: a file of one a line, or
        "neglabel-imagenet", the list that NegLabel released for ImageNet.
    share
        Share of the candidate words that become negative labels; 0.15 if not given.
    set_
        Change a field of the mining, e.g. --set mining.pool=csp; may be repeated.
    """
    from synood.cli.inputs import class_names, preprocessed
    from synood.detector.ood_detector import OODDetector
    from synood.models.bundles import load_bundle
    from synood.models.device import pick_device

    bundle = load_bundle(preprocessed(models, preprocess))
    detector = OODDetector.from_classes(
        class_names(classes, benchmark, root, names),
        bundle,
        negatives,
        device=pick_device(device),
        mining=_mining(bundle, share, set_),
    )
    detector.save_pretrained(out)
    deliver(detector_text(detector))
    deliver("".join(f"{note}\n" for note in detector.notes))
    deliver(f"detector: {out}\n")


def mine(
    *,
    classes: Path | None = None,
    out: Path,
    models: Models = "mini",
    benchmark: str | None = None,
    root: Path | None = None,
    names: Names = "openai",
    words: str | None = None,
    compare: str | None = None,
    share: float | None = None,
    set_: Assignments = (),
    device: Device = "auto",
) -> None:
    """Write the negative labels for class names to a file that `--negatives` reads.

    Parameters
    ----------
    classes
        File of class names: .txt with one a line, or a .json list.
    out
        Text file to write, one negative label a line.
    benchmark
        Name of a benchmark (`synood benchmark list`) whose class names are taken instead.
    root
        Folder that holds the benchmark's sets; only the embedded ones need to be there.
    names
        Whose names ImageNet's classes bear: OpenAI's, as in NegLabel, or those of SynOOD's code.
    words
        Candidates instead of the bundle's own: "wordnet", a directory of WordNet's database files,
        or a file of one word a line.
    compare
        List of negative labels to compare with: a file, or "neglabel-imagenet".
    share
        Share of the candidate words that become negative labels; 0.15 if not given.
    set_
        Change a field of the mining, e.g. --set mining.pool=csp; may be repeated.
    """
    from synood._zero_shot import checked_class_names, find_prompt_set, text_encoder
    from synood.cli.inputs import class_names
    from synood.files import write_text
    from synood.labels.comparing import compare_labels
    from synood.labels.lists import label_line, read_labels, read_words
    from synood.labels.negatives import mined_labels
    from synood.labels.pools import candidates
    from synood.models.bundles import load_bundle
    from synood.models.device import pick_device

    bundle = load_bundle(models)
    mining = _mining(bundle, share, set_)
    classnames = checked_class_names(class_names(classes, benchmark, root, names))
    prompts = find_prompt_set(mining.prompt_set)
    listed = None if compare is None else read_labels(compare)
    corpus = bundle.words() if words is None else read_words(words)
    encoder = bundle.encoder(pick_device(device))
    with reporter() as progress:
        encode = text_encoder(encoder, lambda done, total: progress("words", done, total, ""))
        class_features = text_encoder(encoder)(prompts.class_prompts(classnames))
        found = mined_labels(corpus, classnames, prompts, mining, encode, class_features)
    lines = map(label_line, found.words, found.prompts)
    write_text(out, "".join(f"{line}\n" for line in lines))
    deliver(f"{len(found.words):,} negative labels: {out}\n")
    if listed is not None:
        pool = candidates(corpus, mining.pool, mining.seed)
        deliver(f"{compare_labels(found.words, listed, pool, classnames).text()}\n")


def _mining(bundle: Bundle, share: float | None, assignments: Sequence[str]) -> MiningSettings:
    from synood.pipeline.recipe import resolve_recipe

    shorthand = () if share is None else (f"mining.share={share}",)
    return resolve_recipe("paper", bundle.recipe_defaults, (*assignments, *shorthand)).mining

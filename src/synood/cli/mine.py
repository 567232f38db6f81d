"""`synood mine`: negative labels for class names."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import deliver, reporter
from synood.cli.options import (
    OWN_DATA,
    BenchmarkOptions,
    Device,
    MiningAssignments,
    Models,
    Overwrite,
    Share,
)


def mine(
    *,
    classes: Path | None = None,
    out: Path,
    overwrite: Overwrite = False,
    data: BenchmarkOptions = OWN_DATA,
    models: Models = "photo",
    words: str | None = None,
    compare: str | None = None,
    share: Share = None,
    set_: MiningAssignments = (),
    device: Device = "auto",
) -> None:
    """Mine negative labels for class names into a file that `--negatives` reads.

    Parameters
    ----------
    classes
        File of class names: .txt with one per line, or a .json list.
    out
        Text file to write, one negative label per line.
    words
        Candidate words: "wordnet", a WordNet directory, or a text file; the bundle's otherwise.
    compare
        Negative labels to compare the result with: a text file, "neglabel-imagenet" or \
"negrefine-imagenet".
    """
    from synood.cli.inputs import class_names, mining_assignments, mining_of, warn_of_names
    from synood.cli.outputs import check_output_file
    from synood.features.texts import class_features, loaded_texts
    from synood.files import write_text
    from synood.labels.class_names import checked_class_names
    from synood.labels.lists import label_line, read_labels, read_words
    from synood.labels.negatives import mined_labels
    from synood.labels.overlap import compare_labels
    from synood.labels.pools import candidates
    from synood.labels.prompts import find_prompt_set
    from synood.models.bundles import load_bundle
    from synood.models.device import pick_device
    from synood.models.loaded import Models

    check_output_file(out, overwrite, (classes, words, compare))
    bundle = load_bundle(models)
    mining = mining_of(bundle, mining_assignments(share, set_))
    classnames = checked_class_names(class_names(classes, data))
    warn_of_names(classnames)
    prompts = find_prompt_set(mining.prompt_set)
    listed = None if compare is None else read_labels(compare)
    corpus = bundle.words() if words is None else read_words(words)
    texts = loaded_texts(Models(bundle, pick_device(device)))
    with reporter() as progress:
        encode = partial(texts.encode, progress=partial(progress, "words"))
        class_rows = class_features(texts.encode, classnames, prompts.name)
        found = mined_labels(corpus, classnames, prompts, mining, encode, class_rows)
    lines = map(label_line, found.words, found.prompts)
    write_text(out, "".join(f"{line}\n" for line in lines))
    deliver(f"{len(found.words):,} negative labels: {out}\n")
    if listed is not None:
        pool = candidates(corpus, mining.pool, mining.seed)
        deliver(f"{compare_labels(found.words, listed, pool, classnames).text()}\n")

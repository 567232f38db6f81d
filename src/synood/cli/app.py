"""The command line: each command is a few lines over the public API. Nothing else prints."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App, CycloptsError, Parameter

from synood import __version__
from synood.cli.benchmark import benchmark
from synood.cli.cache import cache
from synood.cli.console import Format, deliver, detector_text, predictions_text, reporter
from synood.cli.evaluate import Preprocess, evaluate
from synood.cli.executor_options import HERE, Spread
from synood.cli.labels import mine, zero_shot
from synood.cli.models import models as list_models
from synood.cli.options import (  # noqa: TC001 - the command line reads the annotations
    Assignments,
    Device,
    Flag,
    Models,
    Names,
)
from synood.cli.report import report
from synood.cli.reproduce import reproduce
from synood.cli.signals import Terminated, terminable
from synood.cli.status import status
from synood.cli.synthesize import synthesize
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


DONE, OUR_FAULT, INPUT_FAULT, OOD_FOUND, STOPPED, TERMINATED = 0, 1, 2, 3, 130, 143
_PATH_FAULTS = {
    errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
    errno.ENAMETOOLONG, errno.EEXIST, errno.EFBIG, errno.EDQUOT,
}  # fmt: skip

_HELP = """
Says whether a picture shows one of your classes or something else (out-of-distribution, OOD).

A detector is made from class names alone (zero-shot), or from a folder of images per class (fit): \
then images near the boundary of the classes are synthesized and learned from.

Exit codes: 0 done, 1 our fault, 2 the input's fault, 3 OOD found and --fail-on-ood given.
"""

app = App(
    name="synood",
    version=__version__,
    help=_HELP,
    help_format="plaintext",
    default_parameter=Parameter(negative=""),
    suppress_keyboard_interrupt=False,
)
app.command(benchmark)
app.command(evaluate, sort_key=5)
app.command(zero_shot, sort_key=2)
app.command(mine, sort_key=6)
app.command(synthesize, sort_key=1)
app.command(reproduce, sort_key=7)
app.command(report, sort_key=7)
app.command(list_models, name="models", sort_key=8)
app.command(status, sort_key=8)
app.command(cache)


@app.command(sort_key=0)
def demo(
    out: Path = Path("demo-out"),
    seeds: int = 5,
    *,
    split: Literal["hard", "main"] = "hard",
    recipe: str = "paper",
    device: Device = "auto",
) -> int:
    """Run the whole method on the embedded mini world: a table, and a page to look at.

    Parameters
    ----------
    out
        Directory for report.html, results.json and the pictures.
    seeds
        How many times the tuning is repeated, for the intervals.
    split
        Whose drawings the test scenes show: "hard", a vendor's that no model has seen, or "main",
        those that the models have seen in other scenes, where nearly all methods are near 100 %.
    recipe
        The hyperparameters: "paper", "plus", "released", or a TOML file.
    """
    from synood.benchmark.experiments.demo import run_demo
    from synood.models.device import pick_device

    with reporter() as progress:
        text = run_demo(
            out, seeds, progress, recipe=recipe, split=split, device=pick_device(device)
        )
    print(text)
    return DONE


@app.command(sort_key=1)
def fit(
    images: Path | None = None,
    /,
    *,
    out: Path,
    models: Models = "mini",
    recipe: str = "paper",
    benchmark: str | None = None,
    root: Path | None = None,
    names: Names = "openai",
    preprocess: Preprocess | None = None,
    classes: Path | None = None,
    per_class: int | None = None,
    seed: int = 0,
    device: Device = "auto",
    batch_size: int | Literal["auto"] = 8,
    descriptions: Path | None = None,
    describer: Path | None = None,
    max_bad: float = 0.05,
    negatives: str | None = None,
    mirror: str | None = None,
    set_: Assignments = (),
    spread: Spread = HERE,
) -> int:
    """Make a detector from a folder of images per class. Interrupted, it goes on when run again.

    Parameters
    ----------
    images
        Folder that holds one folder of images for each class.
    out
        Directory of the run; the detector will be in its folder "detector".
    recipe
        The hyperparameters: "paper", "plus", "released", or a TOML file (a run.toml as well).
    benchmark
        Name of a benchmark (`synood benchmark list`) whose training images are taken instead.
    root
        Folder that holds the benchmark's sets.
    names
        Whose names ImageNet's classes bear: OpenAI's, as in NegLabel, or those of SynOOD's code.
    preprocess
        How the encoder's images are resized and cropped, in place of its checkpoint's own way.
    classes
        JSON file of class names: {"folder": "name"}, or a list in the folders' sorted order.
    per_class
        Images of each class that are redrawn; the same as --set select.per_class=N.
    seed
        Of every random number; the same seed gives the same bytes.
    batch_size
        Pictures painted at a time; "auto": the largest number that fits, found by trying.
    descriptions
        JSONL file of contexts, {"id": "folder/image.jpg", "text": "..."}, for the bundle's own.
    describer
        JSON file of a describer instead of the bundle's, such as an endpoint: docs/describing.md.
    max_bad
        Share of images that may be unreadable, are left out and listed in quarantine.jsonl; more
        of them stop the run, with 0 the first one does.
    negatives
        Negative labels instead of those mined: a file of one a line, or "neglabel-imagenet".
    mirror
        URL of a copy that is kept of --out, e.g. s3://bucket/run; an empty --out begins with it.
    set_
        Change a field of the recipe, e.g. --set negatives.epochs=10; may be repeated.
    """
    from synood.cli.inputs import describer_of, preprocessed, training_images
    from synood.models.bundles import load_bundle
    from synood.pipeline.recipe import resolve_recipe
    from synood.pipeline.run import fit as run_fit

    index = training_images(images, classes, benchmark, root, names)
    bundle = load_bundle(preprocessed(models, preprocess))
    shorthand = () if per_class is None else (f"select.per_class={per_class}",)
    resolved = resolve_recipe(recipe, bundle.recipe_defaults, (*set_, *shorthand))
    with spread.opened() as executor, reporter() as progress:
        detector = run_fit(
            index,
            bundle,
            resolved,
            out,
            seed,
            progress,
            device=device,
            batch_size=batch_size,
            max_bad=max_bad,
            describer=describer_of(descriptions, describer),
            negatives=negatives,
            executor=executor,
            mirror=mirror,
        )
    print(detector_text(detector), end="")
    made, place = out / "detector", f" --root {root}" if root else ""
    then = f"evaluate {made} --benchmark {benchmark}{place}" if benchmark else None
    print(f"detector: {made}\nnext: synood {then or f'score {made} PHOTO...'}")
    return DONE


@app.command(sort_key=3)
def score(
    detector: Path,
    /,
    *paths: Path,
    format: Format = "table",
    out: Path | None = None,
    fail_on_ood: Flag = False,
    models: str | None = None,
    device: Device = "auto",
    spread: Spread = HERE,
) -> int:
    """Score images: 1 is surely one of the classes, 0 surely none.

    A file that cannot be read has a row with its reason; all others are scored, and the exit code
    is 2, or 3 with --fail-on-ood and an OOD image among the others.

    Parameters
    ----------
    detector
        Directory of a detector.
    paths
        Images, and folders of images.
    format
        How the verdicts are written.
    out
        File to write to, instead of the screen.
    fail_on_ood
        Exit with 3 if an image is out-of-distribution.
    models
        Where the detector's bundle lies now, if it was moved.
    """
    from synood.cli.inputs import load_detector
    from synood.images.sources import find_images
    from synood.pipeline.scoring import predict_index

    index = find_images(paths)
    judge = load_detector(detector, device, models)
    if fail_on_ood and judge.threshold is None:
        raise InputError(f"{detector}: has no threshold yet; set one with `synood calibrate`")
    with spread.opened() as executor, reporter() as progress:
        predictions = predict_index(judge, index, executor, partial(progress, "score"))
    deliver(predictions_text(predictions, format), out)
    if fail_on_ood and any(prediction.is_ood for prediction in predictions):
        return OOD_FOUND
    bad = [prediction.error for prediction in predictions if prediction.error]
    if bad:
        raise InputError(f"{len(bad)} of {len(predictions)} images have no score: {bad[0]}")
    return DONE


@app.command(sort_key=4)
def calibrate(
    detector: Path,
    /,
    *,
    id: Path,
    tpr: float = 0.95,
    out: Path | None = None,
    device: Device = "auto",
) -> int:
    """Set the threshold below which an image counts as out-of-distribution.

    Parameters
    ----------
    detector
        Directory of a detector.
    id
        In-distribution images that the detector has not seen.
    tpr
        Share of them that is to be kept.
    out
        Directory for the detector with its threshold; without it, the given one is replaced.
    """
    from synood.cli.inputs import load_detector, scores_of
    from synood.images.sources import find_images

    index = find_images([id])
    judge = load_detector(detector, device)
    with reporter() as progress:
        scores = scores_of(judge, index, "calibrate", progress)
    judge = judge.calibrate(scores, tpr)
    judge.save_pretrained(out or detector)
    print(detector_text(judge), end="")
    if judge.calibration and judge.calibration.warning:
        print(f"warning: {judge.calibration.warning}")
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is one line on stderr."""
    # The libraries' remarks on their own loading are of no use to the person at the screen.
    for library in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(library, "error")
    try:
        with terminable():
            code = app(
                arguments, exit_on_error=False, print_error=False, result_action="return_value"
            )
        sys.stdout.flush()  # here, where a closed or full standard output can still be told
    except (CycloptsError, InputError) as error:
        return _fail(str(error), INPUT_FAULT)
    except BrokenPipeError:  # as of `synood score ... | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.errno not in _PATH_FAULTS:
            return _our_fault()
        return _fail(f"{error.filename or 'writing'}: {error.strerror}", INPUT_FAULT)
    except KeyboardInterrupt as error:
        code = TERMINATED if isinstance(error, Terminated) else STOPPED
        return _fail("stopped; `fit` and `demo` go on from here when run again", code)
    except Exception:  # noqa: BLE001 - the outermost place: whatever it is, it is our fault
        return _our_fault()
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int) -> int:
    print(f"synood: {' '.join(message.split())}", file=sys.stderr)
    return code


def _our_fault() -> int:
    traceback.print_exc()
    return _fail("this is a fault of synood, not of your input; please report it", OUR_FAULT)


if __name__ == "__main__":
    sys.exit(main())

"""Options that several commands share, with their help; large groups are dataclasses."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cyclopts import Token

    from synood.executor import Executor


def _whole(_: type, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts would cut 2.5 down to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"must be a whole number, not {tokens[0].value!r}") from None


def _batch_size(kind: type, tokens: Sequence[Token]) -> int | str:
    """Read a whole number or "auto"."""
    if tokens[0].value == "auto":
        return "auto"
    try:
        return _whole(kind, tokens)
    except ValueError as error:
        raise ValueError(f"{error}; or use 'auto'") from None


Whole = Annotated[int, Parameter(converter=_whole)]
BatchSize = Annotated[int | Literal["auto"], Parameter(converter=_batch_size, show_choices=False)]
Models = Annotated[
    str,
    Parameter(
        help='Models to use: "photo", "mini", "paper" or a directory with a bundle.json; '
        '"paper+encoder=ID" replaces one part by a hub id or a folder (see `synood models`).'
    ),
]
MovedModels = Annotated[
    str | None, Parameter(name="--models", help="Bundle of the detector, if it was moved.")
]
Images = Annotated[
    str,
    Parameter(
        help='Images: files, folders, a list file (.txt, one path per line), "-" (such a list on '
        'standard input), or a quoted pattern ("photos/**/*.jpg").'
    ),
]
InDistribution = Annotated[
    Path | None,
    Parameter(
        help="In-distribution images that the detector was not made from: a folder, a list file "
        "(.txt) or a quoted pattern."
    ),
]
Device = Annotated[
    str, Parameter(help='Device to run on: "auto", "cpu" or another name that torch knows.')
]
RecipeName = Annotated[
    str,
    Parameter(
        name="--recipe",
        help='Hyperparameters: "paper", "plus", "released", or a TOML file (run.toml included).',
    ),
]
Preprocess = Annotated[
    Literal[
        "exact",
        "fast",
        "clip",
        "neglabel",
        "openood",
        "clip-upright",
        "neglabel-upright",
        "openood-upright",
    ]
    | None,
    Parameter(
        name="--preprocess",
        help='How images are decoded, resized and cropped: "exact" and "fast" (large JPEGs decoded '
        "at a reduced size) as the encoder was trained, the others as published benchmarks do.",
    ),
]
Share = Annotated[
    float | None,
    Parameter(
        name="--share",
        help="Fraction of the candidate words to keep as negative labels (0.15 if not given).",
    ),
]
Flag = Annotated[bool, Parameter(show_default=False)]
Overwrite = Annotated[
    Flag, Parameter(name="--overwrite", help="Replace what is at the output path.")
]
Several = Annotated[
    tuple[str, ...], Parameter(consume_multiple=(1, None), negative_iterable=(), show_default=False)
]
Assignments = Annotated[
    Several,
    Parameter(
        name="--set",
        help="Change a field of the recipe, e.g. --set calibration.tpr=0.9; repeatable.",
    ),
]
MiningAssignments = Annotated[
    Several,
    Parameter(
        name="--set", help="Change a field of the mining, e.g. --set mining.pool=csp; repeatable."
    ),
]
MaxBad = Annotated[
    float,
    Parameter(
        name="--max-bad",
        help="Fraction of unreadable images to tolerate; they are skipped and listed "
        "(0: stop at the first).",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class BenchmarkOptions:
    """A benchmark as the source of classes and images."""

    benchmark: str | None = None
    """Benchmark to use instead of your own data (see `synood benchmark list`)."""

    root: Path | None = None
    """Folder that holds the benchmark's image sets."""

    names: Literal["openai", "synood"] = "openai"
    """Class names to use for ImageNet: OpenAI's (as NegLabel) or those of SynOOD's code."""


OWN_DATA = BenchmarkOptions()


@Parameter(name="*")
@dataclass(frozen=True)
class ExecutorOptions:
    """Where the heavy work runs."""

    executor: Literal["local", "ray"] = "local"
    """Where the heavy work runs: in this process or on the workers of a Ray cluster."""

    ray_address: Annotated[str | None, Parameter(show_default=False)] = None
    """Ray cluster as host:port or "auto"; one is started on this machine if not given."""

    workers: Annotated[Whole | None, Parameter(show_default=False)] = None
    """Number of Ray workers; as many as the cluster has room for if not given."""

    worker_cpus: Whole = 1
    """CPU cores (and threads) per worker."""

    worker_gpus: float = 0
    """Accelerators per worker; 0.5 lets two workers share one."""

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """Open the executor that the options ask for."""
        if self.executor == "local":
            if self != ExecutorOptions():
                raise InputError(
                    "--workers, --worker-cpus, --worker-gpus and --ray-address need --executor ray"
                )
            from synood.models.memory import keep_freed_memory
            from synood.pipeline.executors.local import LocalExecutor

            keep_freed_memory()  # of this command; a program that calls synood keeps its own way
            yield LocalExecutor()
            return
        from synood.pipeline.executors.ray import connected

        with connected(
            self.ray_address, self.workers, self.worker_cpus, self.worker_gpus
        ) as executor:
            yield executor


LOCAL = ExecutorOptions()


@Parameter(name="*")
@dataclass(frozen=True)
class DescriberOptions:
    """What describes the surroundings of each image."""

    descriptions: Path | None = None
    """JSONL file of context prompts, {"id": "folder/image.jpg", "text": "..."}."""

    describer: Path | None = None
    """JSON file of a describer, such as an endpoint, to use instead of the bundle's."""


@Parameter(name="*")
@dataclass(frozen=True)
class RecipeOptions:
    """The recipe of a run and changes to it."""

    recipe: RecipeName = "plus"

    set_: Assignments = ()

    per_class: Whole | None = None
    """Images per class to redraw; the same as --set select.per_class=N."""

    seed: Whole = 0
    """Random seed; the same seed gives the same bytes on one machine."""

    @property
    def assignments(self) -> tuple[str, ...]:
        """All changes as `field=value`."""
        short = () if self.per_class is None else (f"select.per_class={self.per_class}",)
        return (*self.set_, *short)

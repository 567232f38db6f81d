"""Results of a detector for the hub: a table of its card, and files below `.eval_results`.

The hub reads `.eval_results/*.yaml`: a value for a task of a data set that is registered there as a
benchmark (https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.evaluation import record_of
from synood.benchmark.results.results import Row, read_results
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synood.detector.ood_detector import OODDetector

EVAL_RESULTS = ".eval_results/"

_SECTION = """\
## Results

AUROC and FPR95 (OOD images accepted while 95 % of in-distribution images are) in percent, with 95 %
intervals over the images, measured by `synood evaluate`.

| OOD set | images | AUROC | FPR95 |
| --- | --- | --- | --- |
{rows}
"""


@dataclass(frozen=True)
class Measured:
    """The rows of one detector, a set each, and the hub's data set that holds the sets, if any."""

    rows: tuple[Row, ...]
    dataset: str | None = None

    def section(self) -> str:
        """Return the section of the card."""
        lines = [
            f"| {row.ood_set} ({row.group}) | {row.n_id:,} and {row.n_ood:,} OOD "
            f"| {_percent(row, 'auroc')} | {_percent(row, 'fpr95')} |"
            for row in self.rows
        ]
        return _SECTION.format(rows="\n".join(lines))

    def files(self) -> dict[str, bytes]:
        """Return a file of `.eval_results` for each OOD set by name; none without a data set.

        The task is the name of the OOD set, the value its AUROC in percent.
        """
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
        from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

        if self.dataset is None:
            return {}
        entries = {
            task_of(row.ood_set): EvalResultEntry(
                dataset_id=self.dataset,
                task_id=task_of(row.ood_set),
                value=round(100 * row.auroc, 2),
                notes=f"AUROC in percent; FPR95 {100 * row.fpr95:.2f} %; {row.n_id:,} "
                f"in-distribution and {row.n_ood:,} OOD images",
            )
            for row in self.rows
        }
        return {
            f"{EVAL_RESULTS}{task}.yaml": yaml_dump(eval_result_entries_to_yaml([entry])).encode()
            for task, entry in entries.items()
        }


def read_measured(path: Path, detector: OODDetector, dataset: str | None = None) -> Measured:
    """Read the rows of `detector` from a file of `synood evaluate`.

    Raises:
        InputError: the file is unreadable, of another detector or without rows of this one; two
            sets have one name as a task; `dataset` is no id.
    """
    found = read_results(path)
    _check_measured(found.run, detector, path)
    rows = tuple(row for row in found.rows if row.method == found.run.get("method"))
    if not rows:
        raise InputError(f"{path}: has no row of the detector; write it with `synood evaluate`")
    tasks = [task_of(row.ood_set) for row in rows]
    if twice := [task for task in tasks if tasks.count(task) > 1]:
        raise InputError(f"{path}: two OOD sets are {twice[0]!r} on the hub; rename one")
    if dataset is not None:
        _check_dataset(dataset)
    return Measured(rows, dataset)


def _check_measured(run: Mapping[str, Any], detector: OODDetector, path: Path) -> None:
    """Refuse a record of other classes, labels or weights, whatever its threshold."""
    told, own = _identity(run), _identity(record_of(detector, {}))
    if told == own:
        return
    if isinstance(told[0], dict) and "scores" not in told[0]:
        raise InputError(
            f"{path}: does not tell which weights were measured, as files of earlier versions do "
            "not; measure the detector again with `synood evaluate`"
        )
    raise InputError(
        f"{path}: was measured with another detector; measure this one with `synood evaluate`"
    )


def _identity(record: Mapping[str, Any]) -> tuple[object, object]:
    """Return what tells detectors apart in a record: the detector itself, the encoder."""
    models = record.get("models")
    return record.get("detector"), models.get("encoder") if isinstance(models, dict) else None


def task_of(name: str) -> str:
    """Return the name of an OOD set as the id of a task and of a file.

    >>> task_of("Textures (DTD)")
    'textures-dtd'
    """
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.") or "set"


def _check_dataset(dataset: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(dataset)
    except HFValidationError as error:
        raise InputError(f"dataset: {' '.join(str(error).split())}") from None
    if "/" not in dataset:
        raise InputError(f"dataset: {dataset!r} is no id of the hub; write it as OWNER/NAME")


def _percent(row: Row, metric: str) -> str:
    low, high = row.ci95[metric]
    return f"{100 * row.value(metric):.2f} ({100 * low:.2f} to {100 * high:.2f})"

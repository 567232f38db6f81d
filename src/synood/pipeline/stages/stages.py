"""The stages of a run: each reads files, writes files, and does nothing that is already there.

A row or file carries, as `inputs`, the fingerprint of everything that could change it. What still
carries the right one is kept; what does not is made again, and by the same rule what follows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from synood.features.unreadable import Unreadable
from synood.files import fingerprint, read_jsonl, write_jsonl
from synood.pipeline.executors.tasks import Describe
from synood.pipeline.rundir.quarantine import Bad, refuse
from synood.pipeline.rundir.shards import SHARD, Order, Synthetic, read_synthetic, tidy, write_shard
from synood.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synood.features.store import FeatureStore
    from synood.labels.lists import LabelList
    from synood.labels.negatives import Negatives
    from synood.labels.prompts import Prompts
    from synood.labels.wordnet import Word
    from synood.models.loaded import Models
    from synood.pipeline.executors.local import Executor
    from synood.pipeline.rundir.quarantine import Lose, Stage
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.painting import Paints
    from synood.pipeline.stages.select import Picture
    from synood.progress import StageProgress
    from synood.settings import DescribeSettings, GuidanceSettings, MiningSettings
    from synood.synthesis.guidance import Rendered

T = TypeVar("T")
DESCRIBE_AT_ONCE = 16


@dataclass(frozen=True)
class Assignment:
    """Which negative label each synthetic image belongs to.

    `used` (M',) are the rows of the negatives that at least one image belongs to, ascending;
    `targets` (m,) index into `used`.
    """

    used: NDArray[np.int64]
    targets: NDArray[np.int64]


def mine(
    store: FeatureStore,
    words: Sequence[Word],
    class_names: Sequence[str],
    settings: MiningSettings,
    advance: StageProgress,
    given: LabelList | None = None,
) -> Negatives:
    """Choose the negative labels among `words` as NegLabel does (its §3), or take those given."""
    from synood.labels.negatives import listed_labels, mined_labels
    from synood.labels.prompts import find_prompt_set

    prompts = find_prompt_set(settings.prompt_set)

    def encode(texts: Sequence[Prompts]) -> NDArray[np.float32]:
        return store.texts(texts, advance)

    if given is not None:
        return listed_labels(given.words, prompts, encode)
    class_features = store.texts(prompts.class_prompts(class_names), no_progress)
    return mined_labels(words, class_names, prompts, settings, encode, class_features)


def describe(
    path: Path,
    pictures: Sequence[Picture],
    models: Models,
    settings: DescribeSettings,
    advance: StageProgress,
    executor: Executor,
    lose: Lose = refuse,
) -> dict[str, str]:
    """Return the in-painting prompt of each picture by its id; describe.jsonl keeps the texts.

    A new text whose prompt is too long for the in-painting model is shortened; one changed by hand
    in that file is used as it stands. Pictures that can no longer be read are told to `lose` and
    have no prompt.
    """
    rows = {row["inputs"]: row for row in _rows_if_any(path) if "inputs" in row}
    inputs = [
        fingerprint(
            "describe", picture.sha256, picture.label, picture.id, models.describer_fingerprint
        )
        for picture in pictures
    ]
    missing = [i for i, stamp in enumerate(inputs) if stamp not in rows]
    limits = models.bundle.prompt_limits() if missing else None
    if limits is not None:
        limits.check_template(settings.template)  # before any description is paid for
    plan = models.describing_plan(len(missing)) if missing else None
    if plan:
        advance(0, 0, plan)
    prompt_of, shortened = partial(painting_prompt, settings=settings), 0
    done, saved = len(inputs) - len(missing), 0
    batches = list(batched(missing, DESCRIBE_AT_ONCE))
    described = executor.run(Describe(models), [[pictures[i] for i in batch] for batch in batches])
    for number, texts in described:
        batch = batches[number]
        for i, text in zip(batch, texts, strict=True):
            if not isinstance(text, Unreadable):
                row = {"id": pictures[i].id, "text": text, "describer": models.describer.id}
                fit = limits.shortened(text, prompt_of) if limits else text
                if fit != text:
                    row, shortened = {**row, "text": fit, "full_text": text}, shortened + 1
                rows[inputs[i]] = {**row, "inputs": inputs[i]}
        done += len(batch)
        if done - saved > len(missing) // 20:  # a kill loses a twentieth at most
            write_jsonl(path, [rows[stamp] for stamp in inputs if stamp in rows])
            saved = done
        _tell_lost("describe", lose, [(pictures[i].path, pictures[i].id) for i in batch], texts)
        last = texts[-1]
        advance(done, len(inputs), last.reason if isinstance(last, Unreadable) else last)
    write_jsonl(path, [rows[stamp] for stamp in inputs if stamp in rows])
    if shortened:
        advance(
            0,
            0,
            f"{shortened} of {len(missing)} descriptions shortened to what the in-painting "
            f"model's text tower takes; {path.name} has both",
        )
    advance(len(inputs), len(inputs), "")
    return {
        picture.id: painting_prompt(str(rows[stamp]["text"]), settings)
        for picture, stamp in zip(pictures, inputs, strict=True)
        if stamp in rows
    }


def painting_prompt(text: str, settings: DescribeSettings) -> str:
    """Put the description of the context, cut if the recipe says so, into the template."""
    return settings.template.replace("{}", text[: settings.max_characters])


def image_seed(run_seed: int, image_sha256: str) -> int:
    """Seed of one image's random numbers, in [0, 2^63): of the run and of the file's content.

    Not of its name or place: a renamed image, or one among others, is painted as before.
    """
    digest = sha256(f"{run_seed}:{image_sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def painting_orders(
    pictures: Sequence[Picture],
    prompts: Sequence[str],
    seed: int,
    settings: GuidanceSettings,
    model_prints: Sequence[str],
) -> list[Order]:
    """Say what is to be painted, with the fingerprint of all that it depends on.

    The same image twice is painted twice, alike, so that each order has a file of its own.
    """
    together = settings.target_quantile is not None  # then the target depends on every image
    company = sorted(picture.sha256 for picture in pictures) if together else []
    orders, twins = [], Counter[str]()
    for picture, prompt in zip(pictures, prompts, strict=True):
        own = image_seed(seed, picture.sha256)
        inputs = (picture.sha256, prompt, own, asdict(settings), list(model_prints), company)
        stamp = fingerprint("synthesize", *inputs)
        twins[stamp] += 1
        if twins[stamp] > 1:
            stamp = fingerprint(stamp, twins[stamp])
        orders.append(Order(picture.id, picture.path, picture.sha256, prompt, own, stamp))
    return orders


def synthesize(
    directory: Path,
    orders: Sequence[Order],
    make_painter: Callable[[], Paints],
    workspace: Workspace,
    lose: Lose = refuse,
) -> list[Synthetic]:
    """Paint what is not there yet, shard by shard, and return all pictures in order.

    `make_painter` is called when there is something to paint: it loads the models. Orders whose
    image can no longer be read are told to `lose` and have no picture.
    """
    advance = workspace.stage("synthesize")
    found = read_synthetic(directory)
    missing = [order for order in orders if order.inputs not in found]
    painted = written = len(orders) - len(missing)
    if missing:
        painter = make_painter()
        painter.check_prompts([order.prompt for order in missing])
        batches = list(batched(missing, painter.batch_size))
        shards = _Shards(batches)
        for number, rendered in painter.paint_all(batches):
            painted += len(rendered)
            advance(painted, len(orders), batches[number][-1].prompt)
            for ordered, pictures in shards.add(number, rendered):
                made = write_shard(directory, ordered, pictures)
                found.update({one.inputs: one for one in made})
                written += len(made)
                workspace.log("shard", pictures=len(made), done=written)
            sources = [(order.source, order.id) for order in batches[number]]
            _tell_lost("synthesize", lose, sources, rendered)
    advance(len(orders), len(orders), "")
    return tidy(directory, found, [order for order in orders if order.inputs in found])


class _Shards:
    """Batches that come in any order, put together: some `SHARD` pictures that follow each other.

    What is painted later, after a kill, is again whole shards, and so the same batches.
    """

    def __init__(self, batches: Sequence[Sequence[Order]]) -> None:
        self._batches = batches
        self._painted: dict[int, Sequence[Rendered | Unreadable]] = {}
        self._size = max(1, SHARD // len(batches[0]))  # batches

    def add(
        self, number: int, rendered: Sequence[Rendered | Unreadable]
    ) -> Iterator[tuple[list[Order], list[Rendered]]]:
        """Take in a batch; yield its shard if it was the last that the shard lacked.

        Orders that were lost are no part of it.
        """
        self._painted[number] = rendered
        first = number - number % self._size
        members = range(first, min(first + self._size, len(self._batches)))
        if all(member in self._painted for member in members):
            pairs = [
                (order, picture)
                for member in members
                for order, picture in zip(
                    self._batches[member], self._painted.pop(member), strict=True
                )
                if not isinstance(picture, Unreadable)
            ]
            if pairs:
                yield [order for order, _ in pairs], [picture for _, picture in pairs]


def assign(
    path: Path,
    synthetic: Sequence[Synthetic],
    features: NDArray[np.float32],
    negatives: Negatives,
) -> Assignment:
    """Give each synthetic image its nearest negative label; assign.jsonl holds them by name."""
    from synood.tuning.assignment import compact, nearest_negative

    nearest = nearest_negative(features, negatives.features)
    rows = [
        {"id": picture.id, "negative": int(row), "prompt": negatives.prompts[row]}
        for picture, row in zip(synthetic, nearest, strict=True)
    ]
    write_jsonl(path, rows)
    return Assignment(*compact(nearest))


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces of at most `size`.

    >>> list(batched("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _tell_lost(
    stage: Stage, lose: Lose, sources: Sequence[tuple[Path, str]], results: Sequence[object]
) -> None:
    lose(
        stage,
        [
            Bad(image_id, path, result.reason)
            for (path, image_id), result in zip(sources, results, strict=True)
            if isinstance(result, Unreadable)
        ],
    )


def _rows_if_any(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []

"""Verdicts are written as they come: what has gone by is counted, and not kept."""

from __future__ import annotations

import io
import json
import weakref

import pytest

from synood.cli.verdicts import Tally, spooled, write_verdicts
from synood.detector import Prediction
from synood.detector.explanation import Explanation
from synood.errors import InputError
from synood.executor import in_turn
from synood.images.sources import find_images
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.scoring import BATCH, iter_index, predict_index
from synood.progress import no_progress


class Living:
    """Predictions that know how many of them there are at once."""

    def __init__(self) -> None:
        self.now: weakref.WeakSet[Prediction] = weakref.WeakSet()
        self.most = 0

    def made(self, count):
        for number in range(count):
            one = Prediction(float(number), number % 3 == 0, "cat", image_evidence=0.5)
            self.now.add(one)
            self.most = max(self.most, len(self.now))
            yield one


@pytest.mark.parametrize("form", ["jsonl", "csv", "cleanvision"])
def test_a_long_folder_takes_no_more_than_a_short_one(form):
    living, tally = Living(), Tally()
    with spooled() as file:
        write_verdicts(file, tally.of(living.made(20_000)), form)
        file.seek(0)
        lines = file.readlines()
    assert len(lines) == 20_000 + (form != "jsonl")
    assert living.most <= 3
    assert tally.scores.tolist() == [float(number) for number in range(20_000)]
    assert len(tally.image_evidence) == 20_000


def test_a_long_text_is_the_same_as_a_short_one():
    longer = "x" * 2_000  # so that the text goes to the disk on the way
    predictions = [Prediction(0.5, None, f"é{longer}{number}") for number in range(1_500)]
    plain = io.StringIO()
    write_verdicts(plain, predictions, "jsonl")
    with spooled() as file:
        write_verdicts(file, predictions, "jsonl")
        file.seek(0)
        assert file.read() == plain.getvalue()
    assert [json.loads(line)["label"] for line in plain.getvalue().splitlines()] == [
        one.label for one in predictions
    ]


def test_columns_of_explanations_are_there_without_a_first_row_that_has_them():
    unreadable = Prediction(float("nan"), None, "", error="a.png: is empty")
    explained = Prediction(1.0, False, "cat", why=Explanation((), (), "cat"))
    file = io.StringIO()
    write_verdicts(file, [unreadable, explained], "csv", explain=True)
    head, first, second = file.getvalue().splitlines()
    assert head.split(",")[-1] == "image_class"
    assert first.count(",") == second.count(",") == head.count(",")
    assert second.endswith(",cat")


def test_a_tally_tells_what_the_exit_code_needs():
    tally = Tally()
    assert [*tally.of([])] == []
    tally.refuse_unscored()
    assert (tally.any_ood, tally.image_evidence) == (False, None)
    gone = [Prediction(float("nan"), None, "", error=f"{name}: is empty") for name in "ab"]
    found = [Prediction(1.0, True, "cat", image_evidence=2.0), Prediction(2.0, False, "cat"), *gone]
    assert [*tally.of(found)] == found
    assert tally.any_ood
    assert tally.scores.tolist() == [1.0, 2.0]
    assert tally.image_evidence is None  # not every image has some
    with pytest.raises(InputError, match=r"^2 of 4 images have no score: a: is empty$"):
        tally.refuse_unscored()


class Backwards:
    """An executor whose batches finish in the opposite order."""

    def run(self, task, batches):
        yield from reversed([*LocalExecutor().run(task, batches)])


class Echo:
    """A detector whose label is the file's name."""

    def iter_predict(self, paths, **_options):
        return [Prediction(0.0, None, path.name, path) for path in paths]


def test_predictions_keep_the_order_of_the_images(tmp_path):
    for number in range(2 * BATCH + 5):
        (tmp_path / f"{number:04}.png").write_bytes(b"")
    index = find_images([tmp_path])
    names = [record.path.name for record in index.records]
    told = []
    for executor in (LocalExecutor(), Backwards()):
        found = [*iter_index(Echo(), index, executor, lambda *step: told.append(step))]
        assert [one.label for one in found] == names
    assert told[:3] == [(64, 133, ""), (128, 133, ""), (133, 133, "")]
    assert predict_index(Echo(), index, LocalExecutor(), no_progress) == found


def test_a_prediction_is_yielded_before_the_next_batch_is_scored(tmp_path):
    for number in range(3 * BATCH):
        (tmp_path / f"{number:04}.png").write_bytes(b"")
    told = []
    found = iter_index(
        Echo(), find_images([tmp_path]), LocalExecutor(), lambda *step: told.append(step)
    )
    next(found)
    assert told == [(BATCH, 3 * BATCH, "")]


def test_a_batch_is_yielded_before_the_next_is_done():
    begun = []

    def results():
        for number in range(5):
            begun.append(number)
            yield number, number

    for due in in_turn(results()):
        assert begun == [*range(due + 1)]

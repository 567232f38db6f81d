"""A suite is read as it was written, and one that would mislead is refused by name."""

from __future__ import annotations

import json
import shutil

import pytest

from small_suite import CLASSES, EACH, write_small_suite
from synood.benchmark.suites.mini import prepare_mini
from synood.benchmark.suites.suite import check_disjoint, read_suite
from synood.errors import InputError


@pytest.fixture
def root(tmp_path):
    write_small_suite(tmp_path / "suite")
    return tmp_path / "suite"


def edit(root, change):
    content = json.loads((root / "suite.json").read_text())
    change(content)
    (root / "suite.json").write_text(json.dumps(content))


def test_sets_come_by_role_near_before_far(root):
    suite = read_suite(root)
    index = suite.one("test").index()
    assert index.class_names == tuple(CLASSES)
    assert len(index.records) == EACH["test"] * len(CLASSES)
    assert [item.name for item in suite.ood("test")] == ["near-made", "symbols", "faces"]
    assert [item.group for item in suite.ood("validation")] == ["near", "far"]
    assert suite.ood("train") == ()
    check_disjoint(suite)


def test_near_sets_come_first_however_they_are_listed(root):
    edit(root, lambda content: content["sets"].reverse())
    assert [item.name for item in read_suite(root).ood("test")] == ["near-made", "faces", "symbols"]


def test_the_fingerprint_follows_every_picture_and_role(root):
    before = read_suite(root).fingerprint()
    assert read_suite(root).fingerprint() == before
    first = root / "test/far/faces/0000.png"
    first.write_bytes((root / "test/far/symbols/0000.png").read_bytes())
    changed = read_suite(root).fingerprint()
    assert changed != before
    edit(root, lambda content: content.update(split="hard"))
    assert read_suite(root).fingerprint() not in (before, changed)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(schema=2), "schema is 2"),
        (lambda c: c.pop("split"), "'split' is missing"),
        (lambda c: c["sets"][4].update(group="middle"), "set 4: 'group' must be one of"),
        (lambda c: c["sets"][4].update(role="exam"), "set 4: 'role' must be one of"),
        (lambda c: c["sets"][4].update(n=0), "'n' must be the number of images"),
        (lambda c: c["sets"][4].update(path="elsewhere"), "folder of the set 'validation-far'"),
        (lambda c: c["sets"][4].pop("name"), "'name' is missing"),
        (lambda c: c["sets"].pop(0), "one in-distribution set for train, has 0"),
        (lambda c: c["sets"].append(c["sets"][0]), "one in-distribution set for train, has 2"),
        (lambda c: c["sets"].append(c["sets"][5]), "two test sets are named 'near-made'"),
        (lambda c: c.update(sets=c["sets"][:5]), "no OOD set for test"),
        (lambda c: c.update(sets=[3]), "set 0: not an object"),
    ],
)
def test_a_wrong_suite_is_named(root, change, complaint):
    edit(root, change)
    with pytest.raises(InputError) as error:
        read_suite(root)
    assert complaint in str(error.value)
    assert str(root) in str(error.value)


def test_a_missing_suite_and_a_list_are_refused(root):
    (root / "suite.json").write_text("[]")
    with pytest.raises(InputError, match="schema is None"):
        read_suite(root)
    (root / "suite.json").unlink()
    with pytest.raises(InputError, match="no such file"):
        read_suite(root)


def test_a_set_that_lost_a_picture_is_refused_when_listed(root):
    (root / "test/far/faces/0003.png").unlink()
    with pytest.raises(InputError, match="holds 9 images"):
        read_suite(root).ood("test")[2].index()


def test_a_test_picture_among_the_tuning_pictures_is_found(root):
    shutil.copyfile(root / "test/id/dog/0002.png", root / "train/dog/0003.png")
    with pytest.raises(InputError) as error:
        check_disjoint(read_suite(root))
    assert "train/dog/0003.png" in str(error.value)
    assert "test/id/dog/0002.png" in str(error.value)


def test_the_mini_suite_is_written_once_and_then_read(tmp_path):
    calls = []

    def writer(root, seed=0, split="main"):
        calls.append((seed, split))
        write_small_suite(root, seed, split)

    first = prepare_mini(tmp_path / "s", seed=3, writer=writer)
    again = prepare_mini(tmp_path / "s", seed=3, writer=writer)
    assert calls == [(3, "main")]
    assert first == again
    with pytest.raises(InputError, match="holds seed 3, split 'main'"):
        prepare_mini(tmp_path / "s", seed=3, split="hard", writer=writer)


def test_a_suite_that_leaks_is_not_handed_out(tmp_path):
    def writer(root, seed=0, split="main"):
        write_small_suite(root, seed, split)
        shutil.copyfile(root / "test/far/faces/0000.png", root / "train/cat/0000.png")

    with pytest.raises(InputError, match="the same image as"):
        prepare_mini(tmp_path / "s", writer=writer)

"""The tasks that tools/photo/weights.py makes of three collections of photographs."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synood import OODDetector
from tools.photo.weights import CLOTHES, NEAR, TEST, figures, fitted, tasks, weighings

OTHERS = ("Banana", "Oat-Milk", "Leek-Soup", "Plum", "Melon")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def picture(path, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Collections of the layout of the real ones, and the tasks of them."""
    root, rng = tmp_path_factory.mktemp("collections"), np.random.default_rng(0)
    for kind in (*NEAR, *TEST, *OTHERS):
        for split, count in (("train", 8), ("val", 4)):
            for number in range(count):
                picture(root / "shop" / split / "Goods" / kind / f"{number}.jpg", rng)
    for kind in CIFAR:
        for number in range(300):
            (root / "cifar" / kind).mkdir(parents=True, exist_ok=True)
            (root / "cifar" / kind / f"{number:04d}.jpg").touch()
    (root / "fashion").mkdir()
    for name, array in (
        ("train-images-idx3", rng.integers(0, 256, (2000, 28, 28), np.uint8)),
        ("train-labels-idx1", np.arange(2000, dtype=np.uint8) % 10),
    ):
        shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
        content = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
        (root / "fashion" / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
    return root, tasks((root / "shop", root / "cifar", root / "fashion"), root / "work")


def test_every_collection_makes_its_tasks_the_same_each_time(made):
    root, found = made
    assert [task.name for task in found] == [
        "groceries 1", "groceries 2", "groceries 3", "groceries 4", "groceries, all",
        "CIFAR 1", "CIFAR 2", "CIFAR 3", "CIFAR 4", "clothes 1", "clothes 2",
        "groceries 1, 5 a class", "CIFAR 1, 5 a class", "CIFAR 2, 5 a class",
    ]  # fmt: skip
    assert tasks((root / "shop", root / "cifar", root / "fashion"), root / "work") == found


def test_no_image_is_in_two_parts_of_a_task(made):
    for task in made[1]:
        train = [path for files in task.train.values() for path in files]
        parts = [*train, *task.own, *task.near, *task.far]
        assert len(set(parts)) == len(parts), task.name


def test_near_images_are_of_other_classes_and_none_is_of_a_test(made):
    for task in made[1]:
        kinds = {path.parent.name for files in (*task.train.values(), task.own) for path in files}
        near, far = ({path.parent.name for path in files} for files in (task.near, task.far))
        assert not kinds & (near | far), task.name
        assert not (kinds | near | far) & set(TEST), task.name


def test_clothes_are_stored_under_their_names(made):
    kinds = {path.name for path in (made[0] / "work" / "clothes").iterdir()}
    assert kinds == set(CLOTHES)


def test_weighings_change_what_counts_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    rows = (np.eye(8)[labels] + 0.3 * rng.normal(size=(60, 8))).astype(np.float32)
    texts = {"text_features": np.eye(8)[:3], "negative_features": np.eye(8)[3:]}
    whole = OODDetector.from_features(rows, labels, list("abc"), **texts)
    new = rng.normal(size=(20, 8)).astype(np.float32)
    found = {name: one.score_features(new) for name, one in weighings(whole).items()}
    np.testing.assert_array_equal(found["text 0.5"], whole.score_features(new))
    parts = whole.image_evidence.parts(new)
    for column, kind in enumerate(("distance", "neighbour", "head")):
        order = np.argsort(parts[:, column])
        assert (np.diff(found[f"{kind} alone"][order]) >= 0).all(), kind
    text = replace(whole, image_evidence=None).score_features(new)
    assert (np.diff(found["text alone"][np.argsort(text)]) >= 0).all()
    assert not np.array_equal(found["text 2"], found["text 1"])


@pytest.mark.slow  # the projection is tuned anew for each fold
def test_a_task_is_fitted_and_each_weighing_measured(made):
    root, found = made
    shop = found[0]
    small = replace(
        shop, name="small", train=dict(list(shop.train.items())[:2]),
        own=shop.own[:4], near=shop.near[:4], far=shop.near[4:8],
    )  # fmt: skip
    rows = figures(small, fitted(small, root / "work"))
    assert rows["text 0.5"] != rows["text alone"]
    assert {"text 0", "text 4", "distance alone", "neighbour alone", "head alone"} <= set(rows)
    assert all(0 <= value <= 1 for row in rows.values() for value in row)

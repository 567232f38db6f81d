"""What an embedded encoder is out of its depth with is said; of others nothing is."""

from __future__ import annotations

import pytest

from synood.labels.unknown import unknown_names
from synood.models.bundles import load_bundle
from synood.models.reach import (
    backbone_knows_drawings_alone,
    is_embedded,
    knows_drawings_alone,
    name_remarks,
)


@pytest.mark.parametrize(
    ("name", "embedded", "drawings"),
    [
        ("mini", True, True),
        ("photo", True, False),
        ("mini+encoder=photo", True, False),
        ("photo+encoder=mini", True, True),
        ("mini+encoder.preprocess=clip", True, True),
        ("mini+encoder=openai/clip-vit-base-patch32", False, False),
        ("paper", False, False),
    ],
)
def test_which_encoder_a_bundle_has(name, embedded, drawings):
    bundle = load_bundle(name)
    assert is_embedded(bundle) is embedded
    assert knows_drawings_alone(bundle) is drawings
    assert backbone_knows_drawings_alone(bundle.name) is drawings
    remarks = name_remarks(bundle, ["cat", "xqzvw", "fire trucks"])
    assert len(remarks) == embedded
    assert all("class name 'xqzvw': no word that the encoder" in remark for remark in remarks)
    assert name_remarks(bundle, ["cat", "fire trucks"]) == []


def test_a_bundle_that_is_gone_knows_nothing():
    assert not backbone_knows_drawings_alone("nowhere/to/be/found")


def test_names_without_a_known_word():
    known = ["cats", "T-shirt", "fire_truck", "Crème brûlée", "hotdog", "golden xq", "wolves", "a"]
    assert unknown_names(known) == []
    assert unknown_names(["SKU4711", "12", "猫", "Katze", "soyghurt"]) == [
        "SKU4711",
        "12",
        "猫",
        "Katze",
        "soyghurt",
    ]
    assert unknown_names(["iPhone", "iphone case", "qwertz"], {"iphone"}) == ["qwertz"]

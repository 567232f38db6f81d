"""ImageNet's class names: two published lists, by WordNet id."""

from __future__ import annotations

import re

import pytest

from synood.labels.imagenet import (
    class_names_by_wnid,
    imagenet_classes,
    same_classes,
    wnids_of,
)
from synood.labels.prompts import PROMPT_SETS, without_wnid

REPEATED = {
    "openai": {"missile", "sunglasses"},
    "synood": {"crane", "maillot", "corn"},
}


def test_a_thousand_ids_in_order():
    ids = [item.wnid for item in imagenet_classes()]
    assert len(ids) == 1000
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in ids)
    assert ids[0] == "n01440764"
    assert ids[999] == "n15075141"


@pytest.mark.parametrize(("naming", "distinct"), [("openai", 998), ("synood", 997)])
def test_the_repeated_names_are_the_known_ones(naming, distinct):
    names = [item.name(naming) for item in imagenet_classes()]
    assert len(set(names)) == distinct
    assert {name for name in names if names.count(name) > 1} == REPEATED[naming]
    assert all(name == " ".join(name.split()) and name for name in names)


def test_both_lists_name_the_same_things():
    by_id = {item.wnid: item for item in imagenet_classes()}
    assert by_id["n01514668"].openai == "rooster"
    assert by_id["n01514668"].synonyms == ("cock",)
    assert by_id["n04141327"].synonyms == ("scabbard",)
    assert by_id["n01608432"].openai == "kite (bird of prey)"
    assert sum(item.openai != item.synonyms[0] for item in by_id.values()) == 365


@pytest.mark.parametrize("naming", ["openai", "synood"])
def test_names_are_told_apart_and_prompts_are_not(naming):
    names = class_names_by_wnid(naming)
    assert len({name.casefold() for name in names.values()}) == 1000
    prompts = PROMPT_SETS["neglabel"].class_prompts(names.values())
    expected = [(f"the nice {item.name(naming)}",) for item in imagenet_classes()]
    assert prompts == expected


def test_only_an_id_at_the_end_is_not_spoken():
    assert without_wnid("missile [n04008634]") == "missile"
    for name in (
        "missile",
        "car [red]",
        "[n04008634] missile",
        "missile [n0400863]",
        "x[n04008634]",
    ):
        assert without_wnid(name) == name


def test_a_checkpoint_s_synsets_are_the_same_classes():
    synsets = [", ".join(item.synonyms) for item in reversed(imagenet_classes())]
    for naming in ("openai", "synood"):
        names = class_names_by_wnid(naming).values()
        assert same_classes(synsets, names)
        assert same_classes([item.name(naming) for item in imagenet_classes()], names)
    assert not same_classes(synsets[1:], class_names_by_wnid().values())
    assert not same_classes([*synsets[1:], "unicorn"], class_names_by_wnid().values())


def test_other_classes_are_compared_by_name():
    assert same_classes(["Cat", "dog"], ["dog", "cat"])
    assert not same_classes(["cat", "cat"], ["cat"])


def test_the_ids_of_names_are_found_under_each_list_of_names_and_in_any_order():
    ids = [item.wnid for item in imagenet_classes()]
    synsets = [", ".join(item.synonyms) for item in imagenet_classes()]
    assert wnids_of(synsets) == tuple(ids)  # in their order alone: two are called "crane"
    for names in (
        ids,
        list(class_names_by_wnid("openai").values()),
        [name.upper() for name in class_names_by_wnid("synood").values()],
    ):
        assert wnids_of(names) == tuple(ids)
        assert wnids_of(names[::-1]) == tuple(ids[::-1])


def test_names_that_are_not_all_of_imagenets_have_no_ids():
    names = list(class_names_by_wnid("openai").values())
    assert wnids_of(names[:-1]) is None
    assert wnids_of([*names[:-1], names[0]]) is None
    assert wnids_of([*names[:-1], "a thing of its own"]) is None
    assert wnids_of([]) is None

"""Pools drop the lexicographer files they name and pair adjectives with nouns, word by word."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synood.errors import InputError
from synood.labels.pools import POOLS, candidates
from synood.labels.wordnet import EXCLUDED, Word, shipped_words

CSP = POOLS["csp"]


def test_neglabels_pool_is_the_words_as_they_are():
    words = shipped_words()
    assert candidates(words) == words


def test_csps_pool_is_wordnet_without_its_files_each_adjective_before_a_noun():
    pool = candidates(shipped_words(), "csp")
    plain = shipped_words((*EXCLUDED, *CSP.drop))
    assert {word.lexname for word in pool} == {word.lexname for word in plain}
    assert not {word.lexname for word in pool} & {*EXCLUDED, *CSP.drop}
    nouns = [word.text for word in pool if word.pos == "noun"]
    assert sorted(nouns) == sorted(word.text for word in plain if word.pos == "noun")
    split = [word.text.rpartition(" ") for word in pool if word.pos == "adjective"]
    assert sorted(a for a, _, _ in split) == sorted(w.text for w in plain if w.pos == "adjective")

    drawn = Counter(noun for _, _, noun in split)
    assert set(drawn) == set(CSP.superclasses)
    assert len(CSP.superclasses) == 14
    fair = len(split) / 14
    assert all(0.85 * fair < count < 1.15 * fair for count in drawn.values())


@settings(max_examples=20)  # the first example unpacks WordNet
@given(st.permutations(shipped_words()[58_500:58_530]), st.integers(0, 5))
def test_neither_order_nor_company_changes_a_candidate(words, seed):
    together = candidates(words, "csp", seed)
    alone = [one for word in words for one in candidates([word], "csp", seed)]
    assert list(together) == alone


def test_the_seed_deals_the_nouns_anew():
    adjectives = [word for word in shipped_words() if word.lexname == "adj.all"][:200]
    zero, again, one = (candidates(adjectives, "csp", seed) for seed in (0, 0, 1))
    assert zero == again
    assert 0 < sum(a == b for a, b in zip(zero, one, strict=True)) < 50


def test_a_list_of_ones_own_loses_persons_but_not_words_that_wordnet_lacks():
    own = [
        Word(text, "noun", "") for text in ("captain", "gaggle", "rope", "selfie stick", "otter")
    ]
    assert [word.text for word in candidates(own, "csp")] == ["rope", "selfie stick", "otter"]


def test_a_word_that_is_a_person_and_a_thing_stays_as_the_thing():
    both = next(word for word in shipped_words() if word.text == "calypso")
    assert both.lexname == "noun.person"
    (kept,) = candidates([both], "csp")
    assert kept == next(w for w in shipped_words((*EXCLUDED, *CSP.drop)) if w.text == "calypso")
    assert kept.lexname == "noun.plant"


def test_an_unknown_pool_is_named():
    with pytest.raises(
        InputError, match=r"mining.pool: 'all' is unknown; use one of neglabel, csp"
    ):
        candidates([], "all")

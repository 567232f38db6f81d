"""`synood models`: bundles, and every checkpoint that is known by its id."""

from __future__ import annotations

import hub_cache
from synood.models.catalog import catalog
from tiny_families import tiny_family

NAFLEX = "google/siglip2-base-patch16-naflex"


def rows(text, title):
    """The lines below a title."""
    _, _, below = text.partition(f"{title}\n")
    found = []
    for line in below.splitlines():
        if not line.startswith("  "):
            break
        found.append(line)
    return found


def test_every_known_checkpoint_is_listed_with_licence_and_kind(done):
    found = rows(done("models").out, "known by id, for NAME+PART=ID (docs/models.md)")
    assert len(found) == len(catalog())
    for name, entry in catalog().items():
        (line,) = [line for line in found if f" {name} " in line]
        assert line.split()[0] == entry.part
        assert entry.licence in line
        assert line.rstrip().endswith(entry.kind)
        assert (entry.revision or "not pinned")[:12] in line
        assert entry.kind


def test_a_checkpoint_in_the_cache_is_here(done, tmp_path):
    revision = catalog()[NAFLEX].revision
    made = tiny_family(tmp_path / "made", "siglip2")
    hub_cache.put(tmp_path / "hub", NAFLEX, made, revision)
    with hub_cache.using_cache(tmp_path / "hub"):
        found = rows(done("models").out, "known by id, for NAME+PART=ID (docs/models.md)")
    here = [line for line in found if "not here" not in line]
    assert [line.split()[1] for line in here] == [NAFLEX]


def test_named_bundles_alone_are_listed_where_there_are_names(done):
    text = done("models", f"photo+encoder={NAFLEX}").out
    assert "known by id" not in text
    assert NAFLEX in text
    assert "Apache-2.0" in text

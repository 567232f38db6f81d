"""Validation sets by an artist that no model has seen, to choose settings on.

    python -m tools.mini.unseen emojione --work DIR --out SUITE

The mini benchmark's validation scenes are by the artists that the models were trained on, and all
methods are near 100 % on them, so nothing can be chosen there. Here the test sets show the
*validation* concepts, drawn by an artist of whom neither the models nor a test set has an image.
`synood reproduce NAME --root SUITE` then measures on them what is to be chosen; training and
validation sets are those of the hard split, byte for byte. Needs npm on the machine; the drawings
are fetched into DIR, never shipped (openmoji is CC-BY-SA-4.0, emojione CC-BY-4.0).
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from synood.files import write_json
from synood.mini.artwork import Artwork, Sprite
from synood.mini.suite import ARTWORK, SCHEMA, Counts, SuiteWriter
from synood.mini.world import World
from tools.mini.artwork import SHIPPED_SIZE, IconPackage, cropped, named_concepts
from tools.mini.fetch import fetch_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)
ARTISTS: Final = {
    "emojione": "@iconify-json/emojione@1.2.3",
    "openmoji": "@iconify-json/openmoji@1.2.29",
}
NAMES: Final = "emojibase-data@17.0.0"
PARTS: Final = ("id", "context", "validation-near", "validation-far")
COUNTS: Final = Counts(ood=600)


def draw_artist(artist: str, modules: Path, shipped: Artwork) -> Artwork:
    """Draw the concepts that train and validation sets show, as far as the artist drew them."""
    package = IconPackage(modules / "@iconify-json" / artist)
    codes = {concept: code for code, concept, _ in named_concepts(modules)}
    sprites = []
    for concept in shipped.concepts(*PARTS):
        known = next(sprite for sprite in shipped.sprites if sprite.concept == concept)
        drawn = package.find(codes[concept], concept)
        image = cropped(drawn) if drawn is not None else None
        if image is not None:
            image.thumbnail((SHIPPED_SIZE, SHIPPED_SIZE))
            sprites.append(Sprite(concept, known.part, known.subgroup, artist, image))
    return Artwork(sprites)


class UnseenWriter(SuiteWriter):
    """Writes the hard split with other sets in the place of its test sets."""

    def __init__(self, root: Path, artwork: Artwork, artist: str, counts: Counts = COUNTS) -> None:
        super().__init__(root, 0, "hard", counts)
        self.test = World(artwork, (artist,))

    def write(self) -> None:
        """Write all sets and, last, suite.json."""
        self.write_seen()
        ood = self.counts.ood
        self._classes("test", "test/id", self.test, self.counts.test, 30)
        self._subjects("unseen-near", "near", "test", self.test, "validation-near", ood, 31)
        self._subjects("unseen-far", "far", "test", self.test, "validation-far", ood, 32)
        write_json(self.root / "suite.json", {
            "schema": SCHEMA, "name": "mini", "seed": self.seed, "split": self.split,
            "sets": [asdict(entry) for entry in self.sets],
        })  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.unseen ARTIST --work DIR --out SUITE."""
    parser = argparse.ArgumentParser(description="Write validation scenes by an unseen artist.")
    parser.add_argument("artist", choices=sorted(ARTISTS))
    parser.add_argument("--work", type=Path, required=True, help="folder for the npm packages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the suite to")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    fetch_packages(work, (*ARTISTS.values(), NAMES))
    artwork = draw_artist(options.artist, work / "node_modules", Artwork.load(ARTWORK))
    UnseenWriter(options.out, artwork, options.artist).write()
    log.info("%s: %d drawings by %s", options.out, len(artwork.sprites), options.artist)


if __name__ == "__main__":
    main()

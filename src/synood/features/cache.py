"""Image features kept between runs, by the content of the image and by what encoded it.

One SQLite file, which several processes may use at once and which a kill leaves whole. It is a
help, never a need: where it cannot be opened, read or written, images are encoded as if it were
empty, and a damaged file is thrown away. Its place must be on a local disk, since SQLite's locks
do not hold on every network file system.

SYNOOD_CACHE is its folder (otherwise the system's place for caches), SYNOOD_CACHE_SIZE its largest
size ("2GB", "500MB"); 0 turns it off.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
import zlib
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.features.unreadable import Unreadable
from synood.files import cache_folder, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import TypeVar

    from numpy.typing import NDArray

    T = TypeVar("T")

FILE = "features.sqlite3"
SIZE = "2GB"  # some 900,000 features of CLIP ViT-B/16
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_ROW = 250  # bytes that a row takes besides its feature, as measured with 512 numbers
_PAGE = 32768  # bytes: features of 512 numbers fill pages of 4096 by half
_SPARE = 4 * _PAGE  # table and indices each end in a page that is not full
_WAIT = 30.0  # seconds for another process to finish its writing
_BATCHES = 2  # to be counted up where `extractor.together` changes: another batch, another rounding
_AT_ONCE = 500  # keys in one question; SQLite allows 999 in old versions
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TABLE = """
CREATE TABLE IF NOT EXISTS features (
    space TEXT, image TEXT, used REAL, checksum INTEGER, data BLOB, UNIQUE (space, image)
);
CREATE INDEX IF NOT EXISTS by_use ON features (used);
"""


@dataclass(frozen=True)
class Contents:
    """What a cache holds: `size` and `limit` in bytes, `oldest` use in seconds since 1970."""

    path: Path
    features: int
    encoders: int
    size: int
    limit: int
    oldest: float | None


class FeatureCache:
    """Features (D,) float32 by a space - an encoder and what else shapes its numbers - and a hash.

    What was used longest ago makes room for what is new.
    """

    def __init__(self, path: Path, limit: int, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.limit = limit
        self._clock = clock

    def get(self, space: str, images: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Return the features that are there, by the hash of their image; damaged ones are not."""
        wanted = list(dict.fromkeys(images))

        def read(db: sqlite3.Connection) -> dict[str, NDArray[np.float32]]:
            found: dict[str, NDArray[np.float32]] = {}
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = db.execute(
                    f"SELECT image, checksum, data FROM features WHERE space = ? AND image IN ({marks})",  # noqa: E501 - marks only
                    (space, *some),
                ).fetchall()
                found |= {key: _feature(data) for key, sum_, data in rows if _whole(data, sum_)}
            now = self._clock()
            db.executemany(
                "UPDATE features SET used = ? WHERE space = ? AND image = ?",
                [(now, space, key) for key in found],
            )
            return found

        return self._with_database(read, {}) if wanted and self.path.exists() else {}

    def put(self, space: str, features: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep features (D,) by the hash of their image, as far as there is room."""
        now = self._clock()
        rows = [
            (space, key, now, zlib.crc32(data), data)
            for key, data in ((key, _bytes(feature)) for key, feature in features.items())
        ]
        need = sum(len(row[-1]) + _ROW for row in rows)

        def write(db: sqlite3.Connection) -> None:
            _make_room(db, self.limit - need - _SPARE)
            db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)

        if rows and need <= self.limit // 2:
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._with_database(write, None)

    def contents(self) -> Contents:
        """Look at what is there."""

        def count(db: sqlite3.Connection) -> tuple[int, int, float | None]:
            row = db.execute("SELECT COUNT(*), COUNT(DISTINCT space), MIN(used) FROM features")
            found: tuple[int, int, float | None] = row.fetchone()
            return found

        nothing: tuple[int, int, float | None] = (0, 0, None)
        features, encoders, oldest = (
            self._with_database(count, nothing) if self.path.exists() else nothing
        )
        size = self.path.stat().st_size if self.path.exists() else 0
        return Contents(self.path, features, encoders, size, self.limit, oldest)

    def clear(self, unused_for: float | None = None) -> int:
        """Remove all features, or those not used for so many seconds; return how many."""

        def remove(db: sqlite3.Connection) -> int:
            before = self._clock() - unused_for if unused_for is not None else float("inf")
            return db.execute("DELETE FROM features WHERE used <= ?", (before,)).rowcount

        return self._with_database(remove, 0) if self.path.exists() else 0

    def _with_database(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do `work` in one transaction; `otherwise` is the result where the file is of no use."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as db:
                db.execute(f"PRAGMA page_size = {_PAGE}")  # for a new file, as the next
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.execute("PRAGMA synchronous = OFF")  # a kill harms nothing; no power may
                db.executescript(_TABLE)
                db.execute("BEGIN IMMEDIATE")
                result = work(db)
                db.execute("COMMIT")
                db.executescript("PRAGMA incremental_vacuum")  # execute() frees one page alone
                return result
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
                for name in (self.path, self.path.with_name(f"{FILE}-journal")):
                    with suppress(OSError):
                        name.unlink()
            return otherwise


class EncoderCache:
    """The features of one encoder in this machine's cache; empty where the cache is turned off.

    `encoder_fingerprint` covers the encoder's weights, vocabulary and preprocessing. Kernels and
    decoders of other versions may round differently, so they have features of their own.
    """

    def __init__(self, encoder_fingerprint: str, device: str) -> None:
        self._cache = open_cache()
        self._space = space_of(encoder_fingerprint, device)

    def get(self, keys: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Return the cached features among `keys`."""
        return {} if self._cache is None else self._cache.get(self._space, keys)

    def put(self, results: Mapping[str, NDArray[np.float32] | Unreadable]) -> None:
        """Keep what is a finite feature."""
        features = {k: v for k, v in results.items() if not isinstance(v, Unreadable)}
        if self._cache is not None:
            finite = {key: value for key, value in features.items() if np.isfinite(value).all()}
            self._cache.put(self._space, finite)


def open_cache() -> FeatureCache | None:
    """Return the cache that the environment names; None where it is turned off.

    Raises `InputError` for a SYNOOD_CACHE_SIZE that is no size.
    """
    limit = parse_size(os.environ.get("SYNOOD_CACHE_SIZE") or SIZE)
    return FeatureCache(cache_folder() / FILE, limit) if limit else None


def parse_size(text: str) -> int:
    """Read a size in bytes.

    >>> parse_size("1.5 GB"), parse_size("0")
    (1500000000, 0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", text.upper())
    if match is None:
        raise InputError(f'SYNOOD_CACHE_SIZE: {text!r} is no size; write "2GB", "500MB" or "0"')
    return int(float(match[1]) * _UNITS[match[2] if match[2] != "B" and match[2] else ""])


def space_of(encoder_fingerprint: str, device: str) -> str:
    """Name the space of an encoder's features: other versions may round differently.

    `encoder_fingerprint` covers weights, vocabulary and preprocessing.
    """
    versions = [metadata.version(library) for library in ("torch", "pillow")]
    return fingerprint(encoder_fingerprint, device.partition(":")[0], versions, _BATCHES)


def _make_room(db: sqlite3.Connection, limit: int) -> None:
    """Delete what was used longest ago until at most `limit` bytes are in use."""

    def used() -> int:
        pages, free = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count")
        )
        return (pages - free) * _PAGE

    while used() > limit:
        deleted = db.execute(
            "DELETE FROM features "
            "WHERE rowid IN (SELECT rowid FROM features ORDER BY used LIMIT 64)"
        ).rowcount
        if not deleted:
            return


def _whole(data: object, checksum: int) -> bool:
    return isinstance(data, bytes) and len(data) % 4 == 0 and zlib.crc32(data) == checksum


def _feature(data: bytes) -> NDArray[np.float32]:
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def _bytes(feature: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(feature, dtype="<f4").tobytes()

"""How valid files are damaged for the fast tests: at random bytes, and at random JSON values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

# What readers of text and JSON stumble over, as whole pieces that random bytes would never form.
PIECES = (
    *(b"", b"\0", b"\xff", b"\xed\xb3\xa9", b"\xef\xbb\xbf", b"\r\n", b"\x85", "\u2028".encode()),
    *(b"../", b"/etc/hostname", b"\\", b"..\\", b"~", b"%00", b"file://", b"a" * 5000),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 5000, b"1e-400", b"null", b"true", b"{}"),
    *(b"[" * 100_000, b'{"a":' * 20_000, b'"', b"'", b"#", b"=", b"\t", b" ", b"\n\n"),
)
JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([2**31, 2**63, 10**40, -(2**70)]),
    st.floats(), st.text(max_size=4), st.just([]), st.just({}),
    st.sampled_from(["..", "/etc", "../x", "a\0b", "NaN", "a" * 3000, "\ud800", "."]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Cut, overwrite, insert, double or remove up to four stretches of `data`."""
    value = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(value)))
        length = draw(st.sampled_from([0, 1, 1, 2, 4, 8, 64]))
        piece = draw(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES)))
        how = draw(st.sampled_from(["overwrite", "insert", "cut", "double"]))
        if how == "overwrite":
            value[start : start + len(piece)] = piece
        elif how == "insert":
            value[start:start] = piece
        elif how == "cut":
            del value[start : start + length if length else len(value)]
        else:
            value[start:start] = value[start : start + length]
    return bytes(value)


@st.composite
def restructured(draw: st.DrawFn, document: Any) -> Any:
    """Replace, remove or add one value somewhere in a JSON document."""
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 4)) == 0:
        return draw(JSON_VALUES)
    changed = dict(document) if isinstance(document, dict) else list(document)
    key = draw(
        st.sampled_from(sorted(changed) if isinstance(changed, dict) else range(len(changed)))
    )
    how = draw(st.sampled_from(["inside", "inside", "inside", "remove", "add"]))
    if how == "inside":
        changed[key] = draw(restructured(changed[key]))
    elif how == "remove":
        del changed[key]
    elif isinstance(changed, dict):
        changed[draw(st.text(max_size=5))] = draw(JSON_VALUES)
    else:
        changed.append(draw(st.one_of(st.just(changed[key]), JSON_VALUES)))
    return changed


def as_bytes(document: Any) -> bytes:
    """Write JSON as a careless program would: NaN and lone surrogates are let through."""
    return json.dumps(document).encode()

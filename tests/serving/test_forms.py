"""Files out of multipart forms; Python's own reader of mail is the oracle."""

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_client import form
from synood.serving.faults import RequestError
from synood.serving.forms import uploads_of


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_files_are_those_that_a_reader_of_mail_finds(contents):
    body, kind = form([(f"{number}.png", data) for number, data in enumerate(contents)])
    found = uploads_of(bytearray(body), kind, 5)
    head = f"Content-Type: {kind}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    parts = [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_parts()]
    assert [name for name, _ in parts] == [one.name for one in found]
    assert [one.data for one in found] == contents


def test_a_file_longer_than_a_piece_is_whole():
    data = bytes(range(256)) * 10_000 + b"\r\n--almost the boundary"
    body, kind = form([("large", data), ("b", b"\r\n"), ("c", b"")])
    assert [one.data for one in uploads_of(bytearray(body), kind, 3)] == [data, b"\r\n", b""]


BODY, KIND = form([("a.png", b"one"), ("b.png", b"two")])


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        (BODY, "application/json", 415, "multipart/form-data"),
        (BODY, "", 415, "multipart/form-data"),
        (BODY, "multipart/form-data", 400, "needs a boundary"),
        (BODY, f"multipart/form-data; boundary={'x' * 300}", 400, "is broken"),
        (BODY, "multipart/form-data; boundary=other", 400, "is broken"),
        (BODY[:-6], KIND, 400, "before its last boundary"),
        (b"", KIND, 400, "before its last boundary"),
        (form([("a", b"1")], "image")[0], None, 400, "field 'image'"),
        (form([("a", b"1")], "ü" * 99)[0], None, 400, "has a field"),
        (form([(str(number), b"") for number in range(3)])[0], None, 413, "more than 2 files"),
        (form([])[0], None, 400, "is broken"),
        (BODY.replace(b'; filename="b.png"', b""), KIND, 400, "not a file (curl: -F files=@NAME)"),
    ],
)
def test_other_bodies_are_refused(body, kind, status, told):
    if kind is None:
        kind = "multipart/form-data; boundary=" + body[2:].partition(b"\r")[0].decode()
    with pytest.raises(RequestError) as refused:
        uploads_of(bytearray(body), kind, 2)
    assert (refused.value.status, told in refused.value.detail) == (status, True)


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_are_more_than_refused(body, start_well):
    boundary = b"--b\r\n" if start_well else b""
    with pytest.raises(RequestError):
        uploads_of(bytearray(boundary + body), "multipart/form-data; boundary=b", 3)

"""Parsers of what comes over the wire."""

from __future__ import annotations

from contextlib import suppress

import pytest
from gateway_scripted import chunk
from hypothesis import given
from hypothesis import strategies as st

from nexus_gateway.chat.sse import EventBuffer, event_of, payload_of
from nexus_gateway.errors import BadRequest
from nexus_gateway.rest.content import content_headers
from nexus_gateway.rest.multipart import disposition
from nexus_gateway.rest.paths import document_path, object_key
from nexus_gateway.upstream.pool import Target, _render


@given(st.lists(st.text(max_size=20)), st.lists(st.integers(1, 30)), st.booleans())
def test_events_survive_any_cutting(texts: list[str], cuts: list[int], crlf: bool) -> None:
    stream = b"".join(event_of(chunk({"content": text})) for text in texts)
    if crlf:
        stream = stream.replace(b"\n\n", b"\r\n\r\n")
    whole = EventBuffer().feed(stream)
    buffer, found, at = EventBuffer(), [], 0
    for cut in cuts:
        found += buffer.feed(stream[at : at + cut])
        at += cut
    found += buffer.feed(stream[at:])
    assert found == whole
    assert len(found) == len(texts)


def test_payloads_of_odd_events() -> None:
    assert payload_of(b": ping") == b""
    assert payload_of(b"event: x\ndata: 1") == b"1"
    assert payload_of(b"data:1\ndata: 2") == b"1\n2"
    assert payload_of(b'error: {"code": 500}') == b'{"code": 500}'


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'form-data; name="files"; filename="a.txt"', "a.txt"),
        (b"form-data; name=files; filename=a.txt", "a.txt"),
        (b'form-data; name="files"; filename="say %22hi%22%0A.txt"', 'say "hi"\n.txt'),
        (b'form-data; name="files"; filename="say \\"hi\\".txt"', 'say "hi".txt'),
        (b'form-data; name="files"; filename="a;b=c.txt"', "a;b=c.txt"),
        (b'form-data; name="files"; filename="100%25.txt"', "100%25.txt"),
        (b'form-data; name="files"; filename="x"; filename*=UTF-8\'\'%E4%B8%96', "世"),
        (b'form-data; name="files"; filename="C:\\\\dir\\\\a.txt"', "C:\\dir\\a.txt"),
        (b'form-data; name="files"; filename=""', ""),
        (b'form-data; name="files"', None),
    ],
)
def test_file_names_of_all_clients_are_read(header: bytes, name: str | None) -> None:
    assert disposition(header) == ("files", name)


@given(st.binary(max_size=200))
def test_any_disposition_is_read_or_refused(header: bytes) -> None:
    with suppress(BadRequest):
        disposition(header)


@given(st.text(), st.text())
def test_a_path_never_leaves_its_index(prefix: str, name: str) -> None:
    try:
        key = object_key("default/handbook/", document_path(prefix, name))
    except BadRequest:
        return
    assert key.startswith("default/handbook/")
    assert ".." not in key.split("/")
    assert len(key.encode()) <= 1024


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_headers_of_a_source_are_one_line(path: str) -> None:
    for value in content_headers(path).values():
        assert value.isascii()
        assert value.isprintable()


@given(st.text())
def test_no_header_value_splits_a_request(value: str) -> None:
    target = Target.of("http://127.0.0.1:1/base/")
    try:
        data = _render("POST", target, "/v1/x", {"x-a": value}, b"body")
    except (ValueError, UnicodeEncodeError):
        return
    head, _, body = data.partition(b"\r\n\r\n")
    assert body == b"body"
    assert len(head.split(b"\r\n")) == 4
    assert head.startswith(b"POST /base/v1/x HTTP/1.1\r\nhost: 127.0.0.1:1\r\n")


@pytest.mark.parametrize("bad", ["", "ftp://x", "http://", "127.0.0.1:80"])
def test_addresses_that_are_none_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is no address of a runtime"):
        Target.of(bad)

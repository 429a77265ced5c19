"""Files that mean harm, or came to harm, fail with a reason; nothing else happens."""

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_pipelines.parse.core import parse
from nexus_pipelines.parse.document import ParseFailure, ParseLimits, Reason

LIMITS = ParseLimits(max_pages=50, max_characters=1_000_000)


def reason(data: bytes, path: str, limits: ParseLimits = LIMITS) -> Reason:
    with pytest.raises(ParseFailure) as failure:
        parse(data, path, limits)
    assert failure.value.message
    return failure.value.reason


def paragraph(document: Any) -> None:
    document.add_paragraph("Words.")


def test_empty_files_and_files_without_words_are_empty(pdf: Callable[..., bytes]) -> None:
    assert reason(b"", "a.txt") is Reason.EMPTY
    assert reason(b" \n\t\r\n", "a.txt") is Reason.EMPTY
    assert reason("\ufeff\u200b\u00ad".encode(), "a.txt") is Reason.EMPTY
    assert reason(b"<html><script>x</script></html>", "a.html") is Reason.EMPTY
    assert reason(pdf([""]), "scan.pdf") is Reason.EMPTY


def test_truncated_pdf_is_corrupt(pdf: Callable[..., bytes]) -> None:
    assert reason(pdf(["Some words."])[:60], "a.pdf") is Reason.CORRUPT
    assert reason(b"not a pdf", "a.pdf") is Reason.CORRUPT


def test_pdf_that_states_a_million_pages_is_refused_at_once(pdf: Callable[..., bytes]) -> None:
    data = pdf(["Words."], count=1_000_000)
    try:
        parsed = parse(data, "a.pdf", LIMITS)
    except ParseFailure as failure:
        assert failure.reason is Reason.TOO_MANY_PAGES  # noqa: PT017
    else:
        assert parsed.text == "Words."
    assert reason(pdf(["Page."] * 51), "a.pdf") is Reason.TOO_MANY_PAGES


def test_encrypted_pdf_asks_for_no_password(pdf: Callable[..., bytes]) -> None:
    handler = (
        "/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 "
        f"/O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<{'43' * 16}> <{'43' * 16}>] "
    )
    assert reason(pdf(["Words."], trailer=handler), "a.pdf") is Reason.ENCRYPTED


def test_pdf_streams_nested_a_thousand_times_end(pdf: Callable[..., bytes]) -> None:
    bomb = b"0" * 50_000_000
    filters = 12
    for _ in range(filters):
        bomb = zlib.compress(bomb, 9)
    body = b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (
        len(bomb),
        b"/FlateDecode " * filters,
        bomb,
    )
    data = pdf(["Words."])
    start, end = data.index(b"<< /Length"), data.index(b"\nendobj", data.index(b"endstream"))
    data = data[:start] + body + data[end:]
    assert reason(data, "a.pdf") in {Reason.EMPTY, Reason.CORRUPT}


def test_zip_bomb_in_word_is_too_large(word: Callable[..., bytes]) -> None:
    bomb = b"<w:x>" + b"A" * 60_000_000
    assert reason(word(paragraph, replace={"word/media.xml": bomb}), "a.docx") is Reason.TOO_LARGE
    many = {f"word/m{number}.bin": b"\0" * 3_900_000 for number in range(150)}
    assert reason(word(paragraph, replace=many), "a.docx") is Reason.TOO_LARGE


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_doctype_in_word_is_refused_however_encoded(
    word: Callable[..., bytes], encoding: str
) -> None:
    xml = (
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY a "ha">'
        '<!ENTITY b "&a;&a;&a;&a;">]><w:document>&b;</w:document>'
    ).encode(encoding)
    data = word(paragraph, replace={"word/document.xml": xml})
    assert reason(data, "a.docx") is Reason.UNSUPPORTED_FORMAT


def test_damaged_word_is_corrupt(word: Callable[..., bytes]) -> None:
    data = word(paragraph)
    assert reason(data[: len(data) // 2], "a.docx") is Reason.CORRUPT
    broken = word(paragraph, replace={"word/document.xml": b"<w:document><unclosed>"})
    assert reason(broken, "a.docx") is Reason.CORRUPT
    assert reason(b"plain words", "a.docx") is Reason.CORRUPT


def test_office_file_with_password_is_encrypted() -> None:
    ole = bytes.fromhex("d0cf11e0a1b11ae1")
    assert reason(ole + "EncryptedPackage".encode("utf-16-le"), "a.docx") is Reason.ENCRYPTED
    assert reason(ole + b"WordDocument", "a.doc") is Reason.UNSUPPORTED_FORMAT


def test_other_formats_are_named(word: Callable[..., bytes]) -> None:
    sheet = io.BytesIO()
    with zipfile.ZipFile(sheet, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(ParseFailure, match="Excel"):
        parse(sheet.getvalue(), "a.xlsx", LIMITS)
    for data in (b"\x89PNG\r\n\x1a\n\0\0", b"\x7fELF\x02", bytes(range(256)) * 20, b"\0" * 5000):
        assert reason(data, "a.txt") is Reason.UNSUPPORTED_FORMAT


def test_html_nested_ten_thousand_deep_is_read() -> None:
    deep = b"<div>" * 10_000 + b"Words." + b"</div>" * 10_000
    assert parse(b"<html>" + deep, "a.html", LIMITS).text == "Words."


def test_markdown_nested_deep_is_read() -> None:
    assert "Words" in parse(b"> " * 20_000 + b"Words", "a.md", LIMITS).text
    assert "Words" in parse(b"[" * 20_000 + b"Words", "a.md", LIMITS).text


@pytest.mark.parametrize("marks", ["[", "[](", "*", "a {#", "  "])
def test_headings_of_many_marks_are_read(marks: str) -> None:
    text = f"---\ntitle: 'Guide{' ' * 100_000}2'\n---\nA{marks * 100_000}b\n---\nWords."
    parsed = parse(text.encode(), "a.md", LIMITS)
    assert parsed.title == "Guide 2"
    assert parsed.sections[0].path[0].startswith("A")
    assert len(parsed.sections) == 1


def test_a_huge_line_is_read_and_too_much_text_refused() -> None:
    line = b"x" * 900_000
    assert len(parse(line, "a.txt", LIMITS).text) == 900_000
    assert reason(line * 2, "a.txt") is Reason.TOO_LARGE
    assert reason(b"<p>" + line * 2, "a.html") is Reason.TOO_LARGE
    assert reason(line, "a.txt", ParseLimits(max_bytes=1000)) is Reason.TOO_LARGE


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from(["a.txt", "a.md", "a.html", "a.pdf", "a.docx", "a"])
)
def test_no_bytes_do_anything_but_parse_or_fail_with_a_reason(data: bytes, path: str) -> None:
    try:
        parsed = parse(data, path, LIMITS)
    except ParseFailure:
        return
    assert parsed.text.strip()
    parsed.text.encode()
    assert all(0 <= section.start < len(parsed.text) for section in parsed.sections)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 700), st.integers(0, 255), st.integers(1, 60))
def test_a_pdf_with_damage_anywhere_parses_or_fails_with_a_reason(
    place: int, value: int, length: int
) -> None:
    data = bytearray(_SAMPLE)
    place %= len(data)
    data[place : place + length] = bytes([value]) * min(length, len(data) - place)
    try:
        parse(bytes(data), "a.pdf", LIMITS)
    except ParseFailure as failure:
        assert failure.message  # noqa: PT017


_SAMPLE = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R
/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 38>>stream
BT /F 12 Tf 50 700 Td (Words.) Tj ET\x20\x20
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R/Size 6>>
%%EOF
"""

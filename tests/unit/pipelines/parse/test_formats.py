"""Each format's text, pages, sections and title."""
# ruff: noqa: RUF001 - text of many scripts

from collections.abc import Callable
from typing import Any

import pytest

from nexus_pipelines.parse.core import parse
from nexus_pipelines.parse.document import Parsed, ParseLimits
from nexus_pipelines.parse.sniff import Format, sniff

LIMITS = ParseLimits()


def read(data: bytes | str, path: str) -> Parsed:
    return parse(data.encode() if isinstance(data, str) else data, path, LIMITS)


def under(parsed: Parsed, heading: str) -> str:
    """The text from a heading's section to the next."""
    places = [*(s.start for s in parsed.sections), len(parsed.text)]
    for number, section in enumerate(parsed.sections):
        if section.path[-1] == heading:
            return parsed.text[section.start : places[number + 1]]
    raise AssertionError(f"no section {heading} in {parsed.sections}")


def test_pdf_pages_cover_their_text_and_title_is_read(pdf: Callable[..., bytes]) -> None:
    parsed = read(pdf(["First page\nof two.", "Second (last) page."], title="Plant"), "a.pdf")
    assert parsed.title == "Plant"
    assert [parsed.text[start:end] for start, end in parsed.pages] == [
        "First page\nof two.",
        "Second (last) page.",
    ]


def test_pdf_outline_makes_sections_at_the_words_of_its_entries(pdf: Callable[..., bytes]) -> None:
    data = pdf(
        ["Cover\nSafety\nWear gloves.", "Pumps\nPrime before use."],
        outline=[("Safety", 0), ("Pumps", 1)],
    )
    parsed = read(data, "a.pdf")
    assert under(parsed, "Safety").startswith("Safety\nWear gloves.")
    assert under(parsed, "Pumps") == "Pumps\nPrime before use."


def test_damaged_pages_are_left_out_and_counted(pdf: Callable[..., bytes]) -> None:
    data = pdf(["Readable.", "Lost."]).replace(b"12 0 obj", b"99 0 obj")
    parsed = read(data, "a.pdf")
    assert parsed.text == "Readable."
    assert parsed.unreadable_pages == 1
    assert len(parsed.pages) == 2


def test_word_headings_lists_and_tables_are_read_in_order(word: Callable[..., bytes]) -> None:
    def build(document: Any) -> None:
        document.add_heading("Pump manual", 0)
        document.add_heading("Start", 1)
        document.add_paragraph("Open the valve.")
        document.add_paragraph("Check oil", style="List Bullet")
        table = document.add_table(rows=2, cols=3)
        for row, words in zip(
            table.rows, (("Part", "Hours", ""), ("Seal", "500", "x")), strict=True
        ):
            for cell, text in zip(row.cells, words, strict=True):
                cell.text = text
        table.rows[0].cells[1].merge(table.rows[0].cells[2])
        document.add_heading("Stop", 1)
        document.add_paragraph("Close it.")

    parsed = read(word(build), "manual.docx")
    assert parsed.title == "Pump manual"
    assert [s.path for s in parsed.sections] == [
        ("Pump manual",),
        ("Pump manual", "Start"),
        ("Pump manual", "Stop"),
    ]
    start = under(parsed, "Start")
    assert start.index("Open the valve.") < start.index("Check oil") < start.index("Part | Hours")
    assert "Seal | 500 | x" in start
    assert under(parsed, "Stop") == "Stop\n\nClose it."


def test_html_gives_what_a_reader_sees() -> None:
    page = """<!doctype html><html><head><title> The  Plant </title><style>p{}</style></head><body>
    <nav>Home | About</nav><h1>Pumps &amp; valves</h1><p>Prime <b>it</b> first.<br>Then start.
    <script>alert('x')</script><ul><li>one<li>two</ul>
    <table><tr><th>Part<th>Hours<tr><td><p>Seal</p><td>500</table>
    <h2>Care</h2><pre>a  b
  c</pre><p hidden>secret</p></body></html>"""
    parsed = read(page, "x.bin")
    assert parsed.title == "The Plant"
    assert parsed.text == (
        "Pumps & valves\n\nPrime it first.\nThen start.\n\n- one\n- two\n\nPart | Hours\n"
        "Seal | 500\n\nCare\n\na  b\n  c"
    )
    assert [s.path for s in parsed.sections] == [
        ("Pumps & valves",),
        ("Pumps & valves", "Care"),
    ]


def test_markdown_keeps_its_source_and_finds_headings_outside_code() -> None:
    source = (
        "---\ntitle: 'The plant'\n---\n\n# Pumps **now** {#p}\n\ntext\n\n```\n# no heading\n```\n\n"
        "Care of [seals](http://x)\n---\nmore\r\n\r\n### Deep\r\nend"
    )
    parsed = read(source, "x.md")
    assert parsed.text == source
    assert parsed.title == "The plant"
    assert [s.path for s in parsed.sections] == [
        ("Pumps now",),
        ("Pumps now", "Care of seals"),
        ("Pumps now", "Care of seals", "Deep"),
    ]
    assert under(parsed, "Deep") == "### Deep\r\nend"
    assert under(parsed, "Care of seals").startswith("Care of [seals]")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_text_of_any_encoding_is_read(encoding: str) -> None:
    text = "Prüfung der Pumpe: Öl wechseln, Gerät säubern. " * 3
    assert read(text.encode(encoding), "x.txt").text == text


def test_a_file_cut_within_a_character_stays_utf8() -> None:
    assert read("naïve café 中文 ok".encode()[:-4] + b"\xe4\xb8", "x.txt").text.startswith(
        "naïve café 中"
    )


def test_html_follows_its_declared_charset_unless_it_is_a_trap() -> None:
    page = '<html><meta charset="{}"><p>Слова</html>'
    assert "Слова" in read(page.format("koi8-r").encode("koi8-r"), "x.html").text
    for trap in ("zlib", "utf-16", "idna", "no-such"):
        assert "Слова" in read(page.format(trap), "x.html").text


def test_text_keeps_every_offset_and_loses_control_characters() -> None:
    source = "a\x00b\x07c\r\nשלום 😀 \ufffe end"
    parsed = read(source, "x.txt")
    assert len(parsed.text) == len(source)
    assert parsed.text == "a b c\r\nשלום 😀   end"


@pytest.mark.parametrize(
    ("path", "kind"),
    [("a.md", "markdown"), ("a.MARKDOWN", "markdown"), ("a.htm", "html"), ("a.txt", "text"),
     ("noext", "text"), ("a.json", "text"), ("-rf 'x'\n.md", "markdown")],
)  # fmt: skip
def test_names_decide_among_text_formats(path: str, kind: str) -> None:
    assert read("# words", path).format == kind


def test_content_decides_before_the_name(
    pdf: Callable[..., bytes], word: Callable[..., bytes]
) -> None:
    assert read(pdf(["Words."]), "a.txt").format == "pdf"
    assert read(word(lambda document: document.add_paragraph("Words.")), "a.pdf").format == "docx"
    assert read("<html><p>Words.</html>", "a.txt").format == "html"


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (b"<!DOCTYPE html><p>Words.", Format.HTML),
        (b"<body>Words.", Format.HTML),
        (b"<div>Words.", Format.TEXT),
        (b"<!-- no end", Format.TEXT),
    ],
)
@pytest.mark.parametrize("comment", [b"<!-- a-b -> c -->\n", b"<!---->", b"<!-- ---><!-- x -->"])
def test_comments_before_the_first_element_are_skipped_however_many(
    comment: bytes, after: bytes, kind: Format
) -> None:
    # Not by trying each way to part them into comments: there are 2^100.
    assert sniff(b"\xef\xbb\xbf \n" + comment * 100 + after, "page") is kind
    assert sniff(b'<?xml version="1.0"?>\n' + comment * 100 + after, "page") is kind

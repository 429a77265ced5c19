"""Chunks: within the limit, exact, complete, in order, at sentences and below their headings."""
# ruff: noqa: RUF001 - text of many scripts

import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_knowledge.chunks import MAX_CONTENT_BYTES
from nexus_pipelines.chunk.core import ChunkLimits, Span, chunk
from nexus_pipelines.chunk.sentences import sentence_starts
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.parse.cleaning import fit
from nexus_pipelines.parse.document import Parsed, Section

SENTENCE = "The operator of the pump must check the seal and the oil every month. "


def cut(
    parsed: Parsed | str, tokenizer: TextTokenizer, limits: ChunkLimits | None = None
) -> tuple[str, list[Span]]:
    document = Parsed("text", parsed) if isinstance(parsed, str) else parsed
    spans = list(chunk(document, tokenizer, limits or ChunkLimits()))
    check(document, tokenizer, limits or ChunkLimits(), spans)
    return document.text, spans


def check(
    document: Parsed, tokenizer: TextTokenizer, limits: ChunkLimits, spans: list[Span]
) -> None:
    """What holds of every document's chunks."""
    text = document.text
    for span in spans:
        content = span.heading + text[span.start : span.end]
        assert span.start < span.end <= len(text)
        passage = limits.passage_prefix + content
        assert tokenizer.count(passage) + tokenizer.special <= limits.max_tokens, content
        assert len(content.encode()) <= MAX_CONTENT_BYTES
        assert not text[span.start].isspace()
        assert not text[span.end - 1].isspace()
    for before, after in itertools.pairwise(spans):
        assert before.start < after.start
        assert before.end < after.end
    covered = bytearray(len(text))
    for span in spans:
        covered[span.start : span.end] = b"\1" * (span.end - span.start)
    if spans:
        left = [text[place] for place, seen in enumerate(covered) if not seen]
        assert not [c for c in left if c.isalnum()], left[:40]


def test_a_short_text_is_one_chunk(bert: TextTokenizer) -> None:
    text, spans = cut("\n  The pump is new.  \n", bert)
    assert [text[s.start : s.end] for s in spans] == ["The pump is new."]
    assert spans[0].page == 0


def test_no_text_has_no_chunks(bert: TextTokenizer) -> None:
    assert cut("", bert)[1] == []
    assert cut(" \n ", bert)[1] == []


def test_chunks_end_at_sentences_and_overlap_by_less_than_asked(bert: TextTokenizer) -> None:
    limits = ChunkLimits(max_tokens=80, overlap_tokens=30)
    text, spans = cut(SENTENCE * 40, bert, limits)
    assert len(spans) > 5
    for span in spans:
        assert text[span.start : span.end].startswith("The operator")
        assert text[span.start : span.end].endswith("month.")
    for before, after in itertools.pairwise(spans):
        overlap = text[after.start : before.end]
        assert 0 < bert.count(overlap) <= limits.overlap_tokens


def test_without_overlap_every_character_is_in_one_chunk(bert: TextTokenizer) -> None:
    _, spans = cut(SENTENCE * 40, bert, ChunkLimits(max_tokens=64, overlap_tokens=0))
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))


def test_fixed_windows_fill_the_limit(bert: TextTokenizer) -> None:
    limits = ChunkLimits(max_tokens=50, overlap_tokens=10, strategy="fixed", heading_prefix=False)
    text, spans = cut(SENTENCE * 40, bert, limits)
    counts = [bert.count(text[s.start : s.end]) for s in spans]
    assert all(44 <= count <= 48 for count in counts[:-2]), "whole words, else full"


def test_no_crumb_is_left_at_the_end(bert: TextTokenizer) -> None:
    limits = ChunkLimits(max_tokens=66, overlap_tokens=0)
    for sentences in range(5, 30):
        text, spans = cut(SENTENCE * sentences, bert, limits)
        assert all(bert.count(text[s.start : s.end]) >= 15 for s in spans)


def test_chunks_stay_below_their_heading_and_carry_it(bert: TextTokenizer) -> None:
    text = "Intro.\n\nSafety\n\n" + SENTENCE * 12 + "\n\nOil\n\nChange it."
    oil = text.index("Oil\n")
    sections = (Section(8, ("Manual", "Safety")), Section(oil, ("Manual", "Oil")))
    parsed = Parsed("text", text, sections=sections)
    _, spans = cut(parsed, bert, ChunkLimits(max_tokens=64, overlap_tokens=8))
    assert spans[0].section == ()
    assert spans[0].heading == ""
    safety = [s for s in spans if s.section == ("Manual", "Safety")]
    assert len(safety) > 2
    assert text[safety[0].start :].startswith("Safety")
    assert safety[0].heading == "Manual\n"
    assert {s.heading for s in safety[1:]} == {"Manual > Safety\n"}
    assert all(s.end <= oil for s in safety)
    assert text[spans[-1].start : spans[-1].end] == "Oil\n\nChange it."


def test_a_heading_without_text_joins_the_one_below_it(bert: TextTokenizer) -> None:
    text = "# Plant\n\n## Pumps\n\nPrime it.\n\n## Empty\n"
    sections = (
        Section(0, ("Plant",)),
        Section(text.index("## P"), ("Plant", "Pumps")),
        Section(text.index("## E"), ("Plant", "Empty")),
    )
    _, spans = cut(Parsed("markdown", text, sections=sections), bert)
    assert [text[s.start : s.end] for s in spans] == [
        "# Plant\n\n## Pumps\n\nPrime it.",
        "## Empty",
    ]
    assert spans[0].heading == ""


def test_heading_prefix_never_takes_more_than_a_quarter(bert: TextTokenizer) -> None:
    text = SENTENCE * 8
    path = ("motor " * 30, "valve " * 20, "the new pump")
    parsed = Parsed("text", text, sections=(Section(0, path),))
    _, spans = cut(parsed, bert, ChunkLimits(max_tokens=32, overlap_tokens=4))
    assert {s.heading for s in spans} == {"the new pump\n"}
    single = Parsed("text", text, sections=(Section(0, ("motor " * 30,)),))
    _, spans = cut(single, bert, ChunkLimits(max_tokens=32, overlap_tokens=4))
    assert all(0 < bert.count(s.heading) <= 8 for s in spans)
    _, spans = cut(parsed, bert, ChunkLimits(max_tokens=32, overlap_tokens=4, heading_prefix=False))
    assert {s.heading for s in spans} == {""}


def test_pages_are_those_where_chunks_begin(bert: TextTokenizer) -> None:
    pages = [SENTENCE * 5, "", SENTENCE * 5]
    text, places = "", []
    for page in pages:
        text += "\n\n" if page and text else ""
        places.append((len(text), len(text) + len(page)))
        text += page
    parsed = Parsed("pdf", text, pages=tuple(places))
    _, spans = cut(parsed, bert, ChunkLimits(max_tokens=50, overlap_tokens=0))
    for span in spans:
        start, end = places[span.page - 1]
        assert start <= span.start < end
    assert {s.page for s in spans} == {1, 3}


def test_passage_prefix_is_within_the_limit(bert: TextTokenizer) -> None:
    cut(SENTENCE * 20, bert, ChunkLimits(max_tokens=32, passage_prefix="the passage is : "))


@pytest.mark.parametrize("strategy", ["sentence", "fixed"])
@pytest.mark.parametrize(
    "text",
    [
        "x" * 300_000,
        "ab" * 150_000 + " " + "the " * 100,
        "中文" * 50_000,
        "中文。" * 20_000,
        "😀" * 20_000,
        "." * 100_000,
        "a.\n" * 30_000,
        "\u200b" * 70_000 + "pump" + "\u200b" * 70_000 + "valve",
        "pump" + " " * 300_000 + "valve",
        "é" * 70_000,
        "[CLS] [SEP] " * 5_000,
        "שלום עולם " * 5_000,
        "a_b-c/d?e=f&" * 8_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_odd_texts_end_soon_and_within_limits(
    bert: TextTokenizer, text: str, strategy: str
) -> None:
    began = time.process_time()
    _, spans = cut(text, bert, ChunkLimits(max_tokens=256, overlap_tokens=32, strategy=strategy))  # type: ignore[arg-type]
    assert spans
    assert time.process_time() - began < 20


def test_byte_level_tokenizers_keep_the_limit_too(byte_level: TextTokenizer) -> None:
    assert not byte_level.additive
    limits = ChunkLimits(max_tokens=64, overlap_tokens=12)
    text, spans = cut((SENTENCE + "Größe: 5 µm — 中文 😀. ") * 30, byte_level, limits)
    assert all(not text[s.start].isspace() for s in spans)
    cut("ab" * 5000, byte_level, limits)


LETTERS = st.sampled_from(
    ["pump", "valve", "the", "x", "ing", "ü", "中", "文。", "😀", "\u200b", " ", "  ", "\n", "\n\n",
     ". ", "! ", "\t", "\r\n", "-", "unknownword", "e.g. ", "\n- ", "שלום", "a" * 130, "'", "\x00"]
)  # fmt: skip


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(LETTERS, max_size=120),
    maximum=st.integers(16, 60),
    share=st.floats(0, 0.99),
    strategy=st.sampled_from(["sentence", "fixed"]),
    marks=st.lists(st.integers(0, 400), max_size=6),
    prefix=st.booleans(),
)
def test_chunks_of_any_text_hold_what_is_promised(
    bert: TextTokenizer,
    parts: list[str],
    maximum: int,
    share: float,
    strategy: str,
    marks: list[int],
    prefix: bool,
) -> None:
    text = fit("".join(parts))
    starts = sorted({mark for mark in marks if mark < len(text)})
    sections = tuple(
        Section(start, ("pump", "the valve " * (n + 1))[: 1 + n % 2])
        for n, start in enumerate(starts)
    )
    limits = ChunkLimits(
        max_tokens=maximum,
        overlap_tokens=int(maximum * share),
        strategy=strategy,  # type: ignore[arg-type]
        heading_prefix=prefix,
    )
    cut(Parsed("text", text, sections=sections), bert, limits)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One. ", "Two! ", "Three? ", "Four"]),
        ("See Fig. 3 and Dr. Roe. It works.", ["See Fig. 3 and Dr. Roe. ", "It works."]),
        (
            "At 3.5 bar, e.g. the seal. J. Doe said.",
            ["At 3.5 bar, e.g. the seal. ", "J. Doe said."],
        ),
        ('He said "stop." Then left.', ['He said "stop." ', "Then left."]),
        ("好的。再见！走", ["好的。", "再见！", "走"]),
        ("Title\n\nText\nwrapped", ["Title\n\n", "Text\nwrapped"]),
        ("List:\n- one\n- two\n1. three", ["List:\n", "- one\n", "- two\n", "1. three"]),
        ("no end", ["no end"]),
        ("", [""]),
    ],
)
def test_sentences_begin_where_a_reader_would_say(text: str, sentences: list[str]) -> None:
    places = [0, *sentence_starts(text), len(text)]
    assert [text[a:b] for a, b in itertools.pairwise(places)] == sentences


def test_the_models_own_truncation_and_padding_are_switched_off(bert: TextTokenizer) -> None:
    assert bert.count("pump " * 500) == 500
    assert bert.count("pump") == 1
    assert bert.special == 2
    assert len(bert.tokens("pump valve " * 5000)) == 10_000


@settings(deadline=None)
@given(parts=st.lists(LETTERS, max_size=200))
def test_tokens_by_words_are_those_of_the_whole_text(parts: list[str]) -> None:
    """The lexicon is only a faster way: every token lies where the tokenizer puts it."""
    import tokenizers

    text = fit("".join(parts).replace("a" * 130, " "))
    plain = tokenizers.Tokenizer.from_str(_BERT[0]._tokenizer.to_str())
    offsets = plain.encode(text, add_special_tokens=False).offsets
    tokens = _BERT[0].tokens(text)
    assert list(zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True)) == offsets
    assert _BERT[0].count(text) == len(tokens)


_BERT: list[TextTokenizer] = []


@pytest.fixture(autouse=True)
def _remembered(bert: TextTokenizer) -> None:
    _BERT[:] = [bert]

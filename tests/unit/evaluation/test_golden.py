"""Golden sets: read with errors that name the line, named by content, grown by new versions."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation import golden
from nexus_evaluation.errors import BadGoldenSet, EvaluationError
from nexus_evaluation.golden import Context, GoldenItem, GoldenSet

HEADER = '{"goldenSet": "handbook", "version": "1", "schema": 1}'
ITEM = '{"id": "a", "question": "How hot?", "references": ["90 °C"], "document": "pump.txt"}'

words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30
).filter(str.strip)
items = st.builds(
    GoldenItem,
    id=words,
    question=words,
    references=st.lists(words, min_size=1, max_size=3).map(tuple),
    contexts=st.lists(st.builds(Context, document=words, text=words), max_size=2).map(tuple),
    document=st.one_of(st.just(""), words),
    language=st.sampled_from(["", "de", "en-GB", "zh-Hant"]),
    topic=st.one_of(st.just(""), words),
    tags=st.dictionaries(words, words, max_size=2),
    facts=st.lists(
        words.filter(lambda text: any(char.isalnum() for char in text))
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False),
        max_size=3,
    ).map(tuple),
)
sets = st.builds(
    GoldenSet,
    st.lists(items, min_size=1, max_size=5, unique_by=lambda item: item.id).map(tuple),
    name=words,
    version=words,
)


@given(sets)
def test_what_is_written_is_read_back(drawn: GoldenSet) -> None:
    assert golden.read(golden.write(drawn)) == drawn


@given(sets, st.randoms())
def test_the_digest_names_the_content_not_the_order_or_the_header(
    drawn: GoldenSet, random: Random
) -> None:
    shuffled = list(drawn.items)
    random.shuffle(shuffled)
    assert GoldenSet(tuple(shuffled), "other", "9").digest == drawn.digest


@given(sets, words)
def test_another_answer_is_another_digest(drawn: GoldenSet, answer: str) -> None:
    first = drawn.items[0]
    changed = first.model_copy(update={"references": (*first.references, answer)})
    assert GoldenSet((changed, *drawn.items[1:])).digest != drawn.digest


def test_a_set_without_facts_keeps_the_digest_that_it_had_before_there_were_any() -> None:
    old = golden.read(f"{HEADER}\n{ITEM}".encode())
    assert old.digest == "sha256:367613666143c75e3130ae35c0b828d2be76c8d854a03af6b1fac5a70809b5c6"
    assert b"facts" not in golden.write(old)
    declaring = old.items[0].model_copy(update={"facts": (90, "°C")})
    assert GoldenSet((declaring,)).digest != old.digest


@given(st.binary(max_size=200))
def test_any_bytes_are_a_set_or_a_named_error(content: bytes) -> None:
    message = ""
    try:
        golden.read(content)
    except EvaluationError as error:
        message = str(error)
    assert not message or message.startswith("golden set")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "golden set: holds no item"),
        (HEADER, "golden set: holds no item"),
        ("{", "line 1: not JSON"),
        (f"{HEADER}\n{ITEM}\n\nnope", "line 4: not JSON"),
        (f"{ITEM}\n{ITEM}", "line 2: id 'a' stands on line 1 too"),
        (f"{ITEM}\n{HEADER}", "line 2: the set is named on the first line"),
        (HEADER.replace("1}", "2}"), "line 1: schema: "),
        ('["a"]', "line 1: the line: "),
        ('{"id": "a", "question": "q"}', "line 1: references: Field required"),
        ('{"id": "a", "question": "q", "references": []}', "line 1: references: "),
        ('{"id": "a", "question": "q", "references": ["x"], "topics": "t"}', "line 1: topics: "),
        ('{"id": "a", "question": "q", "references": ["x"], "language": "../x"}', "language: "),
        (ITEM.replace("}", ', "facts": ["90 °C", "?!"]}'), "a fact needs a letter or a digit"),
        (ITEM.replace("}", ', "facts": [true]}'), "line 1: facts.0"),
        (ITEM.replace("}", ', "facts": [NaN]}'), "line 1: facts.0"),
        (ITEM.replace("}", ', "facts": 90}'), "line 1: facts: "),
    ],
)
def test_errors_name_the_line_and_the_field(text: str, message: str) -> None:
    with pytest.raises(BadGoldenSet) as error:
        golden.read(text.encode())
    assert message in str(error.value)


def test_bytes_that_are_not_utf8_are_located() -> None:
    with pytest.raises(BadGoldenSet, match="byte 1: not UTF-8"):
        golden.read(b"{\xff")


def test_a_line_separator_inside_a_text_ends_no_line() -> None:
    item = GoldenItem(id="a", question="one\u2028two\x85three", references=("x",))
    assert golden.read(golden.write(GoldenSet((item,)))).items == (item,)


def test_adding_makes_a_new_version_and_leaves_the_old() -> None:
    old = golden.read(f"{HEADER}\n{ITEM}".encode())
    item = golden.from_feedback(
        response_id="r1",
        question=" How loud? ",
        corrected_answer="80 dB",
        contexts=[Context(document="noise.txt", text="It makes 80 dB.")],
    )
    new = golden.add(old, [item], version="2")
    assert (new.ids, new.version, new.name) == (("a", "feedback-r1"), "2", "handbook")
    assert (new.items[1].document, new.items[1].cluster) == ("noise.txt", "noise.txt")
    assert (old.ids, old.version) == (("a",), "1")
    assert new.digest != old.digest


def test_adding_refuses_what_is_there_already() -> None:
    old = golden.read(f"{HEADER}\n{ITEM}".encode())
    same = json.loads(ITEM)
    with pytest.raises(BadGoldenSet, match="version '1' is the set's own"):
        golden.add(old, [], version="1")
    with pytest.raises(BadGoldenSet, match="id 'a' is in the set already"):
        golden.add(old, [GoldenItem(**same)], version="2")
    twin = GoldenItem(**{**same, "id": "b", "question": "how HOT"})
    with pytest.raises(BadGoldenSet, match="'b' asks what 'a' asks"):
        golden.add(old, [twin], version="2")


def test_an_empty_correction_is_no_item() -> None:
    with pytest.raises(BadGoldenSet, match="response 'r1'"):
        golden.from_feedback(response_id="r1", question="q", corrected_answer=" ", contexts=[])

"""Filters as users write them, chunks as LlamaIndex nodes, names that are functions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_knowledge.chunks import Chunk, from_node, to_node
from nexus_knowledge.errors import InvalidFilter
from nexus_knowledge.filters import Filter
from nexus_knowledge.ids import chunk_id, document_id, new_collection_name


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"unknown": 1}, "'unknown' is unknown; use document"),
        ({"metadata.": 1}, "unknown"),
        ({'metadata.a"] or true': 1}, "unknown"),
        ({"document": 3}, "'document' needs text, not 3"),
        ({"page": "3"}, "'page' needs whole numbers, not '3'"),
        ({"page": True}, "whole numbers"),
        ({"page": {"near": 3}}, "'near' is no comparison"),
        ({"document": {"gt": 3}}, "no comparison"),
        ({"page": {"gt": "x"}}, "gt needs a number, not 'x'"),
        ({"page": []}, "needs 1 to 256 values"),
        ({"page": list(range(300))}, "needs 1 to 256 values"),
        ({"page": 2**63}, "9223372036854775808 cannot be compared"),
        ({"page": {"gt": -(2**63) - 1}}, "cannot be compared"),
        ({"start": {"lt": float("inf")}}, "inf cannot be compared"),
        ({"metadata.x": float("nan")}, "nan cannot be compared"),
        ({"document": "a\ud800"}, "cannot be compared"),
        ({"metadata.x": ["a", "\udfff"]}, "cannot be compared"),
        ({"metadata.x": None}, "neither text, number nor boolean"),
        ({"metadata.x": [{}]}, "neither text, number nor boolean"),
        ({f"metadata.x{n}": n for n in range(17)}, "17 fields; at most 16"),
    ],
)
def test_a_bad_filter_is_refused_by_name(wanted: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidFilter, match=says.replace("(", r"\(")):
        Filter.parse(wanted)


def test_an_empty_filter_is_none() -> None:
    assert Filter.parse({}) is None


def test_values_are_quoted() -> None:
    where = Filter.parse({"document": 'a"\n\\', "metadata.x": [1, 2.5, True]})
    assert where is not None
    assert where.expression() == (
        r'(document == "a\"\n\\") and '
        '(metadata["x"] == 1 or metadata["x"] == 2.5 or metadata["x"] == true)'
    )


texts = st.text(st.characters(codec="utf-8"), max_size=50)
chunks = st.builds(
    Chunk,
    chunk_id=st.text("abc", min_size=1),
    document_id=st.text("abc", min_size=1),
    document=texts,
    generation=st.integers(1, 2**60),
    ordinal=st.integers(0, 10**6),
    text=texts,
    start=st.integers(0, 10**9),
    end=st.integers(0, 10**9),
    page=st.integers(0, 10**4),
    section=texts,
    heading=texts,
    metadata=st.dictionaries(st.text("abc"), st.integers() | texts),
)


@settings(deadline=None)  # the first example imports LlamaIndex, for seconds
@given(chunks)
def test_a_node_carries_the_whole_chunk(chunk: Chunk) -> None:
    node = to_node(chunk)
    assert node.text == chunk.text
    assert from_node(node) == chunk


def test_a_node_that_is_no_chunk_is_named() -> None:
    from llama_index.core.schema import TextNode

    with pytest.raises(ValueError, match="node x is no chunk: it lacks document_id"):
        from_node(TextNode(id_="x", text="y"))


def test_ids_depend_on_every_part_and_nothing_else() -> None:
    parts = [("t", "i", "p"), ("ti", "", "p"), ("t", "ip", ""), ("", "ti", "p"), ("t", "i", "q")]
    ids = {document_id(*one) for one in parts}
    assert len(ids) == len(parts)
    assert {len(one) for one in ids} == {24}
    assert document_id(*parts[0]) == document_id(*parts[0])
    assert len({chunk_id("t", "i", "d", g, o) for g in range(20) for o in range(20)}) == 400
    assert chunk_id("t", "i", "d", 1, 11) != chunk_id("t", "i", "d", 11, 1)


def test_collection_names_are_never_used_twice() -> None:
    names = {new_collection_name("a-b", "ü.x") for _ in range(100)}
    assert len(names) == 100
    assert all(name.replace("_", "").isalnum() and name.isascii() for name in names)

"""What every vector index promises; run on the one in memory and on the real Lite server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_knowledge.chunks import MAX_CONTENT_BYTES, Chunk
from nexus_knowledge.errors import (
    CollectionMismatch,
    CollectionNotFound,
    VectorError,
    VectorsUnavailable,
)
from nexus_knowledge.filters import Filter
from nexus_knowledge.ids import chunk_id, document_id
from nexus_knowledge.vectors import VectorIndex, Vectors, open_index
from nexus_knowledge.vectors.memory import MemoryIndex

DIM = 8


@pytest.fixture(scope="module", params=["memory", "lite"])
def index(request: pytest.FixtureRequest) -> Iterator[VectorIndex]:
    if request.param == "memory":
        yield MemoryIndex()
        return
    opened = open_index(request.getfixturevalue("milvus_lite").uri)
    yield opened
    opened.close()


@pytest.fixture
def name(index: VectorIndex, request: pytest.FixtureRequest) -> Iterator[str]:
    collection = f"nx_{abs(hash(request.node.nodeid))}"
    index.ensure_collection(collection, DIM)
    yield collection
    index.drop(collection)


def chunk(path: str, ordinal: int = 0, generation: int = 1, **fields: Any) -> Chunk:
    document = document_id("t", "i", path)
    values = {"text": f"text {ordinal} of {path}", "start": 0, "end": 10, **fields}
    return Chunk(
        chunk_id=chunk_id("t", "i", document, generation, ordinal),
        document_id=document,
        document=path,
        generation=generation,
        ordinal=ordinal,
        **values,
    )


def axis(*numbers: int) -> Vectors:
    return np.eye(DIM, dtype=np.float32)[list(numbers)]


def version(path: str, generation: int = 1) -> tuple[str, int]:
    return document_id("t", "i", path), generation


def test_collections_come_and_go(index: VectorIndex, name: str) -> None:
    assert index.has(name)
    assert name in index.collections()
    index.ensure_collection(name, DIM)
    with pytest.raises(CollectionMismatch):
        index.ensure_collection(name, DIM + 1)
    index.drop(name)
    index.drop(name)
    assert not index.has(name)


def test_calls_on_a_missing_collection_say_so(index: VectorIndex) -> None:
    for call in (
        lambda: index.count("none"),
        lambda: index.versions("none"),
        lambda: index.count_versions("none", [version("a")]),
        lambda: index.upsert("none", [chunk("a")], axis(0)),
        lambda: index.delete_versions("none", [version("a")]),
        lambda: index.search_dense("none", axis(0), 1),
        lambda: index.search_bm25("none", ["a"], 1),
    ):
        with pytest.raises(CollectionNotFound):
            call()


def test_everything_of_a_chunk_comes_back(index: VectorIndex, name: str) -> None:
    written = chunk(
        'a/b "c"\n\\ü.pdf',
        3,
        generation=2**40,
        text="  Ein Text.\n\tÜber Pumpen \U0001f642 ",
        heading="Kapitel 1 > Wartung\n",
        page=7,
        section="Kapitel 1 > Wartung",
        start=12,
        end=40,
        metadata={"lang": "de", "n": 3, "deep": {"x": [1, 2.5, None, True]}},
    )
    index.upsert(name, [written], axis(1))
    (found,) = index.search_dense(name, axis(1), 5)[0]
    assert found.chunk == written
    assert found.score == pytest.approx(1.0, abs=1e-5)
    (found,) = index.search_bm25(name, ["pumpen"], 5, with_vectors=True)[0]
    assert found.chunk == written
    assert found.score > 0
    assert found.vector is not None
    np.testing.assert_allclose(found.vector, axis(1)[0], atol=1e-6)


def test_writing_again_replaces(index: VectorIndex, name: str) -> None:
    for text in ("one", "two"):
        index.upsert(name, [chunk("a", text=text), chunk("a", 1, text=text)], axis(0, 1))
    assert index.count(name) == 2
    assert {found.chunk.text for found in index.search_dense(name, axis(0), 5)[0]} == {"two"}


def test_a_large_collection_is_read_whole(index: VectorIndex, name: str) -> None:
    for first in range(0, 2_500, 500):
        rows = [chunk(str(n), ordinal) for n in range(first, first + 500) for ordinal in range(2)]
        index.upsert(name, rows, axis(*[0] * len(rows)))
        index.flush(name)
    assert index.versions(name) == {version(str(number)): 2 for number in range(2_500)}


def test_counts_and_deletes_by_version(index: VectorIndex, name: str) -> None:
    rows = [chunk("a", n, g) for g in (1, 2) for n in range(3)] + [chunk("b", n) for n in range(2)]
    index.upsert(name, rows, axis(*[0] * len(rows)))
    assert index.count(name) == 8
    asked = [version("a"), version("a", 2), version("a", 3), version("b"), version("c")]
    assert list(index.count_versions(name, asked).values()) == [3, 3, 0, 2, 0]
    assert index.versions(name) == {version("a"): 3, version("a", 2): 3, version("b"): 2}
    index.delete_versions(name, [version("a"), version("c"), version("b", 9)])
    assert index.versions(name) == {version("a", 2): 3, version("b"): 2}
    assert index.count(name) == 5
    index.delete_versions(name, [])
    assert index.count_versions(name, []) == {}


def test_many_versions_at_once(index: VectorIndex, name: str) -> None:
    rows = [chunk(f"d{n}", ordinal) for n in range(150) for ordinal in range(2)]
    index.upsert(name, rows, axis(*[0] * len(rows)))
    every = [version(f"d{n}") for n in range(150)]
    assert set(index.count_versions(name, every).values()) == {2}
    assert index.versions(name) == dict.fromkeys(every, 2)
    index.delete_versions(name, every[:140])
    assert index.versions(name) == dict.fromkeys(every[140:], 2)


def test_dense_search_orders_by_cosine(index: VectorIndex, name: str) -> None:
    vectors = np.array([[1, 0], [1, 1], [-1, 0], [0, 1]], dtype=np.float32)
    vectors = np.pad(vectors, ((0, 0), (0, DIM - 2)))
    index.upsert(name, [chunk(p) for p in "abcd"], 3 * vectors)
    first, second = index.search_dense(name, vectors[[0, 3]], 3)
    assert [found.chunk.document for found in first] == ["a", "b", "d"]
    assert [found.score for found in first] == pytest.approx([1, 0.5**0.5, 0], abs=1e-5)
    assert [found.chunk.document for found in second][:2] == ["d", "b"]
    assert index.search_dense(name, vectors[:0], 3) == []


def test_bm25_search_orders_by_rare_words(index: VectorIndex, name: str) -> None:
    texts = ["die Pumpe läuft", "die Pumpe P-12 tropft", "der Motor läuft", "nichts davon"]
    index.upsert(name, [chunk(str(n), text=t) for n, t in enumerate(texts)], axis(0, 1, 2, 3))
    first, second, third = index.search_bm25(name, ["pumpe tropft", "MOTOR?!", "xyz"], 3)
    assert [found.chunk.document for found in first] == ["1", "0"]
    assert first[0].score > first[1].score > 0
    assert [found.chunk.document for found in second] == ["2"]
    assert third == []
    assert index.search_bm25(name, [], 3) == []
    assert index.search_bm25(name, ["", "?!", "die"], 3)[0] == []


def test_headings_are_searched_too(index: VectorIndex, name: str) -> None:
    index.upsert(name, [chunk("a", text="Alle 500 Stunden.", heading="Filterwechsel\n")], axis(0))
    (found,) = index.search_bm25(name, ["filterwechsel"], 3)[0]
    assert found.chunk.text == "Alle 500 Stunden."


def test_writes_are_seen_at_once_before_and_after_a_flush(index: VectorIndex, name: str) -> None:
    index.upsert(name, [chunk("a", text="alpha")], axis(0))
    index.flush(name)
    index.upsert(name, [chunk("b", text="beta"), chunk("a", text="gamma")], axis(1, 2))
    assert index.count(name) == 2
    assert index.search_bm25(name, ["alpha"], 3) == [[]]
    assert [f.chunk.document for f in index.search_dense(name, axis(2), 1)[0]] == ["a"]
    index.delete_versions(name, [version("a")])
    assert index.search_bm25(name, ["gamma"], 3) == [[]]
    assert index.versions(name) == {version("b"): 1}


def test_texts_without_words_and_too_long_ones(index: VectorIndex, name: str) -> None:
    index.upsert(
        name, [chunk("a", text="--- !!!"), chunk("b", text="x" * MAX_CONTENT_BYTES)], axis(0, 1)
    )
    assert index.count(name) == 2
    with pytest.raises(VectorError):
        index.upsert(name, [chunk("c", text="ü" * MAX_CONTENT_BYTES)], axis(0))
    with pytest.raises(VectorError):
        index.upsert(name, [chunk("c")], axis(0, 1))
    with pytest.raises(VectorError):
        index.upsert(name, [chunk("c")], np.ones((1, DIM + 1), dtype=np.float32))
    assert index.count(name) == 2


AWKWARD = [
    "plain", 'a"b', "a'b", "a\\b", "a\\", "a\nb", "tab\t", "100%", "_", "ü漢🙂", "a\\nb", "", " ",
    '"] or true or x in ["', "\x01",
]  # fmt: skip


def test_filters_take_any_text_as_text(index: VectorIndex, name: str) -> None:
    rows = [chunk(f"p{n}", section=t, metadata={"tag": t}) for n, t in enumerate(AWKWARD)]
    index.upsert(name, rows, axis(*[0] * len(rows)))
    for n, text in enumerate(AWKWARD):
        for field in ("section", "metadata.tag"):
            found = index.search_dense(name, axis(0), 50, where=Filter.parse({field: text}))[0]
            assert [one.chunk.document for one in found] == [f"p{n}"], (field, text)


FILTERS: list[dict[str, Any]] = [
    {"page": 1}, {"page": [1, 3]}, {"page": {"gte": 2}}, {"page": {"gt": 1, "lt": 3}},
    {"document": "b"}, {"document": ["a", "c"], "page": {"lte": 2}}, {"metadata.n": 2},
    {"metadata.n": {"gte": 2}}, {"metadata.lang": ["de", "en"]}, {"metadata.ok": True},
    {"metadata.none": "x"}, {"document_id": version("a")[0]}, {"start": {"gte": 0}},
    {"metadata.x": {"lt": 2.5}},
]  # fmt: skip


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_filters_hold_as_they_say(index: VectorIndex, name: str, wanted: dict[str, Any]) -> None:
    rows = [
        chunk("a", page=1, text="word", metadata={"n": 1, "lang": "de", "x": 1.5}),
        chunk("b", page=2, text="word", metadata={"n": 2, "lang": "en", "ok": True}),
        chunk("c", page=3, text="word", metadata={"n": "2", "lang": "fr", "ok": "true", "x": 3}),
    ]
    index.upsert(name, rows, axis(0, 0, 0))
    where = Filter.parse(wanted)
    assert where is not None
    expected = {row.document for row in rows if where.holds(row)}
    dense = index.search_dense(name, axis(0), 9, where=where)[0]
    words = index.search_bm25(name, ["word"], 9, where=where)[0]
    assert {found.chunk.document for found in dense} == expected
    assert {found.chunk.document for found in words} == expected


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=40).filter(lambda s: ("\0" not in s and s.isprintable()) or "\n" in s))
def test_any_text_comes_back_and_filters(index: VectorIndex, name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    index.upsert(name, [chunk("a", text=text, section=text)], axis(0))
    (found,) = index.search_dense(name, axis(0), 1, where=Filter.parse({"section": text}))[0]
    assert found.chunk.text == text


class TestLite:
    """What needs a server."""

    def test_a_killed_server_has_what_it_acknowledged(self, milvus_lite: Any) -> None:
        index = open_index(milvus_lite.uri, timeout=60)
        index.ensure_collection("nx_killed", DIM)
        for round_ in range(2):
            index.upsert("nx_killed", [chunk("a", round_, text="survivor")], axis(0))
            milvus_lite.kill()
            with pytest.raises(VectorsUnavailable):
                open_index(milvus_lite.uri, timeout=1).count("nx_killed")
            milvus_lite.start()
            index = open_index(milvus_lite.uri, timeout=60)
            assert index.count("nx_killed") == round_ + 1
            assert len(index.search_dense("nx_killed", axis(0), 9)[0]) == round_ + 1
            assert len(index.search_bm25("nx_killed", ["survivor"], 9)[0]) == round_ + 1
        index.drop("nx_killed")
        index.close()

    def test_an_open_connection_survives_a_restart(self, milvus_lite: Any) -> None:
        index = open_index(milvus_lite.uri, timeout=60)
        index.ensure_collection("nx_restart", DIM)
        index.upsert("nx_restart", [chunk("a")], axis(0))
        milvus_lite.kill()
        milvus_lite.start()
        assert len(index.search_dense("nx_restart", axis(0), 9)[0]) == 1
        index.drop("nx_restart")
        index.close()

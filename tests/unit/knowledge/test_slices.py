import re

from hypothesis import given
from hypothesis import strategies as st

from nexus_knowledge.ids import document_id
from nexus_knowledge.vectors.slices import ROWS_AT_ONCE, slices

RANGE = re.compile(r'document_id >= "(\w*)"(?: and document_id < "(\w+)")?')


def _matches(wanted: str, document: str) -> bool:
    match = RANGE.fullmatch(wanted)
    assert match is not None
    return document >= match[1] and (match[2] is None or document < match[2])


@given(st.text(), st.sampled_from([0, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, ROWS_AT_ONCE * 40]))
def test_every_document_is_in_one_slice(path: str, rows: int) -> None:
    document = document_id("tenant", "index", path)
    assert sum(_matches(wanted, document) for wanted in slices(rows)) == 1


def test_a_small_collection_is_one_slice() -> None:
    assert list(slices(ROWS_AT_ONCE)) == ['document_id >= ""']
    assert len(list(slices(ROWS_AT_ONCE + 1))) == 32

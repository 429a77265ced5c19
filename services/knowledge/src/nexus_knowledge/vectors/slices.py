"""A whole collection in answers of bounded size.

Milvus refuses an offset beyond 16,384, and what a query with a limit gives is in no order that a
next page could go on from.  So a collection is read by ranges of document ids, which are hashes:
each range holds about as many rows as any other.
"""

from collections.abc import Iterator
from itertools import pairwise, product

_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"  # of document ids, in the order of their bytes
ROWS_AT_ONCE = 4096


def slices(rows: int) -> Iterator[str]:
    """Yield filters that together match every row once, each about ROWS_AT_ONCE of ``rows``."""
    depth = 0
    while rows > ROWS_AT_ONCE * len(_LETTERS) ** depth:
        depth += 1
    bounds = ["".join(letters) for letters in product(_LETTERS, repeat=depth)][1:]
    for low, high in pairwise(["", *bounds, ""]):
        first = f'document_id >= "{low}"'
        yield f'{first} and document_id < "{high}"' if high else first

"""Remove what nobody asks for any more, and find what a crash or a lost disk left behind."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from nexus_knowledge.errors import CollectionNotFound
from nexus_knowledge.ledger import Garbage, Ledger
from nexus_knowledge.vectors import VectorIndex, Version
from nexus_pipelines.arguments import IndexKey

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Differences:
    """What a collection holds against what the ledger says it must hold."""

    orphans: list[Version]  # held, and nobody wants them
    damaged: list[str]  # documents with more or fewer chunks than were counted


def differences(
    expected: Mapping[Version, int | None], found: Mapping[Version, int]
) -> Differences:
    """Compare; a version that is expected with None is being written and may have any number."""
    return Differences(
        orphans=sorted(version for version in found if version not in expected),
        damaged=sorted(
            {
                document
                for (document, generation), count in expected.items()
                if count is not None and found.get((document, generation), 0) != count
            }
        ),
    )


def collect_garbage(key: IndexKey, ledger: Ledger, vectors: VectorIndex) -> int:
    """Delete what the ledger lists as garbage until nothing is left; give how much there was."""
    collected = 0
    while pieces := ledger.garbage(*key, limit=_AT_ONCE):
        for collection, group in groupby(_by_collection(pieces), key=lambda one: one.collection):
            _delete(vectors, collection, list(group))
        ledger.garbage_done(*key, [piece.id for piece in pieces])
        collected += len(pieces)
    return collected


def _by_collection(pieces: Iterable[Garbage]) -> list[Garbage]:
    return sorted(pieces, key=lambda piece: piece.collection)


def _delete(vectors: VectorIndex, collection: str, pieces: Sequence[Garbage]) -> None:
    versions: list[Version] = []
    for piece in pieces:
        if piece.document_id is None or piece.generation is None:
            vectors.drop(collection)
            return
        versions.append((piece.document_id, piece.generation))
    try:
        vectors.delete_versions(collection, versions)
    except CollectionNotFound:
        # It went as a whole: dropped in an earlier try, never made, or lost.
        return


def heal(
    key: IndexKey, collection: str, ledger: Ledger, vectors: VectorIndex, *, thorough: bool
) -> bool:
    """Mend a collection: orphans become garbage, damaged documents are ingested again.

    Cheap while the total agrees, unless `thorough`, which counts version by version: as many
    chunks may be lost as are too many.  False when the whole collection is lost, which the
    ledger then knows: the next sync builds it anew.
    """
    expected = ledger.expected(*key, collection)
    counts = list(expected.values())
    try:
        held = vectors.count(collection)
        if not thorough and None not in counts and held == sum(count or 0 for count in counts):
            return True
        found = differences(expected, vectors.versions(collection))
    except CollectionNotFound:
        return not _lost(key, collection, ledger, expected)
    if found.orphans:
        discarded = ledger.discard(*key, collection, found.orphans)
        sys.stderr.write(f"{discarded} orphaned versions found in {collection}\n")
        collect_garbage(key, ledger, vectors)
    if found.damaged:
        sys.stderr.write(f"{len(found.damaged)} damaged documents will be ingested again\n")
        ledger.reingest(*key, found.damaged)
    return True


def _lost(
    key: IndexKey, collection: str, ledger: Ledger, expected: Mapping[Version, int | None]
) -> bool:
    """Tell whether a collection that is not there should be: one without chunks need not."""
    if not any(expected.values()):
        return False
    sys.stderr.write(f"collection {collection} is lost; the next sync builds it anew\n")
    ledger.collection_lost(*key, collection)
    return True

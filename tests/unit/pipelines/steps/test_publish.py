"""Publish: what is live, what is cleaned away, what is found broken and mended."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import VectorsUnavailable
from nexus_knowledge.ledger import Counts, DocumentState, View
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.errors import StillInUse
from nexus_pipelines.publish.core import Publication, report
from nexus_pipelines.publish.sweeping import differences
from nexus_pipelines.runs import RunPlan, RunStore, clean_up_runs
from nexus_pipelines.teardown.core import tear_down

WORDS = "the pump is new and the valve is not so hot as the oil of the motor"


def never() -> Any:
    raise AssertionError("the vector index was opened for nothing")


def stray(desk: Any, count: int) -> None:
    chunks = [Chunk(f"s{n}", "nobody", "n", 9, n, "stray", 0, 5) for n in range(count)]
    collection = desk.ledger.view(*desk.key).collection
    desk.vectors.upsert(collection, chunks, np.ones((count, 8), np.float32))


def lose(desk: Any, path: str) -> int:
    documents = {d.path: d for d in desk.ledger.documents(*desk.key).documents}
    document = documents[path]
    collection = desk.ledger.view(*desk.key).collection
    desk.vectors.delete_versions(collection, [(document.document_id, document.live_generation)])
    return int(document.chunks)


def test_the_report_is_what_the_status_shows() -> None:
    counts = Counts(total=4, indexed=2, failed=1, pending=1, deleting=3, chunks=9)
    value = json.loads(report(counts, View("c", "f", 3)))
    assert value == {
        "documents": {"total": 4, "indexed": 2, "failed": 1, "pending": 1},
        "chunks": 9,
        "collection": "c",
        "fingerprint": "f",
    }
    assert json.loads(report(counts, None))["collection"] is None


def test_differences_are_orphans_and_damage() -> None:
    expected = {("a", 1): 2, ("b", 1): 3, ("c", 2): None, ("d", 1): 1}
    found = {("a", 1): 2, ("b", 1): 2, ("c", 2): 7, ("c", 1): 1}
    seen = differences(expected, found)
    assert seen.orphans == [("c", 1)]
    assert seen.damaged == ["b", "d"]


def test_a_sync_without_changes_never_opens_the_vector_index(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    assert desk.plan("quiet") == []
    publication = Publication(desk.key, desk.uid, desk.ledger, never, never)

    plan = RunStore(desk.work, desk.key, "quiet").plan()
    assert plan is not None
    changed = publication.publish(plan)
    assert not changed
    publication.clean_up(changed=changed, asked=False, thorough=False)


def test_a_sync_that_was_asked_for_notices_a_lost_collection(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    view = desk.ledger.view(*desk.key)
    desk.vectors.drop(view.collection)
    desk.sync("interval")
    assert desk.ledger.view(*desk.key) is not None
    assert desk.plan("asked") == []
    desk.publish("asked", asked=True)
    assert desk.ledger.counts(*desk.key).pending == 1
    desk.sync("again")
    assert desk.ledger.counts(*desk.key).indexed == 1
    assert desk.vectors.count(desk.ledger.view(*desk.key).collection) > 0


def test_orphans_are_removed_and_losses_ingested_again(desk: Any) -> None:
    for number in range(3):
        desk.put(f"{number}.txt", WORDS)
    desk.sync()
    stray(desk, 5)
    lose(desk, "1.txt")
    desk.put("3.txt", WORDS)
    desk.sync()
    desk.sync()
    desk.consistent()
    assert len(desk.searchable()) == 4


def test_losses_hidden_by_as_many_orphans_are_found_by_the_thorough_count(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    stray(desk, lose(desk, "a.txt"))
    desk.plan("thorough")
    desk.publish("thorough", thorough=True)
    (document,) = desk.ledger.documents(*desk.key).documents
    assert document.state is DocumentState.PENDING
    desk.sync()
    desk.consistent()
    assert desk.searchable() == {"a.txt": WORDS}


def test_a_lost_collection_is_built_anew(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    desk.vectors.drop(desk.ledger.view(*desk.key).collection)
    desk.plan("look")
    desk.publish("look", thorough=True)
    assert desk.ledger.counts(*desk.key).indexed == 0
    desk.sync()
    desk.consistent()
    assert desk.searchable() == {"a.txt": WORDS}


def test_garbage_stays_listed_while_the_vector_index_is_down(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    desk.remove("a.txt")
    desk.plan("second")
    real, desk.vectors = desk.vectors, _Down()
    with pytest.raises(VectorsUnavailable):
        desk.publish("second")
    desk.vectors = real
    assert desk.ledger.garbage(*desk.key)
    desk.publish("second")
    desk.consistent()


class _Down:
    def __getattr__(self, name: str) -> Any:
        raise VectorsUnavailable("down")


def test_run_objects_are_gone_after_a_publish(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync("only")
    assert not [found.key for found in desk.work.list("syncs/")]
    desk.publish("only")


def test_what_a_broken_run_left_goes_with_its_index_alone(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.plan("broken")
    namesake = RunStore(desk.work, IndexKey(desk.key.tenant, f"{desk.key.name}-2"), "broken")
    namesake.put_plan(RunPlan("c", 1))
    clean_up_runs(desk.work, desk.key)
    assert RunStore(desk.work, desk.key, "broken").plan() is None
    assert [found.key for found in desk.work.list("syncs/team/handbook/")] == []
    assert namesake.plan() == RunPlan("c", 1)
    clean_up_runs(desk.work, desk.key)


def test_teardown_removes_rows_and_collections_and_may_be_repeated(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    assert tear_down(desk.key, desk.uid, desk.ledger, lambda: desk.vectors)
    assert desk.vectors.collections() == []
    assert desk.ledger.view(*desk.key) is None
    assert [found.key for found in desk.bucket.list("")] == ["team/handbook/a.txt"]
    assert not tear_down(desk.key, desk.uid, desk.ledger, never)


def test_teardown_of_an_older_resource_leaves_the_newer_alone(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    assert not tear_down(desk.key, "uid-0", desk.ledger, never)
    assert desk.searchable() == {"a.txt": WORDS}


def test_teardown_tries_again_when_something_still_writes(desk: Any) -> None:
    desk.put("a.txt", WORDS)
    desk.sync()
    real = desk.ledger.forget
    desk.ledger.forget = lambda *_: False
    with pytest.raises(StillInUse):
        tear_down(desk.key, desk.uid, desk.ledger, lambda: desk.vectors)
    desk.ledger.forget = real
    assert tear_down(desk.key, desk.uid, desk.ledger, lambda: desk.vectors)

"""Which objects are documents, and how work is shared out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.ledger import WorkItem
from nexus_knowledge.objects import ObjectInfo
from nexus_pipelines.sync_plan.core import (
    LARGE_SHARD,
    MAX_SHARDS,
    SMALL_SHARD,
    documents,
    limits_digest,
    shards,
)


def test_documents_are_named_below_the_prefix() -> None:
    def info(key: str) -> ObjectInfo:
        return ObjectInfo(key, 1, "e", 2.0)

    spec = RagIndexSpec.model_validate({"source": {"exclude": ["*.tmp"]}})
    keys = ["t/i/a.md", "t/i/", "t/i/b/c.tmp", "t/ix", "t/i/../x"]
    listed = list(documents(map(info, keys), "t/i/", spec))
    assert [(one.path, one.key) for one in listed] == [
        ("a.md", "t/i/a.md"),
        ("../x", "t/i/../x"),
    ]


def test_parsing_limits_alone_change_their_digest() -> None:
    plain = RagIndexSpec()
    other = RagIndexSpec.model_validate({"parsing": {"timeout": "5s"}})
    assert limits_digest(plain) != limits_digest(other)
    assert plain.fingerprint() == other.fingerprint()


@settings(deadline=None)
@given(st.lists(st.integers(0, 80 * 1024**2), max_size=400), st.integers(1, 32), st.randoms())
def test_shards_hold_each_item_once_and_share_evenly(
    sizes: list[int], parallelism: int, shuffled: Any
) -> None:
    work = [
        WorkItem(f"id{n}", f"p{n:05}", f"k{n}", "etag", size, 1) for n, size in enumerate(sizes)
    ]
    parts = shards(work, parallelism=parallelism)
    assert sorted(item.document_id for part in parts for item in part) == sorted(
        item.document_id for item in work
    )
    assert all(parts)
    assert len(parts) <= MAX_SHARDS
    again = list(work)
    shuffled.shuffle(again)
    assert shards(again, parallelism=parallelism) == parts
    if parts and len(parts) < MAX_SHARDS:
        loads = [sum(item.size for item in part) for part in parts]
        assert max(loads) <= 2 * LARGE_SHARD + max(sizes)


def test_little_work_is_one_shard_and_more_is_as_many_as_run_at_once(
    items: Callable[..., list[WorkItem]],
) -> None:
    assert len(shards(items(*[1000] * 50), parallelism=8)) == 1
    assert len(shards(items(*[1000] * 400), parallelism=2)) == 2
    assert len(shards(items(*[SMALL_SHARD] * 8), parallelism=4)) == 4
    assert len(shards(items(*[LARGE_SHARD] * 500), parallelism=4)) == MAX_SHARDS

"""Changed files in the bucket's folder ask for a sync, as bucket notices do on a cluster.

A notice is a hint: what the sync does follows from listing the bucket, so one request stands for
any number of changes and a lost one costs time, never data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from watchfiles import Change, awatch

from nexus_api.meta import API_VERSION, SYNC_REQUESTED, Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.source import PrefixOutsideNamespace
from nexus_operator.cluster.errors import ClusterError
from nexus_operator.cluster.protocol import Cluster, Ref

DEBOUNCE_MS = 1000
STEP_MS = 100
log = logging.getLogger(__name__)


def visible(_change: Change, path: str) -> bool:
    """Whether a changed file can be a document: uploads in progress are hidden files."""
    return not Path(path).name.startswith(".")


def prefix_of(index: Manifest) -> str | None:
    """Where an index finds its documents in the platform's bucket; None when it may not look."""
    try:
        return RagIndex.model_validate(index).key_prefix()
    except PrefixOutsideNamespace:
        return None


def touched(indexes: Iterable[Manifest], keys: Iterable[str]) -> Iterator[tuple[Ref, set[str]]]:
    """The indexes below whose prefix some of the keys lie, each with those keys.

    A new folder above or at a prefix counts too: files that were put into it before it was
    watched are never told of themselves.
    """
    names = set(keys)
    for index in indexes:
        prefix, meta = prefix_of(index), index["metadata"]
        if prefix is None:
            continue
        below = {
            key for key in names if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/")
        }
        if below:
            yield Ref(API_VERSION, "RagIndex", meta["namespace"], meta["name"]), below


def covered(requested: str, files: Iterable[Path]) -> bool:
    """Whether a request that stands was made after every one of the files was written.

    The gateway asks for a sync after each upload itself; asking again would only repeat it.  For
    a file that is gone nobody knows when it went, so it is never covered.
    """
    try:
        asked = datetime.fromisoformat(requested).timestamp()
        return all(file.stat().st_mtime <= asked for file in files)
    except (ValueError, OSError):
        return False


async def request_sync(cluster: Cluster, refs: Iterable[Ref], why: str) -> None:
    """Ask each index for a sync; one that is gone meanwhile is no error."""
    request = f"{why}-{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    for ref in refs:
        try:
            await cluster.patch(ref, {"metadata": {"annotations": {SYNC_REQUESTED: request}}})
        except ClusterError as error:
            log.warning("could not ask %s for a sync: %s", ref, error)


async def request_all(cluster: Cluster, why: str) -> None:
    """Ask every index for a sync, as after a start: files may have changed meanwhile."""
    indexes = await cluster.list(API_VERSION, "RagIndex")
    found = (index["metadata"] for index in indexes)
    refs = [Ref(API_VERSION, "RagIndex", meta["namespace"], meta["name"]) for meta in found]
    await request_sync(cluster, refs, why)


async def watch_bucket(cluster: Cluster, bucket: Path, stop: asyncio.Event) -> None:
    """Turn changes below the bucket's folder into requests, until `stop` is set."""
    changes = awatch(
        bucket, watch_filter=visible, debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=stop
    )
    async for batch in changes:
        keys = {Path(path).relative_to(bucket).as_posix() for _, path in batch}
        for ref, below in touched(await cluster.list(API_VERSION, "RagIndex"), keys):
            index = await cluster.get(ref)
            notes = (index or {}).get("metadata", {}).get("annotations") or {}
            if not covered(notes.get(SYNC_REQUESTED, ""), (bucket / key for key in below)):
                await request_sync(cluster, [ref], "bucket")

"""The plan of what all indexes share: the listener on the platform's bucket."""

from collections.abc import Iterable

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.source import PrefixOutsideNamespace
from nexus_operator.build.events import Watched, event_source, sensor
from nexus_operator.plan.listener import plan_listener
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.settings import Settings

MOST_ELSEWHERE = 32
"""Indexes with a prefix of their own that are told of objects."""

MOST_PREFIX_BYTES = 4096
"""All their prefixes together: a Sensor's pod gets its specification as one environment variable,
of which Linux takes 128 KiB, and each prefix stands in it four times, escaped in three ways."""


def plan_platform(indexes: Iterable[RagIndex], settings: Settings, seen: Seen) -> Plan:
    """Decide on EventSource and Sensor.  Pure: same inputs, same plan; there is no status.

    Without an index there is no listener, nor where the platform has left off listening; without
    Argo Events nothing is done, and each index says so in its condition Notified.
    """
    off = settings.events.source == "none"
    told = [] if off else [one for one in indexes if listens(one)]
    wanted: tuple[Manifest, ...] = ()
    if told:
        placed = elsewhere(told)
        wanted = (event_source(settings), sensor(settings, placed, shared(told, placed)))
    return plan_listener(wanted, seen, off=off)


def listens(index: RagIndex) -> bool:
    """Tell whether notices of the platform's bucket are of any use to an index."""
    if index.deleting or index.spec.source.bucket:
        return False
    try:
        index.key_prefix()
    except PrefixOutsideNamespace:
        return False
    return True


def elsewhere(indexes: Iterable[RagIndex]) -> tuple[Watched, ...]:
    """Return the first indexes, by name, that have a prefix of their own and for which is room."""
    placed = sorted(one for index in indexes if (one := own_place(index)) is not None)
    told: list[Watched] = []
    room = MOST_PREFIX_BYTES
    for one in placed:
        size = len(one.prefix.encode())
        if len(told) < MOST_ELSEWHERE and size <= room:
            told.append(one)
            room -= size
    return tuple(told)


def shared(indexes: Iterable[RagIndex], placed: Iterable[Watched]) -> frozenset[str]:
    """Return the prefixes under which an index at its usual place has documents, too."""
    usual = [one.key_prefix() for one in indexes if own_place(one) is None]
    prefixes = {one.prefix for one in placed}
    return frozenset(
        prefix
        for prefix in prefixes
        if any(one.startswith(prefix) or prefix.startswith(one) for one in usual)
    )


def own_place(index: RagIndex) -> Watched | None:
    """Return where the documents of an index lie, None for the usual place."""
    meta = index.metadata
    prefix = index.key_prefix()
    usual = f"{meta.namespace}/{meta.name}/"
    return None if prefix == usual else Watched(meta.namespace, meta.name, prefix)

"""Whether an index is behind its documents, by what its resource tells.  Pure.

The one definition of a stale index: what drift asks for and what an alert asks for both look here.
"""

from datetime import datetime, timedelta

from nexus_api.duration import parse_duration
from nexus_api.ragindex import RagIndex

_MISSED = 3
"""Intervals without a sync after which an index is behind: one may be slow, one may fail."""
_AT_LEAST = timedelta(minutes=15)


def staleness(index: RagIndex, now: datetime) -> str:
    """Say as a clause what makes the index stale; empty when nothing does.

    An index whose source is suspended is as old as its owner wants it.
    """
    if index.spec.source.suspend:
        return ""
    name, status = index.metadata.name, index.status
    if status.last_sync_time is None:
        return f"the index {name} was never synced"
    patience = max(_AT_LEAST, _MISSED * parse_duration(index.spec.sync.interval))
    if now - status.last_sync_time > patience:
        since = status.last_sync_time.strftime("%Y-%m-%d %H:%M")
        return f"the index {name} was synced last on {since} UTC"
    for condition in status.conditions:
        if condition.type == "Synced" and condition.status == "False":
            return f"the index {name} is not synced ({condition.reason})"
    return ""

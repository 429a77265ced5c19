"""How soon to look again, where several plans agree."""

from datetime import timedelta

SHORTEST_WAIT = timedelta(seconds=1)

SETTLED_LOOK = timedelta(minutes=10)
"""For what has come to rest: of each change somebody should have told."""

LOOK_FOR_KINDS = timedelta(minutes=1)
"""Whether what a cluster lacked, Argo's kinds perhaps, was installed meanwhile."""

"""Notices of the platform's bucket: how the Sensor tells the gateway, which asks for a sync."""

from datetime import timedelta

NOTICES_PATH = "/hooks/notices"
"""Where the gateway takes them."""

TOKEN_HEADER = "x-nexus-token"  # noqa: S105 - the name of a header

CLOCK_MARGIN = timedelta(seconds=30)
"""How far the clocks of the bucket's store and of the cluster may be apart."""

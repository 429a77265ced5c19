"""Metrics of the requests to the API server."""

from prometheus_client import Counter

REQUESTS = Counter(
    "nexus_api_requests_total",
    "Requests to the API server by verb, kind and HTTP status (`none`: no answer came).",
    ["verb", "kind", "status"],
)

"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

RATINGS = {1: "up", -1: "down"}
"""Ratings as the ledger has them, and as labels."""


class Metrics:
    """All metrics in one registry of their own.

    Names begin with `nexus_gateway_`, those of the process itself with `process_`.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "nexus_gateway_requests_total",
            "Requests answered.",
            ("route", "tenant", "model", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "nexus_gateway_request_seconds",
            "Time from the request's arrival to the end of its response.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "nexus_gateway_first_token_seconds",
            "Time from the request's arrival to the first token sent to the client.",
            ("tenant", "model"),
            buckets=SECONDS,
            registry=registry,
        )
        self.tokens = Counter(
            "nexus_gateway_tokens_total",
            "Tokens of prompts and completions, as the runtime counts them.",
            ("tenant", "model", "kind"),
            registry=registry,
        )
        self.retrieval_seconds = Histogram(
            "nexus_gateway_retrieval_seconds",
            "Time to find passages, the embedding of the question included.",
            ("tenant", "index"),
            buckets=SECONDS,
            registry=registry,
        )
        self.nothing_relevant = Counter(
            "nexus_gateway_nothing_relevant_total",
            "Questions for which no passage was relevant.",
            ("tenant", "index"),
            registry=registry,
        )
        self.upload_bytes = Counter(
            "nexus_gateway_upload_bytes_total",
            "Bytes of documents stored.",
            ("tenant", "index"),
            registry=registry,
        )
        self.feedback = Counter(
            "nexus_gateway_feedback_total",
            "Logged answers by their first rating, up or down.",
            ("tenant", "model", "rating"),
            registry=registry,
        )
        self.in_flight = Gauge(
            "nexus_gateway_requests_in_flight",
            "Requests in work by model.",
            ("tenant", "model"),
            registry=registry,
        )
        self.log_dropped = Counter(
            "nexus_gateway_response_log_dropped_total",
            "Answers that were not logged because the ledger was too slow or away.",
            registry=registry,
        )
        self.control_connected = Gauge(
            "nexus_gateway_control_connected",
            "Whether the routes follow the control API now.",
            registry=registry,
        )

    def expect_ratings(self, tenant: str, model: str) -> None:
        """Have a model's ratings begin at 0: a counter that begins above it seems never to rise."""
        for rating in RATINGS.values():
            self.feedback.labels(tenant, model, rating)

    def render(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self.registry)

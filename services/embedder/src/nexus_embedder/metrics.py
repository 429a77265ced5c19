"""What the embedding server tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The server's metrics and those of its process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "nexus_embedder_requests_total", "Requests by HTTP status.", ["code"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "nexus_embedder_request_seconds", "From a request read to its vectors.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter(
            "nexus_embedder_tokens_total", "Tokens embedded, padding left out.",
            registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "nexus_embedder_batch_sequences", "Sequences computed together.",
            buckets=_SIZES, registry=self.registry,
        )  # fmt: skip
        self.busy = Counter(
            "nexus_embedder_busy_seconds_total", "Time spent in the model.",
            registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "nexus_embedder_waiting_tokens", "Tokens that no batch has taken yet.",
            registry=self.registry,
        )  # fmt: skip

    def batch(self, sequences: int, tokens: int, seconds: float) -> None:
        """Count one batch."""
        self.batches.observe(sequences)
        self.tokens.inc(tokens)
        self.busy.inc(seconds)

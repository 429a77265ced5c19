"""What a look found, for Prometheus.

Names begin with `nexus_monitor_`, those of the process itself with `process_`.
"""

from collections.abc import Mapping
from dataclasses import astuple

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from nexus_monitor.assessment import Assessment
from nexus_monitor.supported import Supported, Version

_UNKNOWN = -1


class Metrics:
    """All metrics in one registry of their own."""

    def __init__(self) -> None:
        """Make them."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.looks = Counter(
            "nexus_monitor_looks_total",
            "Looks at all models, by how they ended: done or failed.",
            ("result",),
            registry=registry,
        )
        self.last_look = Gauge(
            "nexus_monitor_last_look_timestamp_seconds",
            "When the last look ended that looked at every model.",
            registry=registry,
        )
        self.asked = Counter(
            "nexus_monitor_annotations_total",
            "Annotations set or taken away.",
            ("tenant", "annotation"),
            registry=registry,
        )
        self._band = Gauge(
            "nexus_monitor_drift_band",
            "Band of drift: 0 quiet, 1 warn, 2 retrain, 3 stop, -1 for too few answers.",
            ("tenant", "model"),
            registry=registry,
        )
        self._answers = Gauge(
            "nexus_monitor_answers",
            "Answers that were compared.",
            ("tenant", "model", "sample"),
            registry=registry,
        )
        self._lower = Gauge(
            "nexus_monitor_drift_lower_bound_ratio",
            "Lower confidence bound of the drift (total variation).",
            ("tenant", "model", "feature"),
            registry=registry,
        )
        self._distance = Gauge(
            "nexus_monitor_drift_ratio",
            "Drift of the samples (total variation); above 0 without any drift.",
            ("tenant", "model", "feature"),
            registry=registry,
        )
        of_version = ("tenant", "model", "index", "revision", "version")
        self._scored = Gauge(
            "nexus_monitor_answers_scored",
            "Answers of a day whose support by their passages is known, of the newest version.",
            of_version,
            registry=registry,
        )
        self._supported = Gauge(
            "nexus_monitor_answers_supported_ratio",
            "Share of them that their passages support.",
            of_version,
            registry=registry,
        )
        self._supported_lower = Gauge(
            "nexus_monitor_answers_supported_lower_bound_ratio",
            "Smallest share of all answers that they allow for (one side, 95 %).",
            of_version,
            registry=registry,
        )
        self._supported_upper = Gauge(
            "nexus_monitor_answers_supported_upper_bound_ratio",
            "Largest share of all answers that they allow for (one side, 95 %).",
            of_version,
            registry=registry,
        )
        self._supported_least = Gauge(
            "nexus_monitor_answers_supported_least_ratio",
            "Share of supported answers that is asked for.",
            of_version,
            registry=registry,
        )

    def show_support(
        self, looked: Mapping[tuple[str, Version], Supported], *, least: float
    ) -> None:
        """Show how many answers are supported, in place of what the last look showed.

        Shares and bounds from the count of answers on from which they say something; ``least``:
        the share that is asked for.
        """
        shares = (self._supported, self._supported_lower, self._supported_upper)
        for gauge in (self._scored, self._supported_least, *shares):
            gauge.clear()
        for (tenant, version), found in looked.items():
            labels = (tenant, *astuple(version))
            self._scored.labels(*labels).set(found.scored)
            self._supported_least.labels(*labels).set(least)
            if found.enough:
                for gauge, value in zip(
                    shares, (found.share, found.lower, found.upper), strict=True
                ):
                    gauge.labels(*labels).set(value)

    def show(self, looked: Mapping[tuple[str, str], Assessment]) -> None:
        """Show what a look found, by namespace and model, in place of what the last one did."""
        for gauge in (self._band, self._answers, self._lower, self._distance):
            gauge.clear()
        for (tenant, model), found in looked.items():
            self._show(tenant, model, found)

    def _show(self, tenant: str, model: str, found: Assessment) -> None:
        band = found.decision.band
        self._band.labels(tenant, model).set(_UNKNOWN if band is None else band)
        self._answers.labels(tenant, model, "reference").set(found.reference)
        self._answers.labels(tenant, model, "current").set(found.current)
        for drift in found.drifts:
            self._lower.labels(tenant, model, drift.feature).set(drift.lower)
            self._distance.labels(tenant, model, drift.feature).set(drift.distance)

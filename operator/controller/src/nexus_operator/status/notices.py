"""Whether an index is told of objects that are put into its bucket, or has to look by itself."""

from collections.abc import Set as AbstractSet

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.settings import Events
from nexus_operator.status.conditions import Finding

LISTENER_STARTING = "Starting"
"""Reason of the condition Notified while the listener is on its way."""

ARGO_EVENTS_MISSING = "ArgoEventsMissing"
"""Reason of the same where nothing runs a listener."""


def notified_finding(
    index: RagIndex, events: Events, sensor: Manifest | None, missing: AbstractSet[str]
) -> Finding:
    """Return the condition Notified; without notices the index is synced by its interval."""
    instead = f"the index looks every {index.spec.sync.interval} instead"
    if index.spec.source.bucket:
        message = f"The platform listens to its own bucket only: {instead}."
        return Finding("Notified", False, "OwnBucket", message)
    if events.source == "none":
        message = f"The platform does not listen to its bucket (events.source none): {instead}."
        return Finding("Notified", False, "NoticesOff", message)
    if missing & {"EventSource", "Sensor"}:
        message = f"Argo Events is not installed in the cluster: {instead}."
        return Finding("Notified", False, ARGO_EVENTS_MISSING, message)
    why = not_started(sensor)
    if sensor is None or why:
        return Finding("Notified", False, LISTENER_STARTING, f"{why}: {instead}.")
    prefix = index.spec.source.prefix
    usual = f"{index.metadata.namespace}/{index.metadata.name}/"
    if prefix not in {"", usual} and not _mentions(sensor, index):
        message = f"More indexes have a prefix of their own than the listener can hold: {instead}."
        return Finding("Notified", False, "TooManyPrefixes", message)
    return Finding("Notified", True, "Listening", "An object put into the bucket starts a sync.")


def not_started(sensor: Manifest | None) -> str:
    """Return why nobody listens yet; "" when a Sensor is there and says nothing against it.

    Argo Events marks one that it cannot start, as without an EventBus: see SensorConditionDeployed,
    https://github.com/argoproj/argo-events/blob/v1.9.7/pkg/apis/events/v1alpha1/sensor_types.go
    """
    if sensor is None:
        return "The listener is not there yet"
    for one in (sensor.get("status") or {}).get("conditions") or []:
        if (one.get("type"), one.get("status")) == ("Deployed", "False"):
            said = str(one.get("message") or one.get("reason") or "it does not say why")
            return f"Argo Events has not started the listener ({said.rstrip('.')})"
    return ""


def _mentions(sensor: Manifest, index: RagIndex) -> bool:
    wanted = (index.metadata.namespace, index.metadata.name)
    for trigger in (sensor.get("spec") or {}).get("triggers") or []:
        payload = (trigger["template"].get("http") or {}).get("payload") or []
        told = {one["dest"]: one["src"].get("value") for one in payload}
        if (told.get("namespace"), told.get("index")) == wanted:
            return True
    return False

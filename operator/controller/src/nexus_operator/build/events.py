"""The shared listener on the bucket: one EventSource and one Sensor for all indexes.

The Sensor tells the gateway of each notice, which asks for one sync for many: a Sensor may send
the API server five requests a second, and a patch takes two.

A Sensor's pod gets its whole specification in one environment variable, and restarts when that
changes.  So indexes at their usual place, `<namespace>/<index>/`, share one trigger, which reads
from the object's key whom to tell; an index with a prefix of its own has a trigger of its own.
"""

import re
from collections.abc import Container, Iterable
from typing import NamedTuple
from urllib.parse import quote_plus

from nexus_api.meta import GROUP, MANAGED_BY, PART_OF, Manifest
from nexus_api.notices import NOTICES_PATH, TOKEN_HEADER
from nexus_operator.build.container import restricted
from nexus_operator.naming import short_hash
from nexus_operator.settings import Settings

NAME = "nexus-bucket"
EVENT_SOURCE = ("argoproj.io/v1alpha1", "EventSource")
SENSOR = ("argoproj.io/v1alpha1", "Sensor")

WEBHOOK_PORT = 12000
WEBHOOK_PATH = "/bucket"
"""The store posts to `http://nexus-bucket-eventsource-svc.<namespace>.svc:12000/bucket`."""

GATEWAY = f"http://nexus-gateway.{{namespace}}.svc{NOTICES_PATH}"
TAKEN = (202, 400, 404)
"""Answers after which a notice is done with: it was noted, or nobody can make anything of it."""

_EVENT = "bucket"
_USER = 65532
_SEGMENT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"


class Watched(NamedTuple):
    """An index that has documents at a place of its own."""

    namespace: str
    name: str
    prefix: str


class _Notice(NamedTuple):
    """Where a notice of the store keeps what is asked of it."""

    happened: str
    record: str
    record_template: str


_NOTICES = {
    "webhook": _Notice("body.EventName", "body.Records.0", "(index .Input.body.Records 0)"),
    "minio": _Notice("notification.0.eventName", "notification.0", "(index .Input.notification 0)"),
}


def event_source(settings: Settings) -> Manifest:
    """Build the EventSource that hears of objects; `events.source` must not be `none`."""
    events = settings.events
    spec: Manifest = {"eventBusName": events.event_bus, "template": pod_template(settings, NAME)}
    if events.source == "webhook":
        spec |= webhook(_EVENT, WEBHOOK_PORT, WEBHOOK_PATH, secret=events.auth_secret)
    else:
        secret = events.credentials_secret
        spec["minio"] = {
            _EVENT: {
                "endpoint": events.endpoint,
                "insecure": events.insecure,
                "bucket": {"name": events.bucket},
                "events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                "accessKey": {"name": secret, "key": "NEXUS_S3_ACCESS_KEY"},
                "secretKey": {"name": secret, "key": "NEXUS_S3_SECRET_KEY"},
            }
        }
    return listener(settings, NAME, EVENT_SOURCE, spec)


def sensor(
    settings: Settings, elsewhere: Iterable[Watched], shared: Container[str] = ()
) -> Manifest:
    """Build the Sensor that tells indexes of objects.

    `elsewhere` are the indexes with a prefix of their own.  What lies under such a prefix is not
    told to the index that the key would name, which would have to be looked for each time; but for
    the prefixes that are `shared` with an index at its usual place.
    """
    notice = _NOTICES[settings.events.source]
    placed = sorted(elsewhere)
    key = f"{notice.record}.s3.object.key"
    usual = [
        _matches(key, f"^{_SEGMENT}(/|%2F){_SEGMENT}(/|%2F)."),
        *(
            {**_matches(key, _begins(one.prefix)), "comparator": "!="}
            for one in placed
            if one.prefix not in shared
        ),
    ]
    dependencies = [_dependency("usual", settings, notice, usual)]
    triggers = [_trigger("usual", settings, notice, *_named_by_key(notice))]
    for one in placed:
        name = f"own-{short_hash(*one)}"
        filters = [_matches(key, _begins(one.prefix))]
        dependencies.append(_dependency(name, settings, notice, filters))
        named = {"value": one.namespace}, {"value": one.name}
        triggers.append(_trigger(name, settings, notice, *named))
    account = {"serviceAccountName": settings.events.service_account}
    spec = {
        "eventBusName": settings.events.event_bus,
        "template": {**pod_template(settings, NAME), **account},
        "dependencies": dependencies,
        "triggers": triggers,
    }
    return listener(settings, NAME, SENSOR, spec)


def _dependency(
    name: str, settings: Settings, notice: _Notice, filters: list[Manifest]
) -> Manifest:
    """Build what one trigger waits for: an object of our bucket, put or removed, by its key."""
    bucket = f"^{re.escape(settings.events.bucket)}$"
    data = [
        _matches(notice.happened, "^s3:Object(Created|Removed):"),
        _matches(f"{notice.record}.s3.bucket.name", bucket),
        *filters,
    ]
    return {
        "name": name,
        "eventSourceName": NAME,
        "eventName": _EVENT,
        "filters": {"data": data},
    }


def _trigger(
    name: str, settings: Settings, notice: _Notice, namespace: Manifest, index: Manifest
) -> Manifest:
    """Build the request that tells the gateway when an object of an index changed.

    namespace, index: where their values come from.
    """
    # What is not in a notice is told as nothing, which the gateway refuses, once.
    when = {"dataKey": f"{notice.record}.eventTime", "value": ""}
    told = {"namespace": namespace, "index": index, "eventTime": when}
    token = {"name": settings.events.notices_secret, "key": "token"}
    return {
        "atLeastOnce": True,
        # For five minutes: without the gateway no notice gets on, and the bus keeps the others.
        "retryStrategy": {"steps": 150, "duration": "2s", "factor": 1, "jitter": 0.2},
        "policy": {"status": {"allow": list(TAKEN)}},
        "template": {
            "name": name,
            "conditions": name,
            "http": {
                "url": GATEWAY.format(namespace=settings.platform_namespace),
                "method": "POST",
                "timeout": 10,
                "headers": {"Content-Type": "application/json"},
                "secureHeaders": [{"name": TOKEN_HEADER, "valueFrom": {"secretKeyRef": token}}],
                "payload": [
                    {"src": {"dependencyName": name, **source}, "dest": dest}
                    for dest, source in told.items()
                ],
            },
        },
    }


def _named_by_key(notice: _Notice) -> list[Manifest]:
    """Return where namespace and name come from: the first two parts of the key."""
    key = f'{notice.record_template}.s3.object.key | replace "%2F" "/"'
    return [
        {"dataTemplate": f'{{{{ index (splitList "/" ({key})) {at} }}}}', "value": ""}
        for at in (0, 1)
    ]


def _begins(prefix: str) -> str:
    """Return the expression for keys below a prefix, as they are or as stores escape them."""
    return f"^({re.escape(prefix)}|{re.escape(quote_plus(prefix))})"


def _matches(path: str, expression: str) -> Manifest:
    return {"path": path, "type": "string", "value": [expression]}


def webhook(event: str, port: int, path: str, *, secret: str) -> Manifest:
    """Return what an EventSource that is posted to has; `secret`: of the token, empty for none."""
    hook: Manifest = {"port": str(port), "endpoint": path, "method": "POST"}
    if secret:
        hook["authSecret"] = {"name": secret, "key": "token"}
    return {
        "service": {"ports": [{"port": port, "targetPort": port}]},
        "webhook": {event: hook},
    }


def pod_template(settings: Settings, name: str) -> Manifest:
    """Return the pod template of one half of a listener, as Argo Events has it."""
    template: Manifest = {
        "metadata": {"labels": _labels(name)},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "container": {
            "securityContext": restricted(),
            "resources": {
                "requests": {"cpu": "20m", "memory": "96Mi"},
                "limits": {"memory": "256Mi"},
            },
        },
    }
    if settings.image_pull_secrets:
        template["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return template


def _labels(name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "events",
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        f"{GROUP}/platform": "events",
    }


def listener(settings: Settings, name: str, kind: tuple[str, str], spec: Manifest) -> Manifest:
    """Return one half of a listener, which goes with the operator's own Deployment."""
    metadata: Manifest = {
        "name": name,
        "namespace": settings.platform_namespace,
        "labels": _labels(name),
    }
    if settings.owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": settings.owner.name,
                "uid": settings.owner.uid,
            }
        ]
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec}

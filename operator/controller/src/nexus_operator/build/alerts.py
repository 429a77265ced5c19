"""The listener on alerts: one EventSource that Alertmanager posts to, one Sensor for all jobs.

A Sensor gets the whole group that Alertmanager posts, so a template picks the alerts that fire and
have the labels that a job asks for, and writes one record for each (`nexus_api.alerts`).  Whether
an alert was told before is the plan's to know: a record that a job has answered asks for nothing.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nexus_api.meta import ALERT_REQUESTED, API_VERSION, Manifest
from nexus_operator.build.events import (
    EVENT_SOURCE,
    SENSOR,
    listener,
    pod_template,
    webhook,
)
from nexus_operator.naming import short_hash
from nexus_operator.settings import Settings

NAME = "nexus-alerts"
PORT = 12001
PATH = "/alerts"
"""Alertmanager posts to `http://nexus-alerts-eventsource-svc.<namespace>.svc:12001/alerts`."""

_EVENT = "alerts"
_ALERTS = "$alerts"


class Alerted(NamedTuple):
    """A job that alerts may start; one of `matchers`, label names and values, has to be met."""

    namespace: str
    name: str
    matchers: tuple[tuple[tuple[str, str], ...], ...]


def alert_source(settings: Settings) -> Manifest:
    """Build the EventSource that Alertmanager's webhook reaches."""
    spec = {
        "eventBusName": settings.events.event_bus,
        "template": pod_template(settings, NAME),
        **webhook(_EVENT, PORT, PATH, secret=settings.events.alerts_secret),
    }
    return listener(settings, NAME, EVENT_SOURCE, spec)


def alert_sensor(settings: Settings, jobs: Iterable[Alerted]) -> Manifest:
    """Build the Sensor that asks jobs for runs; it has one trigger for each job."""
    told = sorted(jobs)
    template = pod_template(settings, NAME)
    spec = {
        "eventBusName": settings.events.event_bus,
        "template": {**template, "serviceAccountName": settings.events.service_account},
        "dependencies": [_dependency(job) for job in told],
        "triggers": [_trigger(job) for job in told],
    }
    return listener(settings, NAME, SENSOR, spec)


def picking(job: Alerted, alerts: str) -> str:
    """Return the Go template (with sprig) that writes the records of a job's alerts, or `none`.

    alerts: the expression that gives the list of alerts.
    """
    met = " ".join(f"(and {_meets(one)})" for one in job.matchers)
    return (
        f"{{{{- {_ALERTS} := {alerts} }}}}{{{{- $records := list }}}}"
        f"{{{{- range $alert := {_ALERTS} }}}}"
        f'{{{{- if and (eq (get $alert "status") "firing") (or {met}) }}}}'
        '{{- $records = append $records (printf "alert:%s:%s" '
        '(get $alert "fingerprint") (get $alert "startsAt")) }}'
        '{{- end }}{{- end }}{{- if $records }}{{ join "," $records }}{{ else }}none{{ end }}'
    )


def _meets(matchers: Sequence[tuple[str, str]]) -> str:
    return " ".join(
        f'(eq (get (get $alert "labels") {_quoted(name)}) {_quoted(value)})'
        for name, value in matchers
    )


def _quoted(text: str) -> str:
    """Return a user's text as a Go string that holds nothing but ASCII letters and digits bare."""
    return '"' + "".join(_escaped(one) for one in text) + '"'


def _escaped(letter: str) -> str:
    if letter.isascii() and letter.isalnum():
        return letter
    return f"\\U{ord(letter):08x}"


def _dependency(job: Alerted) -> Manifest:
    """Build what a trigger waits for: a group in which an alert concerns the job."""
    concerns = {
        "path": "body.alerts",
        "type": "string",
        "template": picking(job, "fromJson .Input"),
        "value": ["^alert:"],
    }
    return {
        "name": _trigger_name(job),
        "eventSourceName": NAME,
        "eventName": _EVENT,
        "filters": {"data": [concerns]},
    }


def _trigger(job: Alerted) -> Manifest:
    """Build the patch that asks a job for a run: the records go into its annotation."""
    name = _trigger_name(job)
    asked = ALERT_REQUESTED.replace(".", "\\.")
    metadata = {"namespace": job.namespace, "name": job.name, "annotations": {}}
    return {
        # Short, since other alerts wait meanwhile; what is lost Alertmanager tells again.
        "atLeastOnce": True,
        "retryStrategy": {"steps": 4, "duration": "1s", "factor": 2, "jitter": 0.2},
        "template": {
            "name": name,
            "conditions": name,
            "k8s": {
                "operation": "patch",
                "patchStrategy": "application/merge-patch+json",
                "source": {
                    "resource": {
                        "apiVersion": API_VERSION,
                        "kind": "FineTuneJob",
                        "metadata": metadata,
                    }
                },
                "parameters": [
                    {
                        "src": {
                            "dependencyName": name,
                            "dataTemplate": picking(job, ".Input.body.alerts"),
                        },
                        "dest": f"metadata.annotations.{asked}",
                    },
                ],
            },
        },
    }


def _trigger_name(job: Alerted) -> str:
    return f"job-{short_hash(job.namespace, job.name)}"

"""Alerts that ask for a run: from Alertmanager's payload to what an annotation says, and back.

The value of `llmops.nexus/alert-requested-at` is one record for each alert that fires, apart by
commas: `alert:FINGERPRINT:STARTS_AT`.  An alert that fires on has the same record each time it is
told, so it asks once; one that fires anew has another start.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

PREFIX = "alert:"
MOST_ALERTS = 32
"""Alerts of one group that are told; Alertmanager tells the others when it repeats itself."""

_FINGERPRINT = re.compile(r"[0-9a-zA-Z]{1,64}", re.ASCII)
_RECORD = re.compile(r"alert:[0-9a-zA-Z]{1,64}:[-+.:0-9TZ]{10,40}", re.ASCII)


class BadAlerts(ValueError):
    """A payload is not what Alertmanager posts; the message says where."""


def firing(payload: object, matchers: Sequence[Mapping[str, str]]) -> str:
    """Return the records of the alerts that fire and meet one of the matchers, empty for none.

    payload: the JSON that Alertmanager posts to a webhook (version 4).  matchers: label names and
    values that must all be equal.  Raises BadAlerts.
    """
    records = sorted(
        (one for one in _firing(payload) if any(_meets(one[2], wanted) for wanted in matchers)),
        key=lambda one: one[0],
    )
    return ",".join(
        f"{PREFIX}{fingerprint}:{_text(began)}" for began, fingerprint, _ in records[:MOST_ALERTS]
    )


def records(value: str) -> tuple[str, ...]:
    """Return the records of an annotation, none when it was not made by alerts.

    The cluster's listener hands a start on as it was posted: a record whose start is no time is
    left out, or it would pass for a person's request, which no cooldown holds back.
    """
    parts = value.split(",")
    if not value.startswith(PREFIX) or not all(_RECORD.fullmatch(part) for part in parts):
        return ()
    return tuple(dict.fromkeys(part for part in parts[:MOST_ALERTS] if began(part) is not None))


def began(record: str) -> datetime | None:
    """Return when the alert of a record began, None for what is no record of an alert."""
    if not _RECORD.fullmatch(record):
        return None
    try:
        moment = datetime.fromisoformat(record.split(":", 2)[2])
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _firing(payload: object) -> Iterator[tuple[datetime, str, Mapping[str, Any]]]:
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(alerts, list):
        raise BadAlerts("alerts: must be a list, as Alertmanager's webhook has it")
    for number, alert in enumerate(alerts):
        where = f"alerts[{number}]"
        if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
            raise BadAlerts(f"{where}.labels: must be a map")
        if alert.get("status") != "firing":
            continue
        fingerprint = alert.get("fingerprint")
        if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
            raise BadAlerts(f"{where}.fingerprint: must be letters and digits")
        yield _moment(alert.get("startsAt"), f"{where}.startsAt"), fingerprint, alert["labels"]


def _moment(text: object, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no time, or one before the year 1 in UTC
    raise BadAlerts(f"{where}: must be a time with its zone, not {str(text)[:64]!r}")


def _text(moment: datetime) -> str:
    """Write a time in UTC; `strftime` would leave out the zeros of a year before 1000."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _meets(labels: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())

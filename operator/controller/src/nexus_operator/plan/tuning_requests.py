"""What annotations of a FineTuneJob ask for, and which of it needs no answer any more."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from nexus_api import alerts
from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import (
    ALERT_REQUESTED,
    CANCEL_REQUESTED,
    PROMOTE_REQUESTED,
    PROMOTION_BLOCKED,
    ROLLBACK_REQUESTED,
    RUN_REQUESTED,
)
from nexus_operator.naming import digest

MOST_ANSWERED = 64
"""Answered requests that the status keeps; alerts that take turns must all be among them."""

_MOST_RUNS = MOST_ANSWERED - 8
"""Of them those for a run: what else annotations ask for must all be among the answered, too."""

What = Literal["run", "cancel", "promote", "rollback"]
_ANNOTATIONS: dict[What, str] = {
    "run": RUN_REQUESTED,
    "cancel": CANCEL_REQUESTED,
    "promote": PROMOTE_REQUESTED,
    "rollback": ROLLBACK_REQUESTED,
}
_LONGEST_REASON = 1024  # characters of what stops promotions
_PLAIN_ID = re.compile(r"[-A-Za-z0-9._:+/]{1,200}", re.ASCII)
# As long as the registry takes a name; `gate` is who promotes by a verdict, and no person.
_PERSON = r"(?P<person>(?!gate\Z)\S.{0,127})"
_PROMOTE = re.compile(rf"(?P<version>[1-9][0-9]{{0,8}}) by {_PERSON}")
_ROLLBACK = re.compile(f"by {_PERSON}")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A move of the champion that is asked for; `version` is empty unless one is named."""

    action: Literal["release", "rollback", "recover"]
    request: str
    by: str
    version: str = ""


def request_id(job: FineTuneJob, what: What) -> str:
    """Return the id of what an annotation asks for, `<what>:<value>`, empty for nothing.

    Somebody may write anything into an annotation: what is no plain id stands as its hash.
    """
    asked = job.metadata.annotations.get(_ANNOTATIONS[what], "")
    if not asked:
        return ""
    return f"{what}:{asked if _PLAIN_ID.fullmatch(asked) else f'sha256:{digest([asked])[:32]}'}"


def open_request(job: FineTuneJob, what: What) -> str:
    """Return the id of a request that nothing has answered, else an empty text."""
    asked = request_id(job, what)
    return "" if asked in job.status.answered else asked


def open_runs(job: FineTuneJob) -> list[str]:
    """Return the ids of all requests for a run that nothing has answered.

    A person asks for one, alerts come in groups.  An older release had alerts write where people
    do, and what it left there counts.
    """
    return [one for one in _runs(job) if one and one not in job.status.answered]


def asked(job: FineTuneJob) -> list[str]:
    """Return the ids of all that the annotations ask for and nothing has answered."""
    return [*open_runs(job), *(open_request(job, what) for what in _ANNOTATIONS)]


def answered(job: FineTuneJob, more: Iterable[str]) -> list[str]:
    """Return the answered requests, the oldest beyond those kept left out.

    `more`: those that were found answered now, oldest first.  What an annotation still says is kept
    before all others: forgotten, it would be asked for anew.  What is found each time goes last of
    the rest and by its own order: in turns, it would change the status at each look.
    """
    found = dict.fromkeys(one for one in more if one)
    known = dict.fromkeys([*job.status.answered, *found])
    said = {*_runs(job), *(request_id(job, what) for what in _ANNOTATIONS)}
    former = (one for one in job.status.answered if one not in found)
    spare = [one for one in (*former, *found) if one not in said]
    forgotten = set(spare[: max(len(known) - MOST_ANSWERED, 0)])
    return [one for one in known if one not in forgotten][-MOST_ANSWERED:]


def _runs(job: FineTuneJob) -> list[str]:
    """Return the ids of all requests for a run that annotations hold, an empty one for none."""
    notes = job.metadata.annotations
    former = alerts.records(notes.get(RUN_REQUESTED, ""))
    told = dict.fromkeys((*former, *alerts.records(notes.get(ALERT_REQUESTED, ""))))
    asked = [] if former else [request_id(job, "run")]
    return [*asked, *(f"run:{one}" for one in list(told)[-_MOST_RUNS:])]


def alert_began(request: str) -> datetime | None:
    """Return when the alert began that made a request for a run; None for a person's."""
    return alerts.began(request.removeprefix("run:"))


def wished_move(job: FineTuneJob) -> Wish | None:
    """Return the move that the pin, or else an annotation that nothing answered, asks for."""
    pinned = job.spec.promotion.pinned_version
    if pinned is not None:
        return _pinned(job, pinned)
    notes = job.metadata.annotations
    request = open_request(job, "promote")
    match = _PROMOTE.fullmatch(notes[PROMOTE_REQUESTED]) if request else None
    if match is not None:
        by = _plain(match["person"])
        return Wish(action="release", request=request, by=by, version=match["version"])
    request = open_request(job, "rollback")
    match = _ROLLBACK.fullmatch(notes[ROLLBACK_REQUESTED]) if request else None
    if match is not None:
        return Wish(action="rollback", request=request, by=_plain(match["person"]))
    return None


def blocked(job: FineTuneJob) -> str:
    """Return why a person is to be asked before a promotion, empty when nobody said so."""
    return _plain(job.metadata.annotations.get(PROMOTION_BLOCKED, "").strip()[:_LONGEST_REASON])


def unreadable(job: FineTuneJob) -> str:
    """Return a sentence on an annotation that asks for a move in words that mean nothing."""
    for name, form, said in (
        (PROMOTE_REQUESTED, _PROMOTE, "VERSION by PERSON"),
        (ROLLBACK_REQUESTED, _ROLLBACK, "by PERSON"),
    ):
        asked = job.metadata.annotations.get(name, "")
        if asked and form.fullmatch(asked) is None:
            return f"The annotation {name} must read `{said}`."
    return ""


def _pinned(job: FineTuneJob, version: str) -> Wish | None:
    champion = job.status.champion
    request = f"pin:{version}:{job.metadata.generation}"
    if (champion is not None and champion.version == version) or request in job.status.answered:
        return None
    by = "spec.promotion.pinnedVersion"
    return Wish(action="release", request=request, by=by, version=version)


def _plain(person: str) -> str:
    """Return a person's words without what a Workflow would take for a tag."""
    return "".join(one if one.isprintable() else " " for one in person).translate(_NO_TAGS)


_NO_TAGS = str.maketrans("{}", "()")

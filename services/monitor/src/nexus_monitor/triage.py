"""What drift asks for, and of whom: the documents first, the model last.  Pure.

Fine-tuning teaches a form of answering, not what the documents say.  So where answers are broken,
the index is behind its documents, or the passages found got worse, no run is asked for whatever the
distance is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nexus_monitor.bands import Band, Bands
from nexus_monitor.drift import Drift
from nexus_monitor.features import FORM


class Action(StrEnum):
    """What is done about it."""

    NOTHING = "Nothing"
    WARN = "Warn"
    SERVING = "Serving"  # a person: the server, its settings, the model's chat template
    RESYNC = "Resync"  # of the index: its annotation
    RETRIEVAL = "Retrieval"  # a person: embedding, chunking, or documents that are not there
    RETRAIN = "Retrain"  # of the jobs that wait for this alert
    ASK_PERSON = "AskPerson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is asked for, why, and whether a gate that passes has to ask a person."""

    action: Action
    reason: str
    """One CamelCase word."""
    message: str
    """The same for a person."""
    band: Band | None = None
    """None where there is too little to tell."""
    blocked: bool = False


_BY_BAND: Final = {
    Band.QUIET: (Action.NOTHING, "NoDrift", "nothing to do"),
    Band.WARN: (Action.WARN, "Drift", "worth an eye"),
    Band.RETRAIN: (Action.RETRAIN, "Drift", "a run is asked for"),
    Band.STOP: (
        Action.ASK_PERSON,
        "DriftTooLarge",
        "no version is promoted without a person's word",
    ),
}
"""What follows where a run may mend it."""


def too_few(reference: int, current: int, least: int) -> Decision:
    """Say that nothing can be told yet."""
    message = (
        f"{reference} answers in the reference and {current} of late: drift is looked at from "
        f"{least} of each"
    )
    return Decision(action=Action.NOTHING, reason="TooFewAnswers", message=message)


def decide(drifts: Sequence[Drift], bands: Bands, *, stale: str = "") -> Decision:
    """Decide by the feature that drifted most for sure.

    ``stale``: what the index lacks, as a clause; empty when it is up to date, or there is none.

    Raises:
        ValueError: there is no feature.
    """
    worst = max(drifts, key=lambda one: (one.lower, one.distance))
    band = bands.of(worst.lower)
    found = None if band is Band.QUIET else _no_run_mends(drifts, bands, stale)
    action, reason, then = found or _BY_BAND[band]
    message = f"{_seen(worst)}: {then}"
    return Decision(
        action=action, reason=reason, message=message, band=band, blocked=band is Band.STOP
    )


def _no_run_mends(
    drifts: Sequence[Drift], bands: Bands, stale: str
) -> tuple[Action, str, str] | None:
    """Name what is to be mended before anything is trained: server, documents, search."""
    fallen = {one.feature: one for one in drifts if bands.of(one.fallen) is not Band.QUIET}
    if broken := fallen.pop(FORM, None):
        then = (
            "more answers are empty or hold markers of a chat template (by at least "
            f"{broken.fallen:.1%}), which neither a sync nor a run mends: look at the server, its "
            "settings and the model's chat template"
        )
        return Action.SERVING, "BrokenAnswers", then
    if stale:
        return Action.RESYNC, "StaleIndex", f"{stale}, so a sync is asked for, no run"
    if poor := max(fallen.values(), key=lambda one: one.fallen, default=None):
        then = (
            f"the passages found got worse ({poor.feature}, by at least {poor.fallen:.1%}), which "
            "no fine-tuning mends: look at what is asked, and at documents, chunking and embedding"
        )
        return Action.RETRIEVAL, "PoorContext", then
    return None


def _seen(worst: Drift) -> str:
    moved = ", ".join(f"{name} {change:+.0%}" for name, change in worst.moved)
    return (
        f"{worst.feature} drifted by at least {worst.lower:.1%} (seen {worst.distance:.1%}, "
        f"{worst.current} answers beside {worst.reference}; {moved or 'no bin moved'})"
    )

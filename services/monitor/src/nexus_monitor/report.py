"""The report of one model's look, as JSON.  Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from nexus_monitor.assessment import Assessment
from nexus_monitor.bands import Bands
from nexus_monitor.supported import SUPPORTED, Supported, Version
from nexus_monitor.windows import Windows

_DIGITS = 6


def report(
    tenant: str, model: str, found: Assessment, bands: Bands, windows: Windows | None
) -> bytes:
    """Write what was compared, what was found, by which thresholds, and what follows."""
    decision = found.decision
    value = {
        "namespace": tenant,
        "model": model,
        "windows": None
        if windows is None
        else {name: moment.isoformat() for name, moment in asdict(windows).items()},
        "answers": {"reference": found.reference, "current": found.current},
        "bands": asdict(bands),
        "drifts": [
            {
                "feature": one.feature,
                "reference": one.reference,
                "current": one.current,
                "distance": round(one.distance, _DIGITS),
                "lower": round(one.lower, _DIGITS),
                "fallen": round(one.fallen, _DIGITS),
                "stability": round(one.stability, _DIGITS),
                "moved": {name: round(change, _DIGITS) for name, change in one.moved},
            }
            for one in found.drifts
        ],
        "decision": {
            "action": decision.action,
            "band": None if decision.band is None else decision.band.name.lower(),
            "reason": decision.reason,
            "message": decision.message,
            "promotionBlocked": decision.blocked,
        },
    }
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def support_report(
    tenant: str,
    model: str,
    found: Mapping[Version, Supported],
    least: float,
    *,
    since: datetime,
    until: datetime,
) -> bytes:
    """Write how many answers of each version their passages carry, and ids of some others."""
    value = {
        "namespace": tenant,
        "model": model,
        "since": since.isoformat(),
        "until": until.isoformat(),
        "support": {"least": SUPPORTED, "leastShare": least},
        "versions": [
            {
                "model": version.model,
                "index": version.index,
                "revision": version.revision,
                "adapterVersion": version.adapter_version,
                "answers": one.answers,
                "scored": one.scored,
                "supported": one.supported,
                "lower": round(one.lower, _DIGITS),
                "upper": round(one.upper, _DIGITS),
                "enough": one.enough,
                "unsupported": list(one.unsupported),
            }
            for version, one in found.items()
        ],
    }
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"

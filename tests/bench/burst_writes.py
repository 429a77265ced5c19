"""What the operator wrote, request by request, by the API server's audit log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson

POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    resources: [{group: coordination.k8s.io, resources: [leases]}]
  - level: Request
    verbs: [patch, update]
  - level: Metadata
    verbs: [create, delete, deletecollection]
  - level: None
"""
"""Writes alone, with the body of a patch; renewals of the Lease are left out."""

_AGENT = "nexus-operator"
_EXAMPLES = 5
_LONGEST_BODY = 300


@dataclass
class Written:
    """The operator's writes between two moments."""

    kinds: Counter[str] = field(default_factory=Counter)
    """`<verb> <resource>[/<subresource>] <HTTP status>`, and how often."""
    examples: list[str] = field(default_factory=list)
    """When, what and with which body the first few were."""

    def counted(self) -> str:
        """Return the counts in one line."""
        counts = (f"{count} x {kind}" for kind, count in self.kinds.most_common())
        return ", ".join(counts) or "none"

    def __str__(self) -> str:
        return "\n  ".join([self.counted(), *self.examples])


class AuditLog:
    """The log of an API server that runs under POLICY; the operator is told by its user agent."""

    def __init__(self, path: Path) -> None:
        """Read from the end that the log has now."""
        self._path = path
        self._offset = 0
        self.since()

    def since(self) -> Written:
        """Return what was written since the last call."""
        written = Written()
        if not self._path.exists():  # nothing was written yet
            return written
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for text in log:
                if not text.endswith(b"\n"):  # the server is writing it
                    break
                self._offset += len(text)
                event = orjson.loads(text)
                if event.get("userAgent") == _AGENT:
                    _note(written, event)
        return written


def _note(written: Written, event: dict[str, object]) -> None:
    about = _part(event, "objectRef")
    resource = "/".join(str(about[name]) for name in ("resource", "subresource") if name in about)
    kind = f"{event['verb']} {resource} {_part(event, 'responseStatus').get('code')}"
    written.kinds[kind] += 1
    if len(written.examples) < _EXAMPLES:
        body = orjson.dumps(event.get("requestObject")).decode()[:_LONGEST_BODY]
        name = f"{about.get('namespace')}/{about.get('name', '')}"
        written.examples.append(f"{event['requestReceivedTimestamp']} {kind} {name} {body}")


def _part(event: dict[str, object], name: str) -> dict[str, object]:
    found = event.get(name)
    return found if isinstance(found, dict) else {}

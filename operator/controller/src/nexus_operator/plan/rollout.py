"""Which revision answers, and which may go: the safe order of a release."""

from collections.abc import Sequence
from dataclasses import dataclass

from nexus_api.meta import Manifest
from nexus_operator.build.revision import REVISION_LABEL
from nexus_operator.objects import is_deleting, labels_of
from nexus_operator.status.pods import Strength, strength


@dataclass(frozen=True)
class Revision:
    """A revision that has a Deployment."""

    name: str
    deployment: Manifest
    strength: Strength

    @classmethod
    def of(cls, deployment: Manifest) -> "Revision":
        """Read the revision off its Deployment."""
        name = labels_of(deployment).get(REVISION_LABEL, "")
        return cls(name, deployment, strength(deployment))

    @property
    def answers(self) -> bool:
        """Whether at least one of its replicas is ready, and it is not being deleted."""
        return self.strength.ready > 0 and not is_deleting(self.deployment)


def live_revision(wanted: str | None, previous: str | None, seen: Sequence[Revision]) -> str | None:
    """Return the revision that should answer, None when there is none to choose.

    The wanted one takes over when all its replicas are ready.  Until then the one that answers
    goes on; where none does, any that can steps in.
    """
    by_name = {one.name: one for one in seen}
    candidate = by_name.get(wanted or "")
    before = by_name.get(previous or "")
    if candidate is not None and candidate.strength.full and candidate.answers:
        return wanted
    if before is not None and before.answers:
        return previous
    if candidate is not None and candidate.answers:
        return wanted
    for one in sorted(seen, key=_age, reverse=True):
        if one.answers:
            return one.name
    return previous if before is not None else None


def superseded(
    wanted: str, live: str | None, selected: str | None, seen: Sequence[Revision]
) -> list[Revision]:
    """Return the revisions that may go: neither wanted, nor live, nor `selected` by the Service."""
    return [one for one in seen if one.name not in {wanted, live, selected}]


def _age(revision: Revision) -> tuple[str, str]:
    return (str(revision.deployment["metadata"].get("creationTimestamp", "")), revision.name)

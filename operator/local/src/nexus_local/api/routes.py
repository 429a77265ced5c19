"""URL paths of the Kubernetes API; pure."""

from dataclasses import dataclass

from nexus_api.meta import Manifest
from nexus_local.api.statuses import RequestError
from nexus_local.store.kinds import KINDS, Kind
from nexus_operator.cluster.protocol import Ref


@dataclass(frozen=True, slots=True)
class Target:
    """What a path addresses. namespace: empty for all; name: empty for the whole kind."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def ref(self) -> Ref:
        """The object that is addressed."""
        return Ref(self.kind.api_version, self.kind.name, self.namespace, self.name)

    @property
    def details(self) -> Manifest:
        """How a Status names it."""
        named = {"name": self.name, "group": self.kind.group, "kind": self.kind.plural}
        return {key: value for key, value in named.items() if value}


_BY_PLURAL = {(kind.api_version, kind.plural): kind for kind in KINDS}


def target(path: str) -> Target:
    """Read `/api/v1/...` and `/apis/GROUP/VERSION/...`; raises RequestError (404) for any other.

    path: already decoded.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        version, rest = "/".join(parts[1:2]), parts[2:]
    elif parts[0] == "apis":
        version, rest = "/".join(parts[1:3]), parts[3:]
    else:
        raise _unknown()
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:  # noqa: PLR2004 - namespaces/NAME/PLURAL
        namespace, rest = rest[1], rest[2:]
    longest = 3  # PLURAL/NAME/SUBRESOURCE
    kind = _BY_PLURAL.get((version, rest[0])) if rest else None
    if kind is None or len(rest) > longest or not all(rest):
        raise _unknown()
    plural, name, subresource = (*rest, "", "")[:longest]
    if kind.namespaced and name and not namespace:
        raise _unknown()
    if not kind.namespaced and namespace:
        raise _unknown()
    if subresource and not _has(kind, subresource):
        message = f"the server could not find the requested resource: {plural} has no {subresource}"
        raise RequestError(404, "NotFound", message)
    return Target(kind, namespace, name, subresource)


def _has(kind: Kind, subresource: str) -> bool:
    return (subresource == "status" and kind.status) or (
        subresource == "log" and kind.name == "Pod"
    )


def _unknown() -> RequestError:
    return RequestError(404, "NotFound", "the server could not find the requested resource")

"""What a request to an API server asks for, read from its method, path and query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verb = Literal[
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "other"
]

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, in the words of RBAC.

    Attributes:
        verb: `other` for what is no resource request, /version for instance.
        group: API group, empty for the core group.
        version: API version without the group.
        resource: plural name of the kind.
        namespace: empty for cluster-scoped requests and for those across all namespaces.
        name: empty where a collection is meant.
        subresource: `status`, `scale` and the like, or empty.
    """

    verb: Verb
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def writes(self) -> bool:
        """Whether the request may change something."""
        return self.verb in _WRITES

    @property
    def what(self) -> str:
        """The resource with its subresource, as RBAC writes it: `ragindexes/status`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def __str__(self) -> str:
        """The request as a person names it: `patch ragindexes/status ns/handbook`."""
        place = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.what} {place}".strip()


def read_request(method: str, path: str, query: Mapping[str, str]) -> Asked:
    """Return what the request asks for; a path that names no resource has the verb `other`."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Asked(verb="other")
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    return Asked(
        verb=_verb(method, query, named=bool(name)),
        group=group,
        version=version,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
    )


_VERBS: Mapping[str, Verb] = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def _verb(method: str, query: Mapping[str, str], *, named: bool) -> Verb:
    if method in {"GET", "HEAD"}:
        if query.get("watch") in {"1", "true"}:
            return "watch"
        return "get" if named else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return _VERBS.get(method, "other")

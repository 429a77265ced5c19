"""The kinds that the command line can name, and where the Kubernetes API keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from nexus_api.kinds import KINDS as OWN_KINDS
from nexus_api.meta import API_VERSION
from nexus_local.cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: how people name it and where its API lives."""

    name: str
    plural: str
    api_version: str
    short: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def display(self) -> str:
        """The name as kubectl prints it before a slash, e.g. `ragindex.llmops.nexus`."""
        singular = self.name.lower()
        return f"{singular}.{self.group}" if self.group else singular

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The request path below the API server's root; `None` means all namespaces."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        tail = "".join(f"/{quote(part, safe='')}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


ARGO = "argoproj.io/v1alpha1"
KINDS = (
    *(Kind(own.name, own.plural, API_VERSION, (own.short,)) for own in OWN_KINDS.values()),
    Kind("Workflow", "workflows", ARGO, ("wf",)),
    Kind("WorkflowTemplate", "workflowtemplates", ARGO, ("wftmpl",)),
    Kind("Deployment", "deployments", "apps/v1", ("deploy",)),
    Kind("Pod", "pods", "v1", ("po",)),
    Kind("Service", "services", "v1", ("svc",)),
    Kind("ConfigMap", "configmaps", "v1", ("cm",)),
    Kind("Secret", "secrets", "v1"),
    Kind("Event", "events", "v1", ("ev",)),
    Kind("PersistentVolumeClaim", "persistentvolumeclaims", "v1", ("pvc",)),
)


def find_kind(word: str) -> Kind:
    """The kind that a person means by a name, a plural, a short name, in any case.

    Raises:
        UsageError: no kind goes by that word.
    """
    wanted = word.lower().split(".", 1)[0]
    for kind in KINDS:
        if wanted in (kind.name.lower(), kind.plural, *kind.short):
            return kind
    known = ", ".join("/".join((kind.plural, *kind.short)) for kind in KINDS)
    raise UsageError(f"there is no kind {word!r}; known are {known}")


def kind_of(manifest: dict[str, object]) -> Kind:
    """The kind that a manifest declares.

    Raises:
        UsageError: the manifest's apiVersion and kind are not known here.
    """
    api_version, name = str(manifest.get("apiVersion", "")), str(manifest.get("kind", ""))
    for kind in KINDS:
        if kind.name == name and kind.api_version == api_version:
            return kind
    known = ", ".join(f"{kind.name} ({kind.api_version})" for kind in KINDS[:3])
    raise UsageError(f"no matches for kind {name!r} in version {api_version!r}; known are {known}")


def split_target(words: list[str]) -> tuple[Kind, list[str]]:
    """Read `KIND [NAME...]` or `KIND/NAME...` of one kind, as kubectl does.

    Raises:
        UsageError: nothing was named, or kinds are mixed.
    """
    if words and "/" not in words[0]:
        return find_kind(words[0]), words[1:]
    pairs = each_target(words)
    if len({kind for kind, _ in pairs}) != 1:
        raise UsageError(f"name one kind at a time: {' '.join(words)}")
    return pairs[0][0], [name for _, name in pairs]


def each_target(words: list[str]) -> list[tuple[Kind, str]]:
    """Read `KIND NAME...` or `KIND/NAME...`, where each may be of another kind.

    Raises:
        UsageError: nothing was named, or a kind without a name.
    """
    if not words:
        raise UsageError("name a kind, for instance: ragindex, or ragindex/handbook")
    if "/" not in words[0]:
        kind = find_kind(words[0])
        if len(words) == 1:
            raise UsageError(f"name one of the {kind.plural}: {words[0]}/NAME")
        return [(kind, name) for name in words[1:]]
    pairs = [word.partition("/") for word in words]
    if any(not name for _, _, name in pairs):
        raise UsageError(f"name each as KIND/NAME: {' '.join(words)}")
    return [(find_kind(kind), name) for kind, _, name in pairs]

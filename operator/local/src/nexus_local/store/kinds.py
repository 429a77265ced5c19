"""The kinds that the store holds, with the names by which they are addressed."""

from dataclasses import dataclass

from nexus_operator.cluster.errors import NotFound


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object.

    status: it has a status subresource, so that spec and status are written apart.
    counted: which part `metadata.generation` counts: `spec`, everything but metadata, or nothing.
    schema: it is checked against the schema and the rules of `nexus_api`.
    """

    api_version: str
    name: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    counted: str = ""
    schema: bool = False

    @property
    def singular(self) -> str:
        """The lower-case name of one object (`ragindex`)."""
        return self.name.lower()

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]


_OURS = "llmops.nexus/v1alpha1"
_ARGO = "argoproj.io/v1alpha1"

KINDS = (
    Kind(_OURS, "RagIndex", "ragindexes", ("ri",), status=True, counted="spec", schema=True),
    Kind(_OURS, "ServingModel", "servingmodels", ("sm",), status=True, counted="spec", schema=True),
    Kind(_OURS, "FineTuneJob", "finetunejobs", ("ftj",), status=True, counted="spec", schema=True),
    Kind("apps/v1", "Deployment", "deployments", ("deploy",), status=True, counted="spec"),
    Kind("v1", "Pod", "pods", ("po",), status=True),
    Kind("v1", "Service", "services", ("svc",), status=True),
    Kind("v1", "ConfigMap", "configmaps", ("cm",)),
    Kind("v1", "Secret", "secrets"),
    Kind("v1", "Event", "events", ("ev",)),
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",), status=True),
    Kind("coordination.k8s.io/v1", "Lease", "leases"),
    Kind(_ARGO, "Workflow", "workflows", ("wf",), counted="all"),
    Kind(_ARGO, "WorkflowTemplate", "workflowtemplates", ("wftmpl",), counted="all"),
    Kind(
        _ARGO,
        "ClusterWorkflowTemplate",
        "clusterworkflowtemplates",
        ("cwft",),
        namespaced=False,
        counted="all",
    ),
)

_BY_NAME = {(kind.api_version, kind.name): kind for kind in KINDS}


def kind_of(api_version: str, name: str) -> Kind:
    """Return the kind; raises NotFound that names what there is for one not held here."""
    found = _BY_NAME.get((api_version, name))
    if found is None:
        near = [kind for kind in KINDS if kind.name == name]
        hint = (
            f"use apiVersion {near[0].api_version}"
            if near
            else "the kinds are " + ", ".join(sorted(kind.name for kind in KINDS))
        )
        raise NotFound(f'no matches for kind "{name}" in version "{api_version}"; {hint}')
    return found

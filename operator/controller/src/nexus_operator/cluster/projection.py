"""What of an object is kept in memory."""

from nexus_api.meta import Manifest

_HEAVY_STATUS = ("storedTemplates", "storedWorkflowTemplateSpec", "resourcesDuration")
_COPY_OF_ITSELF = "kubectl.kubernetes.io/last-applied-configuration"


def projected(manifest: Manifest) -> Manifest:
    """Return the object without what is large and never looked at."""
    metadata = {**(manifest.get("metadata") or {})}
    metadata.pop("managedFields", None)  # kopf's events have them
    annotations = metadata.get("annotations") or {}
    if _COPY_OF_ITSELF in annotations:
        metadata["annotations"] = {
            name: text for name, text in annotations.items() if name != _COPY_OF_ITSELF
        }
    manifest = {**manifest, "metadata": metadata}
    status = manifest.get("status") or {}
    if any(name in status for name in _HEAVY_STATUS):
        lean = {name: value for name, value in status.items() if name not in _HEAVY_STATUS}
        manifest = {**manifest, "status": lean}
    return manifest

"""ConfigMaps and Secrets that a pod refers to, read before its container starts."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.node.errors import PodRefusedError
from nexus_operator.cluster.protocol import Cluster, Ref


@dataclass(frozen=True, slots=True)
class References:
    """The contents by (kind, name); a missing object is not in it."""

    contents: Mapping[tuple[str, str], Mapping[str, bytes]]

    def whole(self, kind: str, ref: Mapping[str, Any], *, key: str = "name") -> Mapping[str, bytes]:
        """Return all of one object, nothing for a missing optional one; else PodRefusedError."""
        found = self.contents.get((kind, ref[key]))
        if found is None and not ref.get("optional"):
            raise PodRefusedError(
                "CreateContainerConfigError", f'{kind.lower()} "{ref[key]}" not found'
            )
        return found or {}

    def one(self, kind: str, ref: Mapping[str, Any]) -> bytes | None:
        """Return one key of an object, None for a missing optional one; else PodRefusedError."""
        found = self.whole(kind, ref)
        if ref["key"] not in found and not ref.get("optional"):
            raise PodRefusedError(
                "CreateContainerConfigError",
                f'couldn\'t find key {ref["key"]} in {kind.lower()} "{ref["name"]}"',
            )
        return found.get(ref["key"])


async def read_references(cluster: Cluster, namespace: str, spec: Manifest) -> References:
    """Read every ConfigMap and Secret that the pod names, each once."""
    contents: dict[tuple[str, str], Mapping[str, bytes]] = {}
    for kind, name in set(_named(spec)):
        manifest = await cluster.get(Ref("v1", kind, namespace, name))
        if manifest is not None:
            contents[kind, name] = _content(manifest)
    return References(contents)


def _content(manifest: Manifest) -> Mapping[str, bytes]:
    data = manifest.get("data") or {}
    if manifest["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = manifest.get("binaryData") or {}
    return {key: value.encode() for key, value in data.items()} | {
        key: base64.b64decode(value) for key, value in binary.items()
    }


def _named(spec: Manifest) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes") or ():
        if volume.get("configMap"):
            yield "ConfigMap", volume["configMap"]["name"]
        if volume.get("secret"):
            yield "Secret", volume["secret"]["secretName"]
    for container in spec["containers"]:
        sources = [*(container.get("envFrom") or ())]
        sources += [item.get("valueFrom") or {} for item in container.get("env") or ()]
        for source in sources:
            for field, kind in _SOURCES.items():
                if source.get(field):
                    yield kind, source[field]["name"]


_SOURCES = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}

"""Volumes as directories: scratch, claims, and the contents of ConfigMaps and Secrets."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.folders import Folders
from nexus_local.node.references import References


def prepare(pod: Manifest, folders: Folders, references: References) -> dict[str, Path]:
    """Make the directories of a pod's volumes and return them by mount path.

    Contents of ConfigMaps and Secrets are those of now: they are not refreshed while the
    container runs.  Raises PodRefusedError.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    by_name = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    mounts: dict[str, Path] = {}
    for mount in spec["containers"][0].get("volumeMounts") or ():
        volume = by_name.get(mount["name"])
        if volume is None:
            raise _refused(f'volumeMount "{mount["name"]}" names no volume of the pod')
        mounts[mount["mountPath"]] = _directory(metadata, volume, folders, references)
    return mounts


def _directory(
    metadata: Mapping[str, Any], volume: Manifest, folders: Folders, references: References
) -> Path:
    namespace, name = metadata["namespace"], metadata["name"]
    own = folders.pod(namespace, name) / "volumes" / volume["name"]
    if claim := volume.get("persistentVolumeClaim"):
        own = folders.claim(namespace, claim["claimName"])
        own.mkdir(parents=True, exist_ok=True)
    elif (source := volume.get("configMap")) is not None:
        _write_files(own, _chosen(source, references.whole("ConfigMap", source)), secret=False)
    elif (source := volume.get("secret")) is not None:
        content = references.whole("Secret", source, key="secretName")
        _write_files(own, _chosen(source, content), secret=True)
    else:
        own.mkdir(parents=True, exist_ok=True)
    resolved: Path = own.resolve()
    return resolved


def _chosen(source: Mapping[str, Any], content: Mapping[str, bytes]) -> Mapping[str, bytes]:
    if not source.get("items"):
        return content
    missing = [item["key"] for item in source["items"] if item["key"] not in content]
    if missing and not source.get("optional"):
        raise _refused(f"references non-existent key: {missing[0]}")
    return {i["path"]: content[i["key"]] for i in source["items"] if i["key"] in content}


def _write_files(folder: Path, content: Mapping[str, bytes], *, secret: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700 if secret else 0o755)
    for name, data in content.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise _refused(f"volume item path {name!r} must stay below the volume")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(target, flags, 0o600 if secret else 0o644), "wb") as file:
            file.write(data)


def _refused(message: str) -> PodRefusedError:
    return PodRefusedError("CreateContainerConfigError", message)

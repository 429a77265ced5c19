"""From a pod's container to the process that stands for it; pure but for what comes in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_api.meta import Manifest
from nexus_local.node.errors import PodRefusedError
from nexus_local.node.expansion import expand, local_path
from nexus_local.node.ports import HOST
from nexus_local.node.references import References

EntryPoints = Mapping[str, tuple[str, ...]]
"""Programs that a container may run: command name -> absolute command line."""

_PASSED_ON = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "NEXUS_MODEL_FILE_ROOTS",
        "NEXUS_MODEL_PACKAGES",
    }
)
_PASSED_ON_PREFIXES = ("PIP_", "UV_", "HF_")  # package indexes and the model hub, with their keys


@dataclass(frozen=True, slots=True)
class Launch:
    """A process ready to start.

    argv: absolute program first.  ports: local port by container port and by port name.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    ports: Mapping[int | str, int]


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a child gets of the platform's own environment: little.

    Of secrets only those by which models and packages are fetched.
    """
    return {
        name: value
        for name, value in environment.items()
        if name.upper() in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def program(container: Manifest, entrypoints: EntryPoints) -> tuple[str, ...]:
    """Return the program that `command[0]`, or else the image's name, stands for.

    Raises PodRefusedError when no installed program may be run under that name.
    """
    image, name = container["image"], command_name(container)
    found = entrypoints.get(name)
    if found is None:
        known = ", ".join(sorted(entrypoints)) or "none"
        raise PodRefusedError(
            "ErrImageNeverPull",
            f'image "{image}" with command "{name}" stands for no program installed here; '
            f"the programs that can run are: {known}",
        )
    if not os.access(found[0], os.X_OK):
        raise PodRefusedError(
            "StartError",
            f"{found[0]}, which stands for command {name}, is no executable file; "
            "install the platform again",
        )
    return found


def command_name(container: Manifest) -> str:
    """Return the name by which a container asks for its program."""
    return str((container.get("command") or [image_name(container["image"])])[0])


def image_name(image: str) -> str:
    """Return the last part of an image's path, without tag and digest."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def launch(
    pod: Manifest,
    *,
    folder: Path,
    entrypoints: EntryPoints,
    references: References,
    mounts: Mapping[str, Path],
    files: Mapping[str, Path],
    ports: Mapping[int | str, int],
    inherited: Mapping[str, str],
) -> Launch:
    """Work out the process of a pod's one container; raises PodRefusedError.

    folder: where it runs.  mounts: directories by mount path.  files: local paths of single
    files by container path.  ports: see Launch.
    """
    container = pod["spec"]["containers"][0]
    fixed = _addresses(container, ports)
    base = {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder / "tmp"),
        "NEXUS_POD_FOLDER": str(folder),
    }
    given = {
        name: local_path(value, files, mounts)
        for name, value in _environment(pod, container, references, fixed).items()
    }
    env = base | given | fixed
    own = (*(container.get("command") or [""])[1:], *(container.get("args") or ()))
    arguments = (local_path(expand(text, given | fixed), files, mounts) for text in own)
    argv = (*program(container, entrypoints), *arguments)
    for text in (*argv, *env.values()):
        if "\0" in text:
            raise PodRefusedError("StartError", "arguments and environment may hold no NUL")
    return Launch(argv, env, folder, ports)


def _addresses(container: Manifest, ports: Mapping[int | str, int]) -> dict[str, str]:
    """Tell the process where to listen: the ports of its specification belong to no one here."""
    fixed = {"NEXUS_HOST": HOST}
    for index, port in enumerate(container.get("ports") or ()):
        local = str(ports[port["containerPort"]])
        if index == 0:
            fixed["NEXUS_PORT"] = local
        if name := port.get("name"):
            fixed[f"NEXUS_PORT_{name.upper().replace('-', '_')}"] = local
    return fixed


def _environment(
    pod: Manifest, container: Manifest, references: References, fixed: dict[str, str]
) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        kind = "ConfigMap" if source.get("configMapRef") else "Secret"
        content = references.whole(kind, source.get("configMapRef") or source["secretRef"])
        prefix = source.get("prefix") or ""
        env |= {prefix + key: _text(key, value) for key, value in content.items()}
    for item in container.get("env") or ():
        name = item["name"]
        if item.get("valueFrom"):
            value = _from_source(pod, references, name, item["valueFrom"])
            if value is None:
                continue
        else:
            value = expand(item.get("value") or "", env | fixed)
        env[name] = fixed.get(name, value)
    return env


def _from_source(
    pod: Manifest, references: References, name: str, source: Mapping[str, Any]
) -> str | None:
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if ref := source.get(field):
            value = references.one(kind, ref)
            return None if value is None else _text(name, value)
    path = source["fieldRef"]["fieldPath"]
    known = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"].get("uid", ""),
        "status.podIP": HOST,
    }
    if path not in known:
        raise PodRefusedError(
            "CreateContainerConfigError",
            f"env {name}: fieldRef {path} is not offered on the laptop, only {', '.join(known)}",
        )
    return str(known[path])


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise PodRefusedError(
            "CreateContainerConfigError",
            f"the value of {name} is not text and cannot be environment",
        ) from None

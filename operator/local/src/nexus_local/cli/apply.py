"""`nexus apply` and `nexus delete`: manifests from files, folders or standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nexus_api.manifests import load_manifests
from nexus_api.meta import Manifest
from nexus_local.cli.errors import CliError, NotFoundError, UsageError
from nexus_local.cli.kinds import Kind, each_target, kind_of
from nexus_local.cli.kube import KubeClient
from nexus_local.cli.target import Target, connected

FilesOption = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", help="A file, a folder, or - for standard input."),
]
SUFFIXES = (".yaml", ".yml", ".json")
console = Console()


def read_manifests(sources: list[str]) -> list[Manifest]:
    """Every manifest of the named files, folders (their YAML and JSON, sorted) and `-`.

    Raises:
        UsageError: a source does not exist, or a folder holds no manifest.
        CliError: a text is not YAML, or not an object.
    """
    found: list[Manifest] = []
    for source in sources:
        for name, text in _texts(source):
            try:
                found += load_manifests(text)
            except ValueError as error:
                raise CliError(f"{name}: {error}") from error
    return found


def _texts(source: str) -> list[tuple[str, str]]:
    if source == "-":
        return [("standard input", sys.stdin.read())]
    path = Path(source)
    files = sorted(p for p in path.glob("*") if p.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{source}: no {', '.join(SUFFIXES)} file in this folder")
    try:
        return [(str(file), file.read_text(encoding="utf-8")) for file in files]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{source}: not UTF-8 text: {error}") from error


def apply_manifest(kube: KubeClient, namespace: str, manifest: Manifest) -> str:
    """Apply one manifest; tells `kind/name created`, `configured` or `unchanged`."""
    kind, where = kind_of(manifest), _namespace(manifest, namespace)
    name = str(manifest.get("metadata", {}).get("name", ""))
    before = kube.find(kind, where, name) if name else None
    after = kube.apply(kind, where, manifest)
    if before is None:
        verb = "created"
    elif _version(before) == _version(after):
        verb = "unchanged"
    else:
        verb = "configured"
    return f"{kind.display}/{after['metadata']['name']} {verb}"


def _version(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("resourceVersion", ""))


def _namespace(manifest: Manifest, default: str) -> str:
    return str(manifest.get("metadata", {}).get("namespace") or default)


@connected
def apply(target: Target, filename: FilesOption = None) -> None:
    """Create or change the resources that files declare."""
    if not filename:
        raise UsageError("name what to apply: nexus apply -f FILE|FOLDER|-")
    manifests = read_manifests(filename)
    for manifest in manifests:
        kind_of(manifest)
    kube, failed = target.kube(), 0
    for manifest in manifests:
        try:
            console.print(apply_manifest(kube, target.namespace, manifest), highlight=False)
        except CliError as error:
            failed += 1
            console.print(f"error: {error}", style="red", highlight=False, markup=False)
    if failed:
        raise CliError(f"{failed} of {len(manifests)} resources were refused")


@connected
def delete(
    target: Target,
    what: Annotated[list[str] | None, typer.Argument(help="KIND NAME... or KIND/NAME...")] = None,
    filename: FilesOption = None,
    ignore_not_found: Annotated[bool, typer.Option(help="A missing one is fine.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when they are gone.")] = True,
) -> None:
    """Delete resources, by name or by the files that declare them."""
    pairs = _to_delete(target, what or [], filename or [])
    kube = target.kube()
    for kind, namespace, name in pairs:
        try:
            kube.delete(kind, namespace, name)
        except NotFoundError:
            if not ignore_not_found:
                raise
            continue
        if wait:
            wait_gone(kube, kind, namespace, name, seconds=300)
        console.print(f"{kind.display}/{name} deleted", highlight=False)


def _to_delete(target: Target, what: list[str], filename: list[str]) -> list[tuple[Kind, str, str]]:
    if bool(what) == bool(filename):
        raise UsageError("name what to delete: KIND NAME..., or -f FILE")
    if filename:
        manifests = read_manifests(filename)
        return [
            (kind_of(m), _namespace(m, target.namespace), str(m["metadata"]["name"]))
            for m in manifests
        ]
    return [(kind, target.namespace, name) for kind, name in each_target(what)]


def wait_gone(kube: KubeClient, kind: Kind, namespace: str, name: str, *, seconds: float) -> None:
    """Return when an object no longer exists.  Raises `CliError` when time is up."""
    _, since = kube.list(kind, namespace)
    if kube.find(kind, namespace, name) is None:
        return
    for change, item in kube.watch(kind, namespace, since, seconds=seconds):
        if change == "DELETED" and item["metadata"]["name"] == name:
            return
    raise CliError(f"{kind.display}/{name} is still being deleted after {seconds:.0f} s")

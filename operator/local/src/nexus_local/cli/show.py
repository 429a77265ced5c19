"""`nexus get` and `nexus describe`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from nexus_api.meta import Manifest
from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.kinds import Kind, find_kind, split_target
from nexus_local.cli.kube import KubeClient
from nexus_local.cli.output import age, dump, print_objects
from nexus_local.cli.table import print_table
from nexus_local.cli.target import Target, connected

EVENTS_SHOWN = 15
console = Console()


@connected
def get(
    target: Target,
    what: Annotated[list[str], typer.Argument(help="KIND [NAME...] or KIND/NAME...")],
    output: Annotated[str, typer.Option("-o", help="wide|json|yaml|name|jsonpath=...")] = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A")] = False,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Labels, as a=b,c!=d.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on with each change.")] = False,
) -> None:
    """List resources, or show some by name."""
    kind, names = split_target(what)
    kube = target.kube()
    if names:
        if all_namespaces or selector:
            raise UsageError("names go with neither -A nor -l")
        objects, since = [kube.get(kind, target.namespace, name) for name in names], ""
    else:
        namespace = None if all_namespaces else target.namespace
        objects, since = kube.list(kind, namespace, labels=selector)
        objects.sort(key=lambda o: (o["metadata"].get("namespace", ""), o["metadata"]["name"]))
    if not objects and not output:
        where = "any namespace" if all_namespaces else f"namespace {target.namespace}"
        Console(stderr=True).print(f"No {kind.plural} found in {where}.", highlight=False)
    elif objects or output:
        print_objects(console, kind, objects, output, everywhere=all_namespaces, listed=not names)
    if watch:
        namespace = None if all_namespaces else target.namespace
        since = since or kube.list(kind, namespace)[1]
        changes = _changes(kube, kind, namespace, since, selector)
        for item in changes:
            if not names or item["metadata"]["name"] in names:
                print_objects(console, kind, [item], output, everywhere=all_namespaces)


def _changes(
    kube: KubeClient, kind: Kind, namespace: str | None, since: str, labels: str
) -> Iterator[Manifest]:
    """Every object of a selection as it changes, for ever.  Raises `CliError` when that ends."""
    while True:
        for change, item in kube.watch(kind, namespace, since, seconds=300, labels=labels):
            since = str(item["metadata"].get("resourceVersion", since))
            if change == "ERROR":
                raise CliError(str(item.get("message", "the watch ended")))
            if change != "BOOKMARK":
                yield item


@connected
def describe(
    target: Target, what: Annotated[list[str], typer.Argument(help="KIND NAME or KIND/NAME")]
) -> None:
    """Tell what a resource is, how it stands, and what happened to it lately."""
    kind, names = split_target(what)
    if not names:
        raise UsageError(f"name one of the {kind.plural}")
    kube = target.kube()
    for name in names:
        _describe(kube, kind, kube.get(kind, target.namespace, name))


def _describe(kube: KubeClient, kind: Kind, item: Manifest) -> None:
    meta, status = item["metadata"], dict(item.get("status") or {})
    now = datetime.now(UTC)
    console.print(
        f"[bold]{kind.name}[/] {escape(meta.get('namespace', ''))}/{escape(meta['name'])}"
    )
    console.print(f"age {age(meta['creationTimestamp'], now)}", highlight=False)
    for title, part in (("Labels", "labels"), ("Annotations", "annotations")):
        if meta.get(part):
            _section(title, meta[part])
    _section("Spec", item.get("spec") or {})
    conditions = status.pop("conditions", [])
    _section("Status", status)
    if conditions:
        console.print("\n[bold]Conditions[/]")
        _conditions(conditions, now)
    _events(kube, kind, meta, now)


def _section(title: str, payload: Any) -> None:
    console.print(f"\n[bold]{title}[/]")
    console.print(dump(payload).rstrip(), markup=False, highlight=False)


def _conditions(conditions: list[Manifest], now: datetime) -> None:
    for c in conditions:
        since = f" for {age(c['lastTransitionTime'], now)}" if c.get("lastTransitionTime") else ""
        head = f"{c['type']}={c['status']} {c.get('reason', '')}{since}"
        console.print(f"{head}: {c.get('message', '')}", markup=False, highlight=False)


def _events(kube: KubeClient, kind: Kind, meta: Manifest, now: datetime) -> None:
    events, _ = kube.list(find_kind("events"), meta.get("namespace"))
    mine = [
        e
        for e in events
        if e.get("involvedObject", {}).get("kind") == kind.name
        and e["involvedObject"].get("name") == meta["name"]
        and e["involvedObject"].get("uid", meta["uid"]) == meta["uid"]
    ]
    if not mine:
        return
    console.print("\n[bold]Events[/]")
    rows = [
        [
            age(e["lastTimestamp"], now) if e.get("lastTimestamp") else "",
            *(str(e.get(part, "")) for part in ("type", "reason", "message")),
        ]
        for e in sorted(mine, key=lambda e: str(e.get("lastTimestamp") or ""))[-EVENTS_SHOWN:]
    ]
    print_table(console, ("SEEN", "TYPE", "REASON", "MESSAGE"), rows)

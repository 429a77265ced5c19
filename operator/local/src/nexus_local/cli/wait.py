"""`nexus wait`: return when a resource is as wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from nexus_api.duration import parse_duration
from nexus_api.meta import Manifest
from nexus_local.cli.apply import wait_gone
from nexus_local.cli.errors import CliError, NotFoundError, UsageError
from nexus_local.cli.kinds import Kind, each_target
from nexus_local.cli.kube import KubeClient
from nexus_local.cli.output import lookup
from nexus_local.cli.target import Target, connected

Test = Callable[[Manifest], bool]
console = Console()


def condition(item: Manifest, kind: str) -> Manifest:
    """The condition of that type, empty when there is none."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type", "").lower() == kind.lower()), {})


def parse_wish(text: str) -> Test:
    """Read `condition=Ready[=False]` or `jsonpath={.status.chunks}[=5]`.

    Raises:
        UsageError: it is neither.
    """
    form, _, rest = text.partition("=")
    if form == "condition" and rest:
        name, _, value = rest.partition("=")
        wanted = value or "True"

        def as_wished(item: Manifest) -> bool:
            found = condition(item, name)
            seen = found.get("observedGeneration")
            current = item["metadata"].get("generation")
            stale = seen is not None and current is not None and seen < current
            return not stale and str(found.get("status", "")).lower() == wanted.lower()

        return as_wished
    if form == "jsonpath" and rest:
        path, _, value = rest.partition("}=")
        path = path.strip("{}")

        def has_value(item: Manifest) -> bool:
            values = [str(v) for v in lookup(item, path)]
            return value in values if value else bool(values)

        return has_value
    raise UsageError(
        f"--for {text!r}: use condition=NAME, condition=NAME=STATUS, jsonpath=... or delete"
    )


@connected
def wait(
    target: Target,
    what: Annotated[list[str], typer.Argument(help="KIND/NAME...")],
    wish: Annotated[str, typer.Option("--for", help="condition=Ready, delete, jsonpath=...")],
    timeout: Annotated[str, typer.Option(help="How long to wait, e.g. 30s or 5m.")] = "30s",
) -> None:
    """Return when resources are as wanted, or fail when time is up."""
    targets = each_target(what)
    try:
        limit = parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error
    kube, end = target.kube(), time.monotonic() + limit
    for kind, name in targets:
        if wish == "delete":
            wait_gone(kube, kind, target.namespace, name, seconds=end - time.monotonic())
        else:
            until(kube, kind, target.namespace, name, parse_wish(wish), end=end, wish=wish)
        console.print(f"{kind.display}/{name} condition met", highlight=False)


def until(
    kube: KubeClient, kind: Kind, namespace: str, name: str, test: Test, *, end: float, wish: str
) -> Manifest:
    """The object once a test holds for it.

    Raises:
        NotFoundError: it does not exist.
        CliError: it was deleted, or time is up; tells how it stands.
    """
    while True:
        objects, since = kube.list(kind, namespace)
        item = next((o for o in objects if o["metadata"]["name"] == name), None)
        if item is None:
            raise NotFoundError(f'{kind.plural} "{name}" not found in namespace {namespace}')
        if test(item):
            return item
        left = end - time.monotonic()
        if left <= 0:
            raise CliError(f"timed out waiting for {wish} on {kind.display}/{name}{standing(item)}")
        for change, seen in kube.watch(kind, namespace, since, seconds=min(left, 60)):
            if seen["metadata"].get("name") != name:
                continue
            if change == "DELETED":
                raise CliError(f"{kind.display}/{name} was deleted")
            item = seen
            if test(item):
                return item
            if time.monotonic() > end:
                break


def standing(item: Manifest) -> str:
    """How a resource stands, for the end of a sentence: its Ready condition in words."""
    ready = condition(item, "Ready")
    if not ready:
        return ""
    return f": {ready.get('reason', '')}: {ready.get('message', '')}"

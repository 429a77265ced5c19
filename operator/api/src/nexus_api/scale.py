"""Validation of the fields behind the scale subresource, with a kube-apiserver's answers."""

from collections.abc import Iterator
from typing import Any

from nexus_api.go_text import plain, type_of
from nexus_api.kinds import Scale
from nexus_api.meta import Manifest
from nexus_api.problems import Problem

_INT32 = 2**31 - 1


def problems(manifest: Manifest, scale: Scale) -> Iterator[Problem]:
    """Yield what keeps the fields from being read as counts and as a selector."""
    yield from _count(manifest, scale.spec)
    yield from _count(manifest, scale.status)
    yield from _unreadable(manifest, scale.selector, "string", str)


def _count(manifest: Manifest, path: str) -> Iterator[Problem]:
    unreadable = list(_unreadable(manifest, path, "int64", int))
    yield from unreadable
    if unreadable:
        return
    value = _found(manifest, path)
    if value is None:
        return
    if value < 0:
        yield Problem(path, value, "scale", "should be a non-negative integer")
    elif value > _INT32:
        yield Problem(path, value, "scale", f"should be less than or equal to {_INT32}")


def _unreadable(manifest: Manifest, path: str, wanted: str, form: type) -> Iterator[Problem]:
    names = path.removeprefix(".").split(".")
    at: Any = manifest
    empty: Any = form()
    for depth, name in enumerate(names):
        if not isinstance(at, dict):
            told = _told(f".{'.'.join(names[:depth])}", at, "map[string]interface{}")
            yield Problem(path, empty, "scale", told)
            return
        if name not in at:
            return
        at = at[name]
    if not isinstance(at, form) or isinstance(at, bool):
        yield Problem(path, empty, "scale", _told(path, at, wanted))


def _told(path: str, value: Any, wanted: str) -> str:
    return (
        f"{path} accessor error: {plain(value)} is of the type {type_of(value)}, expected {wanted}"
    )


def _found(manifest: Manifest, path: str) -> Any:
    at: Any = manifest
    for name in path.removeprefix(".").split("."):
        at = at.get(name) if isinstance(at, dict) else None
    return at

"""Answers from the past, asked of the API server itself: a list at an exact older version."""

import json
from collections.abc import Mapping
from typing import Any

from fault_proxy.asked import Asked


class StaleView:
    """Knows the resource versions that writes through the proxy have made."""

    def __init__(self) -> None:
        """Know none yet."""
        self._versions: list[str] = []

    def note(self, content: bytes) -> None:
        """Remember the version of what a write answered, when it tells one."""
        try:
            version = json.loads(content)["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError):
            return
        if version and version not in self._versions[-1:]:
            self._versions.append(str(version))

    def version(self, behind: int) -> str | None:
        """Return the version as of so many writes before the last, None when there were fewer."""
        return self._versions[-1 - behind] if len(self._versions) > behind else None

    def question(
        self, path: str, query: Mapping[str, str], asked: Asked, version: str
    ) -> tuple[str, dict[str, str]]:
        """Return path and query of the list that shows what was asked for, at that version."""
        at = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
        if asked.verb == "list":
            return path, {**query, **at}
        return path.rpartition("/")[0], {"fieldSelector": f"metadata.name={asked.name}", **at}

    def single(self, content: dict[str, Any], asked: Asked) -> tuple[int, dict[str, Any]]:
        """Return status and body of a read of one object from a list that holds at most it."""
        items = content.get("items") or []
        if items:
            kind = str(content["kind"]).removesuffix("List")
            return 200, {"apiVersion": content["apiVersion"], "kind": kind, **items[0]}
        message = f"{asked.resource} {asked.name!r} not found"
        return 404, {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "NotFound",
            "code": 404,
        }

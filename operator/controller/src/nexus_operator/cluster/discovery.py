"""Which path serves a kind: asked of the API server once, and again when a kind is missing."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass

from nexus_operator.cluster.errors import KindMissing, NotFound
from nexus_operator.cluster.transport import Transport

MISSING_SECONDS = 10.0
"""How long a kind that was not there counts as missing without another question."""


@dataclass(frozen=True)
class Served:
    """How a kind is served.

    Attributes:
        root: path of its group and version, such as `/apis/apps/v1`.
        plural: its name in paths.
        namespaced: whether its objects live in namespaces.
    """

    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, an object or its subresource."""
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{self.root}{scope}/{self.plural}{tail}"


class Discovery:
    """Answers which path serves a kind; thousands of questions cost one request a group."""

    def __init__(self, transport: Transport) -> None:
        """Know nothing yet."""
        self._transport = transport
        self._groups: dict[str, dict[str, Served]] = {}
        self._asked: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def served(self, api_version: str, kind: str) -> Served:
        """Return how the kind is served.

        Raises KindMissing when the cluster does not have it, Unavailable when it does not answer.
        """
        known = self._groups.get(api_version, {}).get(kind)
        if known is not None:
            return known
        async with self._locks[api_version]:
            known = self._groups.get(api_version, {}).get(kind)
            if known is None and self._may_ask(api_version):
                await self._ask(api_version)
                known = self._groups[api_version].get(kind)
        if known is None:
            raise KindMissing(
                f"the cluster has no kind {kind} in {api_version}: "
                "install its CustomResourceDefinition"
            )
        return known

    def forget(self, api_version: str) -> None:
        """Ask again at the next question: a path that was served is not any more."""
        self._groups.pop(api_version, None)
        self._asked.pop(api_version, None)

    def _may_ask(self, api_version: str) -> bool:
        asked = self._asked.get(api_version)
        return asked is None or time.monotonic() - asked > MISSING_SECONDS

    async def _ask(self, api_version: str) -> None:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = await self._transport.request(
                "GET", root, what=f"discovery of {api_version}", kind="APIResourceList"
            )
        except NotFound:
            answer = {}
        self._asked[api_version] = time.monotonic()
        self._groups[api_version] = {
            str(one["kind"]): Served(root, str(one["name"]), bool(one["namespaced"]))
            for one in answer.get("resources") or ()
            if "/" not in one["name"]
        }

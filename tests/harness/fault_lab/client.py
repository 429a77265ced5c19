"""A plain client of the API server, for what users, nodes and engines do in a scenario.

It is not the operator's own: the judge must not share the faults of the judged.
"""

import json
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp

Manifest = dict[str, Any]
MERGE = "application/merge-patch+json"
_FIELD_MANAGER = "scenario"
_LONGEST_LINE = 1 << 24


class Refused(Exception):
    """The API server did not do what was asked; has its status and its message."""

    def __init__(self, code: int, message: str, reason: str) -> None:
        """Take what the server's Status object says."""
        super().__init__(f"HTTP {code} {reason}: {message}")
        self.code = code
        self.message = message
        self.reason = reason


class Client:
    """One session; an async context manager."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        """Take the address; `tls` is None for a server without TLS."""
        self._url, self._token, self._tls = url, token, tls

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(ssl=self._tls or True, limit=0),
            headers={"authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_LONGEST_LINE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Manifest:
        """Read an object or a list; raises Refused."""
        return await self._send("GET", path, params=query)

    async def create(self, path: str, manifest: Manifest, **query: str) -> Manifest:
        """Create an object; raises Refused."""
        return await self._send("POST", path, json=manifest, params=query)

    async def patch(
        self, path: str, patch: Manifest, *, strict: bool = False, content_type: str = MERGE
    ) -> Manifest:
        """Patch an object, as a merge unless told otherwise; raises Refused."""
        query = {"fieldManager": _FIELD_MANAGER}
        if strict:
            query["fieldValidation"] = "Strict"
        headers = {"content-type": content_type}
        data = json.dumps(patch).encode()
        return await self._send("PATCH", path, data=data, headers=headers, params=query)

    async def put(self, path: str, manifest: Manifest) -> Manifest:
        """Replace an object; raises Refused."""
        return await self._send("PUT", path, json=manifest)

    async def delete(self, path: str, **options: Any) -> None:
        """Delete an object; one that is not there is fine."""
        try:
            await self._send("DELETE", path, json=options)
        except Refused as problem:
            if problem.code != 404:
                raise

    async def watch(self, path: str, since: str) -> AsyncIterator[Manifest]:
        """Yield the events of one watch until it ends."""
        query = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true"}
        async with self._session.get(path, params=query) as response:
            if response.status >= 400:
                raise Refused(response.status, await response.text(), "")
            try:
                async for line in response.content:
                    yield json.loads(line)
            finally:  # TLS would wait for the server's farewell, beyond the end of the session
                connection = response.connection
                if connection is not None and connection.transport is not None:
                    connection.transport.abort()

    async def _send(self, method: str, path: str, **request: Any) -> Manifest:
        async with self._session.request(method, path, **request) as response:
            body = await response.read()
        try:
            answer: Manifest = json.loads(body)
        except ValueError:
            answer = {"message": body[:200].decode(errors="replace")}
        if response.status >= 400:
            said, reason = str(answer.get("message", "")), str(answer.get("reason", ""))
            raise Refused(response.status, said, reason)
        return answer

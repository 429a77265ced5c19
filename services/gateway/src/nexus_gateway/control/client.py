"""A client for the Kubernetes API, or for the laptop's API of the same shape."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from nexus_api.access import authorization
from nexus_api.meta import GROUP, VERSION, Manifest
from nexus_gateway.upstream import Pool, Response, UpstreamBroken, UpstreamUnreachable
from nexus_gateway.upstream.pool import Target

LIST_LIMIT = 256 * 1024 * 1024
MAX_EVENT = 16 * 1024 * 1024
WATCH_SECONDS = 240
TIMEOUT = 15.0


class ControlUnavailable(Exception):
    """The API does not answer, or refuses; the message says which call and why."""


class ControlMissing(ControlUnavailable):
    """The object is not there."""


class ControlConflict(ControlUnavailable):
    """The object is of another version than was asked for."""


class ControlGone(Exception):
    """The version asked for is no longer kept: list anew."""


_REFUSALS = {404: ControlMissing, 409: ControlConflict}


class Event(NamedTuple):
    """One change seen by a watch: ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    manifest: Manifest


class ControlClient:
    """Lists, watches and annotates our own kinds.  One instance may serve many tasks."""

    def __init__(self, url: str, *, token_file: Path | None, ca_file: Path | None) -> None:
        self._pool = Pool()
        self._target = Target.of(url)
        self._token_file = token_file
        self._ca_file = ca_file
        self._trusted: tuple[int, int] | None = None

    async def list(self, plural: str) -> tuple[list[Manifest], str]:
        """Return all objects of a kind in all namespaces, and the version of that list.

        Raises ControlUnavailable.
        """
        path = f"/apis/{GROUP}/{VERSION}/{plural}"
        payload = await self._json("GET", path, b"", {})
        version = payload.get("metadata", {}).get("resourceVersion", "")
        return payload.get("items") or [], version

    async def watch(self, plural: str, version: str) -> AsyncIterator[Event]:
        """Yield changes after `version` until the server ends the watch.

        Raises ControlGone when that version is no longer kept, ControlUnavailable.
        """
        query = urlencode(
            {
                "watch": "1",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_SECONDS),
            }
        )
        path = f"/apis/{GROUP}/{VERSION}/{plural}?{query}"
        response = await self._request("GET", path, b"", {})
        try:
            async for line in _lines(response):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    if status.get("code") == 410:  # noqa: PLR2004 - HTTP Gone
                        raise ControlGone(status.get("message", "gone"))
                    raise ControlUnavailable(f"watch of {plural}: {status.get('message')}")
                yield Event(event["type"], event["object"])
        except (UpstreamBroken, TimeoutError, orjson.JSONDecodeError, KeyError) as error:
            raise ControlUnavailable(f"watch of {plural}: {error!r}") from error
        finally:
            response.close()

    async def get(self, plural: str, namespace: str, name: str) -> Manifest:
        """Return one object.  Raises ControlMissing, ControlUnavailable."""
        found: Manifest = await self._json("GET", _path(plural, namespace, name), b"", {})
        return found

    async def annotate(
        self,
        plural: str,
        namespace: str,
        name: str,
        annotations: dict[str, str],
        *,
        version: str = "",
    ) -> None:
        """Set annotations on an object by a merge patch.

        `version`: the only one that is changed; empty for any.  Raises ControlConflict when it has
        another, ControlMissing, ControlUnavailable.
        """
        metadata: Manifest = {"annotations": annotations}
        if version:
            metadata["resourceVersion"] = version
        body = orjson.dumps({"metadata": metadata})
        merge = {"content-type": "application/merge-patch+json"}
        await self._json("PATCH", _path(plural, namespace, name), body, merge)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    async def _json(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        response = await self._request(method, path, body, headers)
        try:
            data = await response.read(limit=LIST_LIMIT, idle_timeout=TIMEOUT)
            return orjson.loads(data)
        except (UpstreamBroken, TimeoutError, orjson.JSONDecodeError) as error:
            raise ControlUnavailable(f"{method} {path}: {error!r}") from error
        finally:
            response.close()

    async def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> Response:
        try:
            self._trust()
            response = await self._pool.request(
                method,
                self._target,
                path,
                headers={
                    "accept": "application/json",
                    **authorization(self._token_file),
                    **headers,
                },
                body=body,
                within=TIMEOUT,
            )
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError, OSError, ValueError) as error:
            raise ControlUnavailable(f"{method} {path}: {str(error) or repr(error)}") from error
        if response.status < 300:  # noqa: PLR2004 - HTTP success
            return response
        try:
            detail = (await response.read(limit=MAX_EVENT, idle_timeout=TIMEOUT))[:300]
        except (UpstreamBroken, TimeoutError):
            detail = b""
        finally:
            response.close()
        if response.status == 410:  # noqa: PLR2004 - HTTP Gone
            raise ControlGone(detail.decode(errors="replace"))
        kind = _REFUSALS.get(response.status, ControlUnavailable)
        text = detail.decode(errors="replace")
        raise kind(f"{method} {path}: HTTP {response.status} {text}")

    def _trust(self) -> None:
        """Read the authority's certificates anew when their file has changed."""
        if not self._target.origin.tls or self._ca_file is None:
            return
        stat = self._ca_file.stat()
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._trusted:
            self._pool.tls = ssl.create_default_context(cafile=str(self._ca_file))
            self._trusted = stamp


async def _lines(response: Response) -> AsyncIterator[bytes]:
    """Yield the lines of a watch; quiet longer than the server's own limit is an error."""
    rest = b""
    while chunk := await response.next_chunk(WATCH_SECONDS + TIMEOUT):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_EVENT:
            raise UpstreamBroken("an event of the watch is too long", started=True)
        for line in lines:
            if line.strip():
                yield line


def _path(plural: str, namespace: str, name: str) -> str:
    return (
        f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace, safe='')}"
        f"/{plural}/{quote(name, safe='')}"
    )

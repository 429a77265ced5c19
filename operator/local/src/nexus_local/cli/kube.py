"""A small client of the Kubernetes API: the laptop's own and a real API server's alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from nexus_api.meta import Manifest
from nexus_local.cli.answers import content, lines
from nexus_local.cli.errors import CliError, NotFoundError
from nexus_local.cli.kinds import Kind

FIELD_MANAGER = "nexus-cli"
_RETRIED = (httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError)


class KubeClient:
    """Objects by kind, namespace and name over HTTP.

    Every call has a timeout; reads are tried three times.  Raises `CliError` with the server's
    own sentence, `NotFoundError` for 404.
    """

    def __init__(self, http: httpx.Client) -> None:
        """Speak through a client whose base address and credentials are set."""
        self._http = http

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """One object.  Raises `NotFoundError`."""
        return self._read(kind.path(namespace, name))

    def find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """One object, or nothing."""
        try:
            return self.get(kind, namespace, name)
        except NotFoundError:
            return None

    def list(
        self, kind: Kind, namespace: str | None, *, labels: str = ""
    ) -> tuple[list[Manifest], str]:
        """Objects of a kind and the list's resourceVersion; labels as a selector string."""
        query = {"labelSelector": labels} if labels else {}
        answer = self._read(kind.path(namespace), query)
        items = [
            {"apiVersion": kind.api_version, "kind": kind.name, **item}
            for item in answer.get("items") or []
        ]
        return items, str(answer.get("metadata", {}).get("resourceVersion", ""))

    def apply(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        """Server-side apply under the command line's own field manager."""
        name = manifest.get("metadata", {}).get("name", "")
        if not name:
            raise CliError(f"{kind.name}: metadata.name is missing")
        response = self._send(
            "PATCH",
            kind.path(namespace, str(name)),
            params={"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"},
            content=json.dumps(manifest),
            headers={"content-type": "application/apply-patch+yaml"},
        )
        return content(response)

    def annotate(self, kind: Kind, namespace: str, name: str, notes: Mapping[str, str]) -> Manifest:
        """Merge annotations into one object."""
        response = self._send(
            "PATCH",
            kind.path(namespace, name),
            content=json.dumps({"metadata": {"annotations": dict(notes)}}),
            headers={"content-type": "application/merge-patch+json"},
        )
        return content(response)

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Ask for one object's deletion.  Raises `NotFoundError`."""
        self._send("DELETE", kind.path(namespace, name))

    def watch(
        self,
        kind: Kind,
        namespace: str | None,
        since: str,
        *,
        seconds: float,
        labels: str = "",
    ) -> Iterator[tuple[str, Manifest]]:
        """Changes after a resourceVersion, as (type, object), for at most so many seconds.

        labels: a selector; what leaves it comes as DELETED.
        """
        query = {
            "watch": "1",
            "resourceVersion": since,
            "timeoutSeconds": str(max(1, int(seconds))),
            **({"labelSelector": labels} if labels else {}),
        }
        timeout = httpx.Timeout(10, read=seconds + 10)
        try:
            with self._http.stream(
                "GET", kind.path(namespace), params=query, timeout=timeout
            ) as response:
                if response.is_error:
                    response.read()
                    raise _error(response)
                for line in lines(response):
                    if line.strip():
                        event = json.loads(line)
                        yield str(event["type"]), event["object"]
        except httpx.ReadTimeout:
            return
        except httpx.HTTPError as error:
            raise CliError(f"the platform stopped answering: {error}") from error

    def logs(
        self, namespace: str, pod: str, *, previous: bool, follow: bool, tail: int | None
    ) -> Iterator[str]:
        """The lines of one pod's log, ending when the log does (or never, with `follow`)."""
        query = {"previous": str(previous).lower(), "follow": str(follow).lower()}
        if tail is not None:
            query["tailLines"] = str(tail)
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        timeout = httpx.Timeout(10, read=None if follow else 30)
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise _error(response)
                yield from lines(response)
        except httpx.HTTPError as error:
            raise CliError(f"reading the log of {pod} ended early: {error}") from error

    def _read(self, path: str, query: Mapping[str, str] | None = None) -> Manifest:
        return content(self._send("GET", path, params=query))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in range(3):
            try:
                response = self._http.request(method, path, **request)
            except _RETRIED as error:
                if attempt == 2 or method != "GET":  # noqa: PLR2004 - the third try is the last
                    raise CliError(f"the platform does not answer: {error}") from error
                time.sleep(0.1 * 2**attempt)
            except httpx.HTTPError as error:
                raise CliError(f"the platform does not answer: {error}") from error
            else:
                if response.is_error:
                    raise _error(response)
                return response
        raise CliError("the platform does not answer")


def _error(response: httpx.Response) -> CliError:
    """The server's own sentence, from a v1 Status where it sent one."""
    try:
        message = str(response.json().get("message") or response.text)
    except ValueError:
        message = response.text.strip() or response.reason_phrase
    if response.status_code == httpx.codes.NOT_FOUND:
        return NotFoundError(message)
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return CliError(f"not allowed: {message}")
    return CliError(message)

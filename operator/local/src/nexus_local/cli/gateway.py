"""What the command line asks of the gateway: documents, searches, answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from nexus_local.cli.answers import content, lines
from nexus_local.cli.errors import CliError, NotFoundError

Payload = dict[str, Any]
PAGE = 500


class Gateway:
    """The gateway's HTTP API, its errors as sentences.

    Raises `CliError` with the gateway's own message, `NotFoundError` for 404.
    """

    def __init__(self, http: httpx.Client) -> None:
        """Speak through a client whose base address and credentials are set."""
        self._http = http

    def upload(self, index: str, files: Mapping[str, Path]) -> list[Payload]:
        """Send files under their document paths; each one's state as the gateway took it."""
        with ExitStack() as stack:
            parts = [
                ("files", (name, stack.enter_context(path.open("rb")), "application/octet-stream"))
                for name, path in files.items()
            ]
            answer = self._json(
                "POST", f"/v1/indexes/{quote(index, safe='')}/documents", files=parts, timeout=300
            )
        return list(answer["documents"])

    def documents(self, index: str, *, state: str = "") -> Iterator[Payload]:
        """Every document of an index, page by page."""
        after: str | None = None
        while True:
            query: dict[str, str | int] = {"limit": PAGE}
            if after:
                query["after"] = after
            if state:
                query["state"] = state
            page = self._json("GET", f"/v1/indexes/{quote(index, safe='')}/documents", params=query)
            yield from page["documents"]
            after = page.get("next")
            if not after:
                return

    def search(self, index: str, text: str, *, mode: str | None, top_k: int) -> list[Payload]:
        """Hits of one query, best first."""
        body: Payload = {"index": index, "query": text, "top_k": top_k}
        if mode:
            body["mode"] = mode
        return list(self._json("POST", "/v1/search", json=body)["hits"])

    def models(self) -> list[Payload]:
        """The models that answer here."""
        return list(self._json("GET", "/v1/models")["data"])

    def chat(self, model: str, messages: Sequence[Payload]) -> Iterator[Payload]:
        """The chunks of a streamed answer.  Raises `CliError` when it breaks off."""
        body = {"model": model, "messages": list(messages), "stream": True}
        timeout = httpx.Timeout(10, read=300)
        try:
            with self._http.stream(
                "POST", "/v1/chat/completions", json=body, timeout=timeout
            ) as response:
                if response.is_error:
                    response.read()
                    raise _error(response)
                for line in lines(response):
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        return
                    chunk = json.loads(data)
                    if "error" in chunk:
                        raise CliError(f"the answer broke off: {chunk['error'].get('message')}")
                    yield chunk
        except httpx.HTTPError as error:
            raise CliError(f"the gateway does not answer: {error}") from error

    def _json(self, method: str, path: str, **request: Any) -> Payload:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise CliError(f"the gateway does not answer: {error}") from error
        if response.is_error:
            raise _error(response)
        return content(response)


def _error(response: httpx.Response) -> CliError:
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = response.text.strip() or response.reason_phrase
    if after := response.headers.get("retry-after"):
        message += f" (try again in {after} s)"
    kind = NotFoundError if response.status_code == httpx.codes.NOT_FOUND else CliError
    return kind(message)

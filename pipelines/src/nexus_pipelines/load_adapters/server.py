"""The adapters of a vLLM server, by its own routes.

It takes them from whoever reaches it, with VLLM_ALLOW_RUNTIME_LORA_UPDATING; here by loopback.
"""

import http.client
from typing import Any, Protocol
from urllib.parse import urlsplit

from nexus_api.first_answer import ANSWER_SECONDS, exchange, fault

LIST_SECONDS = 5.0
LOAD_SECONDS = 300.0
MOST_WORDS = 500


class ServerError(Exception):
    """The server did not do what it was asked to."""


class ServerGone(ServerError):
    """Nobody listens, or the connection broke: it starts, or it has ended."""


class ServerSilent(ServerError):
    """It did not answer in time; it may be busy."""


class Refused(ServerError):
    """It answered that it will not; the message has its words."""


class Unanswered(ServerError):
    """It took an adapter, and does not answer by it as it should."""


class AdapterServer(Protocol):
    """A server that takes adapters while it runs."""

    def adapters(self) -> frozenset[str]:
        """Return the names of those it has.  Raises ServerError."""
        ...

    def load(self, name: str, folder: str) -> None:
        """Have it load one; one that it has by that name already is fine.  Raises ServerError."""
        ...

    def answer(self, name: str) -> None:
        """Have it answer a question by one that it has.  Raises ServerError."""
        ...

    def unload(self, name: str) -> None:
        """Have it forget one; one that it does not have is fine.  Raises ServerError."""
        ...


class VllmServer:
    """A vLLM server behind a URL."""

    def __init__(self, url: str) -> None:
        """Take the address; each request has a connection of its own."""
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._folders: dict[str, str] = {}

    def adapters(self) -> frozenset[str]:
        """Return the names of its models that have a parent.  Raises ServerError."""
        status, told = self._ask("GET", "/v1/models", None, LIST_SECONDS)
        if status != http.client.OK:
            raise Refused(_words(status, told))
        cards = told.get("data") if isinstance(told, dict) else None
        if not isinstance(cards, list):
            raise Refused("GET /v1/models: this is no list of models")
        found = [one for one in cards if isinstance(one, dict) and _lora(one)]
        self._folders = {str(one["id"]): str(one.get("root") or "") for one in found}
        return frozenset(self._folders)

    def load(self, name: str, folder: str) -> None:
        """POST /v1/load_lora_adapter.  Raises ServerError."""
        body = {"lora_name": name, "lora_path": folder}
        status, told = self._ask("POST", "/v1/load_lora_adapter", body, LOAD_SECONDS)
        if status != http.client.OK and "already been loaded" not in _words(status, told):
            raise Refused(_words(status, told))

    def answer(self, name: str) -> None:
        """Ask for a few tokens.  Raises ServerError."""
        if found := fault(lambda path, body: self._ask("POST", path, body, ANSWER_SECONDS), name):
            raise Refused(found)

    def unload(self, name: str) -> None:
        """POST /v1/unload_lora_adapter.  Raises ServerError.

        vLLM's Rust front end (VLLM_USE_RUST_FRONTEND) cannot forget an adapter that the engine has
        put aside, to have room for others: it answers 500.  So that one is brought back first.
        """
        status, told = self._forget(name)
        if status == http.client.INTERNAL_SERVER_ERROR and self._folders.get(name):
            again = {"lora_name": name, "lora_path": self._folders[name], "load_inplace": True}
            self._ask("POST", "/v1/load_lora_adapter", again, LOAD_SECONDS)
            status, told = self._forget(name)
        if status not in {http.client.OK, http.client.NOT_FOUND}:
            raise Refused(_words(status, told))

    def _forget(self, name: str) -> tuple[int, Any]:
        body = {"lora_name": name}
        return self._ask("POST", "/v1/unload_lora_adapter", body, LOAD_SECONDS)

    def _ask(self, method: str, path: str, body: object, seconds: float) -> tuple[int, Any]:
        try:
            return exchange(self._host, self._port, method, path, body, seconds)
        except TimeoutError as error:
            raise ServerSilent(f"{method} {path}: no answer in {seconds:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(f"{method} {path}: {error}") from error


def _lora(card: dict[str, Any]) -> bool:
    return bool(card.get("id")) and card.get("parent") is not None


def _words(status: int, told: Any) -> str:
    error = told.get("error", told) if isinstance(told, dict) else told
    said = error.get("message") if isinstance(error, dict) else error
    return str(said or f"HTTP {status}").strip()[:MOST_WORDS]

"""The connection to Milvus: made at the first call, outliving restarts of the server."""

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from nexus_knowledge.errors import CollectionNotFound, VectorError, VectorsUnavailable

if TYPE_CHECKING:
    from pymilvus import MilvusClient

_NO_COLLECTION, _NOT_LOADED = 100, 101  # codes of Milvus
_NO_ANSWER = (
    "unavailable",
    "connecting to server",
    "timeout",
    "deadline",
    "retry run out",
    "closed",
)
_ATTEMPTS = 3
_FIRST_DELAY = 0.1  # seconds; doubles, with jitter
# Of its own for each client, and eager: with gRPC's shared ones a server that is back is taken for
# absent for up to two minutes.
_CHANNEL = {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.keepalive_time_ms": 330_000,  # a server takes more than one ping in five minutes amiss
}


class Connection:
    """Calls methods of pymilvus's client, with our errors.  Safe to share by threads."""

    def __init__(self, uri: str, *, timeout: float) -> None:
        """Name the server; nothing is sent yet.  ``timeout`` in seconds bounds every attempt."""
        self._uri, self._timeout = uri, timeout
        self._lock = threading.Lock()
        self._client: MilvusClient | None = None

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method, again when the server does not answer: all that we call may be repeated.

        After a restart of the server the collection, the first argument, is loaded first.
        Raises ``VectorsUnavailable`` after three attempts.
        """
        from pymilvus.exceptions import MilvusException

        for attempt in range(_ATTEMPTS):
            try:
                return self._once(method, *arguments, **options)
            except MilvusException as error:
                problem = _translated(error, self._uri)
                if not problem.transient or attempt == _ATTEMPTS - 1:
                    raise problem from error
            time.sleep(_FIRST_DELAY * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise VectorsUnavailable(f"Milvus at {self._uri} does not answer")

    def close(self) -> None:
        """Close; the next call connects again."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def _once(self, method: str, *arguments: Any, **options: Any) -> Any:
        from pymilvus.exceptions import MilvusException

        client = self._connected()
        try:
            return getattr(client, method)(*arguments, timeout=self._timeout, **options)
        except MilvusException as error:
            if error.code != _NOT_LOADED:
                raise
        client.load_collection(arguments[0], timeout=self._timeout)
        return getattr(client, method)(*arguments, timeout=self._timeout, **options)

    def _connected(self) -> "MilvusClient":
        from pymilvus import MilvusClient

        with self._lock:
            if self._client is None:
                # Its errors come to us as exceptions; its log repeats each with a traceback.
                logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
                self._client = MilvusClient(
                    uri=self._uri, timeout=self._timeout, grpc_options=_CHANNEL, dedicated=True
                )
            return self._client


def _translated(error: Any, uri: str) -> VectorError:
    text = str(error.message)
    if error.code == _NO_COLLECTION:
        return CollectionNotFound(text)
    if any(word in text.lower() for word in _NO_ANSWER):
        return VectorsUnavailable(f"Milvus at {uri} does not answer: {text}")
    return VectorError(f"Milvus refused: {text}")

"""The client of the embedding server: the same one for ingestion and for queries."""

import base64
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray

from nexus_knowledge.errors import EmbedderUnavailable, EmbeddingError

_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
_ATTEMPTS = 4
_FIRST_DELAY = 0.2  # seconds; doubles, with jitter


class EmbedderClient:
    """Embeds texts over ``POST /v1/embeddings`` (OpenAI's form).  Safe to share by threads."""

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        batch: int = 64,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        ``model`` is the embedder's name or URI, which it checks; empty takes whatever it serves.
        ``timeout`` in seconds is for one batch.
        """
        self._http = httpx.Client(
            base_url=url, timeout=httpx.Timeout(timeout, connect=5.0), transport=transport
        )
        self._model = model
        self._batch = batch
        self._sleep = sleep

    def embed(
        self, texts: Sequence[str], *, prefix: str = "", model: str = ""
    ) -> NDArray[np.float32]:
        """Return the vectors of ``texts``, in their order: float32 [n, dim].

        ``prefix`` goes before every text (a RagIndex's queryPrefix or passagePrefix); ``model``
        stands for the client's own in this call.
        Raises ``EmbeddingError`` (final: a text is too long, say) or ``EmbedderUnavailable``
        after four attempts.
        """
        batches = [
            self._request(
                [prefix + text for text in texts[first : first + self._batch]], model or self._model
            )
            for first in range(0, len(texts), self._batch)
        ]
        return np.concatenate(batches) if batches else np.zeros((0, 0), dtype=np.float32)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Use as a context that closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def _request(self, texts: list[str], model: str) -> NDArray[np.float32]:
        body = {"model": model, "input": texts, "encoding_format": "base64"}
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_FIRST_DELAY * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            try:
                answer = self._http.post("/v1/embeddings", json=body)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code == httpx.codes.OK:
                return _vectors(answer, expected=len(texts))
            problem = f"{answer.status_code}: {_message(answer)}"
            if answer.status_code not in _RETRYABLE:
                raise EmbeddingError(f"the embedder refused {len(texts)} texts: {problem}")
        raise EmbedderUnavailable(
            f"the embedder at {self._http.base_url} gave no vectors in {_ATTEMPTS} attempts; "
            f"last: {problem}"
        )


def _vectors(answer: httpx.Response, *, expected: int) -> NDArray[np.float32]:
    try:
        rows: list[dict[str, Any]] = sorted(answer.json()["data"], key=lambda row: row["index"])
        vectors = np.stack(
            [
                np.frombuffer(base64.b64decode(row["embedding"], validate=True), dtype="<f4")
                for row in rows
            ]
        ).astype(np.float32, copy=False)
    except (ValueError, KeyError, TypeError) as error:
        raise EmbeddingError(f"the embedder's answer is not in OpenAI's form: {error}") from error
    if len(vectors) != expected:
        raise EmbeddingError(f"the embedder gave {len(vectors)} vectors for {expected} texts")
    return vectors


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]

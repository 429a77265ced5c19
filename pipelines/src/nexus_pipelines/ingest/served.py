"""Whether the embedding server serves what the spec asks for, before anything is embedded."""

from typing import Any

import httpx

from nexus_api.ragindex import RagIndexSpec
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.errors import EmbedderMismatch, EmbedderNotReady

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


def check_served(key: IndexKey, spec: RagIndexSpec, url: str) -> None:
    """Compare the server's `/info` with the spec.

    Raises:
        EmbedderMismatch: names the field.
        EmbedderNotReady: no answer now.
    """
    try:
        answer = httpx.get(f"{url.rstrip('/')}/info", timeout=_TIMEOUT)
        answer.raise_for_status()
        compare(key, spec, answer.json())
    except (httpx.HTTPError, ValueError) as error:
        raise EmbedderNotReady(
            f"the embedder at {url} does not say what it serves: {error}"
        ) from error


def compare(key: IndexKey, spec: RagIndexSpec, info: dict[str, Any]) -> None:
    """Compare what a server says of itself with the spec.

    Raises:
        EmbedderMismatch: names the field.
    """
    wanted = spec.embedding
    pairs: list[tuple[str, object, object]] = [
        ("embedding.uri", wanted.uri, info["uri"]),
        ("embedding.pooling", str(wanted.pooling), info["pooling"]),
        ("embedding.normalize", wanted.normalize, info["normalize"]),
    ]
    if wanted.dimension is not None:
        pairs.append(("embedding.dimension", wanted.dimension, info["dimension"]))
    for name, asked, served in pairs:
        if asked != served:
            raise EmbedderMismatch(
                f"{key}: {name} is {asked!r}, but the embedder serves {served!r}"
            )
    if spec.chunking.max_tokens > info["max_tokens"]:
        raise EmbedderMismatch(
            f"{key}: chunking.maxTokens is {spec.chunking.max_tokens}, but the embedder takes "
            f"{info['max_tokens']} tokens at most"
        )

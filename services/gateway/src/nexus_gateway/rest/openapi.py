"""The hot path's part of the OpenAPI document: those routes are not FastAPI's."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_MESSAGE: Json = {
    "type": "object",
    "required": ["role"],
    "properties": {"role": {"type": "string"}, "content": {}},
    "additionalProperties": True,
}
_RETRIEVAL: Json = {
    "type": "object",
    "properties": {
        "mode": {"type": "string", "enum": ["dense", "bm25", "hybrid"]},
        "top_k": {"type": "integer", "minimum": 1, "maximum": 100},
    },
}
_BODIES: dict[str, tuple[str, Json]] = {
    "/v1/chat/completions": (
        "Answer a chat, from the documents of its index when the model has knowledge.",
        {
            "required": ["model", "messages"],
            "properties": {
                "model": {"type": "string"},
                "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
                "stream": {"type": "boolean", "default": False},
                "retrieval": _RETRIEVAL,
            },
        },
    ),
    "/v1/completions": (
        "Complete a text; passed on to the model.",
        {
            "required": ["model", "prompt"],
            "properties": {"model": {"type": "string"}, "prompt": {}},
        },
    ),
    "/v1/embeddings": (
        "Embed texts or token lists; passed on to the embedding server.",
        {
            "required": ["model", "input"],
            "properties": {
                "model": {"type": "string"},
                "input": {},
                "encoding_format": {"type": "string", "enum": ["float", "base64"]},
            },
        },
    ),
}


def add_hot_path(document: Json) -> Json:
    """Return the document with the hot path's routes in it."""
    for path, (summary, schema) in _BODIES.items():
        body = {"type": "object", **schema, "additionalProperties": True}
        document["paths"][path] = {
            "post": {
                "summary": summary,
                "tags": ["openai"],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": body}},
                },
                "responses": {"200": {"description": "As OpenAI's API answers."}},
            }
        }
    return document

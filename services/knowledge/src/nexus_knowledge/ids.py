"""Names that are functions of what they name, so that a retry overwrites itself."""

import base64
import hashlib
import secrets


def _digest(*parts: str) -> bytes:
    """Hash strings so that no two different tuples share their bytes (length-prefixed)."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()


def _token(*parts: str) -> str:
    return base64.b32encode(_digest(*parts)[:15]).decode().lower()


def document_id(tenant: str, index: str, path: str) -> str:
    """Return the opaque, stable id of a document: 24 characters, safe in URLs and filters."""
    return _token("document", tenant, index, path)


def chunk_id(tenant: str, index: str, document: str, generation: int, ordinal: int) -> str:
    """Return the id of a chunk; ``document`` is a document id.  Same inputs, same id."""
    return _token("chunk", tenant, index, document, str(generation), str(ordinal))


def new_collection_name(tenant: str, index: str) -> str:
    """Return a new name for a collection of an index; no two calls give the same one.

    Letters, digits and underscores only: Milvus refuses hyphens.
    """
    return f"nx_{_token('collection', tenant, index)[:16]}_{secrets.token_hex(5)}"

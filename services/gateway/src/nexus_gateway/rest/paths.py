"""Where an uploaded file goes: its document path, and the object's key.  Pure."""

from __future__ import annotations

from nexus_gateway.errors import BadRequest
from nexus_knowledge.errors import InvalidKey
from nexus_knowledge.objects import check_key


def document_path(prefix: str, name: str) -> str:
    """Return the path of an uploaded file below its index.

    Any name is data and kept as it is: quotes, line breaks, a leading dash, all of unicode.
    Raises BadRequest for one that could leave its index or name nothing.
    """
    if not name:
        raise BadRequest("a file of the upload has no name", param="files", code="invalid_path")
    path = f"{prefix.rstrip('/')}/{name}" if prefix.rstrip("/") else name
    if prefix.startswith("/") or name.startswith("/"):
        raise invalid_path(path, "it must be relative, without a slash at its beginning")
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            raise invalid_path(path, f"its part {segment!r} names no file or folder")
    return path


def object_key(key_prefix: str, path: str) -> str:
    """Return the key of a document's object.  Raises BadRequest when no object can have it."""
    try:
        return check_key(f"{key_prefix}{path}")
    except InvalidKey as error:
        raise invalid_path(path, str(error)) from None


def invalid_path(path: str, why: str) -> BadRequest:
    """Make the refusal of a path, with the reason."""
    shown = path if len(path) <= 120 else f"{path[:120]}..."  # noqa: PLR2004 - for a message
    return BadRequest(
        f"the file name {shown!r} is not accepted: {why}", param="files", code="invalid_path"
    )

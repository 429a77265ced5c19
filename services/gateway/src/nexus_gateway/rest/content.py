"""Documents sent back to browsers without harm: what a user uploaded is never run."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from typing import BinaryIO
from urllib.parse import quote

from nexus_gateway.knowledge import Knowledge

PIECE = 256 * 1024

# Shown in the browser; HTML and Markdown as their source text.  All else is downloaded.
SHOWN = {
    "pdf": "application/pdf",
    "txt": "text/plain; charset=utf-8",
    "text": "text/plain; charset=utf-8",
    "log": "text/plain; charset=utf-8",
    "md": "text/plain; charset=utf-8",
    "markdown": "text/plain; charset=utf-8",
    "htm": "text/plain; charset=utf-8",
    "html": "text/plain; charset=utf-8",
}


def content_headers(path: str) -> dict[str, str]:
    """Return the headers under which a document may be opened in a browser."""
    name = path.rpartition("/")[2]
    kind = SHOWN.get(name.rpartition(".")[2].lower())
    ascii_name = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\%' else "_"
        for c in unicodedata.normalize("NFKD", name)
    )
    how = "inline" if kind else "attachment"
    headers = {
        "content-type": kind or "application/octet-stream",
        "content-disposition": f"{how}; filename=\"{ascii_name}\"; filename*=utf-8''"
        + quote(name, safe=""),
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
        "cross-origin-resource-policy": "same-origin",
    }
    if kind != SHOWN["pdf"]:  # a sandbox keeps browsers' own PDF viewers from working
        headers["content-security-policy"] = "sandbox; default-src 'none'"
    return headers


async def pieces(knowledge: Knowledge, data: BinaryIO) -> AsyncIterator[bytes]:
    """Yield a file piece by piece, read in threads; closes it at the end."""
    try:
        while piece := await knowledge.run(lambda: data.read(PIECE)):
            yield piece
    finally:
        data.close()

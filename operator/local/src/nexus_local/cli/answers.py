"""What answers hold: one JSON object, or lines that come one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from nexus_local.cli.errors import CliError


def content(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        CliError: it is none, so another program answers there.
    """
    try:
        payload = response.json()
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise CliError(
            f"what answers at {response.url.copy_with(path='/', query=None)} is no LLMOps Nexus: "
            "another program has this address"
        )
    return payload


def lines(response: httpx.Response) -> Iterator[str]:
    """The lines of an answer as they come, parted by newlines alone.

    httpx's own `iter_lines` parts them at U+2028 and U+0085 too, which stand in JSON as they are.
    """
    rest = ""
    for piece in response.iter_text():
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield line.removesuffix("\r")
    if rest:
        yield rest

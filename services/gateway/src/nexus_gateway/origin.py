"""Which pages may talk to us: a browser sends requests that its user never meant.

Without keys, anything on the machine may ask, and so might any web page through the user's
browser.  A page of another origin is refused by the headers that browsers set themselves; a
name that was pointed at the loopback address (DNS rebinding) is refused by its Host.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from nexus_gateway.errors import Forbidden

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_origin(
    method: str, headers: Mapping[bytes, bytes], *, loopback_only: bool, allowed: frozenset[str]
) -> None:
    """Raise Forbidden when a foreign page asks, or, on loopback, for a foreign Host name."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if loopback_only and host and _name(host) not in LOOPBACK | allowed:
        raise Forbidden(
            f"this gateway answers on loopback only, not as {host!r}; "
            "NEXUS_ALLOWED_HOSTS can name further hosts",
            code="host_not_allowed",
        )
    if method in {"GET", "HEAD", "OPTIONS"}:
        return
    origin = headers.get(b"origin")
    if origin is not None and _place(origin) != host:
        raise Forbidden("a page of another origin may not send this", code="cross_origin")
    if headers.get(b"sec-fetch-site", b"none") in {b"cross-site", b"same-site"}:
        raise Forbidden("a page of another origin may not send this", code="cross_origin")


def _place(origin: bytes) -> str:
    """Return host and port of an Origin header, "" for what is no address."""
    try:
        return urlsplit(origin.decode("latin-1").lower()).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return the host's name without its port; brackets of an IPv6 address are dropped."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]

"""Who asks: API keys give tenant, roles and rate."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from nexus_gateway.errors import Forbidden, TooMany, Unauthorized

LOG = logging.getLogger(__name__)
RELOAD_SECONDS = 2.0
ROLES = frozenset({"reader", "editor", "metrics", "admin"})


class KeysError(Exception):
    """The file of API keys cannot be used; the message says what is wrong where."""


@dataclass(frozen=True)
class Principal:
    """Whoever sends a request: a tenant with roles.

    `reader` may ask, search and read; `editor` may also upload and delete; `metrics` may read
    /metrics; `admin` may do all.  `rate` is requests a minute, 0 for no limit.
    """

    tenant: str = "default"
    roles: frozenset[str] = frozenset({"admin"})
    rate: int = 0
    key: str = field(default="", repr=False)

    def require(self, role: str) -> None:
        """Raise Forbidden unless the principal holds `role`, or a role that includes it."""
        held = self.roles
        if role in held or "admin" in held or (role == "reader" and "editor" in held):
            return
        raise Forbidden(f"this API key lacks the role {role!r}")


class Keys:
    """API keys by the SHA-256 of their text, read again when their file changes.

    A file that turns bad while we run keeps the keys read before: one typo in a Secret must not
    lock everybody out, nor let everybody in.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._known: dict[str, Principal] = {}
        self._stamp: tuple[int, int] = (0, 0)
        self._looked = float("-inf")
        self._buckets: dict[str, tuple[float, float]] = {}
        if path is not None:
            self._known = read_keys(path)
            self._stamp = _stamp(path)
            self._looked = clock()

    @property
    def configured(self) -> bool:
        """Whether requests need a key at all."""
        return self._path is not None

    def identify(self, authorization: str, api_key: str = "") -> Principal:
        """Return who sends this Authorization header, or else this key, within its rate.

        The key alone is for those whose Authorization header is taken on the way: the API
        server's proxy to a Service keeps it for itself.  Raises Unauthorized, TooMany.
        """
        if self._path is None:
            return Principal()
        self._refresh()
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            key = api_key
        if not key.strip():
            raise Unauthorized(
                "an API key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
                headers={"www-authenticate": "Bearer"},
            )
        found = self._known.get(hashlib.sha256(key.strip().encode()).hexdigest())
        if found is None:
            raise Unauthorized("this API key is not known", headers={"www-authenticate": "Bearer"})
        if found.rate:
            self._spend(found)
        return found

    def _refresh(self) -> None:
        now = self._clock()
        if self._path is None or now - self._looked < RELOAD_SECONDS:
            return
        self._looked = now
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._known = read_keys(self._path)
                self._stamp = stamp
        except (KeysError, OSError) as error:
            LOG.warning("keeping the API keys read before: %s", error)

    def _spend(self, who: Principal) -> None:
        """Take one token from the key's bucket, which holds ten seconds' worth."""
        now, per_second = self._clock(), who.rate / 60
        burst = max(1.0, per_second * 10)
        level, since = self._buckets.get(who.key, (burst, now))
        level = min(burst, level + (now - since) * per_second)
        if level < 1:
            self._buckets[who.key] = (level, now)
            wait = (1 - level) / per_second
            raise TooMany(
                f"more than {who.rate} requests a minute with this API key",
                retry_after=int(wait) + 1,
            )
        self._buckets[who.key] = (level - 1, now)


def read_keys(path: Path) -> dict[str, Principal]:
    """Read `[{"hash": sha256 hex, "tenant", "roles": [..], "rate": per minute}]`.

    Raises KeysError naming the entry and the field.
    """
    try:
        entries = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise KeysError(f"the API keys file {path.name} cannot be read: {error}") from None
    if not isinstance(entries, list):
        raise KeysError(f"the API keys file {path.name} must hold a JSON list")
    keys: dict[str, Principal] = {}
    for number, entry in enumerate(entries):
        where = f"API keys file {path.name}, entry {number}"
        if not isinstance(entry, dict):
            raise KeysError(f"{where}: must be an object")
        digest, tenant = entry.get("hash"), entry.get("tenant", "default")
        roles, rate = entry.get("roles", ["reader", "editor"]), entry.get("rate", 0)
        if not isinstance(digest, str) or len(digest.removeprefix("sha256:")) != 64:  # noqa: PLR2004 - hex digits of SHA-256
            raise KeysError(f"{where}: hash must be the SHA-256 of the key, 64 hex digits")
        if not isinstance(tenant, str) or not tenant:
            raise KeysError(f"{where}: tenant must be a namespace's name")
        if not isinstance(roles, list) or not ROLES.issuperset(map(str, roles)):
            raise KeysError(f"{where}: roles must be among {', '.join(sorted(ROLES))}")
        if not isinstance(rate, int) or rate < 0:
            raise KeysError(f"{where}: rate must be a whole number of requests a minute")
        digest = digest.removeprefix("sha256:").lower()
        keys[digest] = Principal(tenant, frozenset(roles), rate, digest)
    return keys


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino

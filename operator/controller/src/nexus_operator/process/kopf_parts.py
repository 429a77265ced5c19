"""What kopf is given: our connection, and no memory, since a reconcile looks at all there is."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from nexus_operator.cluster.connection import Connection

TOKEN_FOR = timedelta(minutes=5)
"""How long kopf uses a token that was read from a file; kubelets renew it well before its end."""


def kopf_connection(connection: Connection) -> kopf.ConnectionInfo:
    """Return our connection as kopf's.  Raises ConnectionInvalid."""
    renewed = connection.token_file is not None and not connection.token
    return kopf.ConnectionInfo(
        server=connection.server,
        ca_data=_encoded(connection.ca),
        insecure=not connection.verify,
        token=connection.bearer() or None,
        certificate_data=_encoded(connection.certificate),
        private_key_data=_encoded(connection.key),
        expiration=datetime.now(UTC) + TOKEN_FOR if renewed else None,
    )


def _encoded(pem: str) -> bytes | None:
    return base64.b64encode(pem.encode("ascii")) if pem else None


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps no last-handled state: nothing is written to objects, and nothing compared."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002 - kopf's signature
        """Return nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> None:
        """Know of no earlier state."""

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Write nothing."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers."""

    def fetch(self, *, key: str, body: kopf.Body) -> None:
        """Know of no progress."""

    def store(self, **_: Any) -> None:
        """Write nothing."""

    def purge(self, **_: Any) -> None:
        """Write nothing."""

    def touch(self, **_: Any) -> None:
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return what is there: nothing of ours is in it."""
        return essence

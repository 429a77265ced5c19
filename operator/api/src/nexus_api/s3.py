"""Where S3 is, as the environment of every process says, and the client for it.

The client needs the extra ``nexus-api[s3]``; it is imported only where one is made.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from minio import Minio

ENDPOINT = "NEXUS_S3_ENDPOINT"
REGION = "NEXUS_S3_REGION"
ACCESS_KEY = "NEXUS_S3_ACCESS_KEY"
SECRET_KEY = "NEXUS_S3_SECRET_KEY"  # noqa: S105 - the name of a variable
CA_FILE = "NEXUS_S3_CA_FILE"

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0  # between two blocks that arrive
_TRIES = 4
_STATUSES = frozenset({429, 500, 502, 503, 504})
_REPEATABLE = frozenset({"HEAD", "GET", "PUT", "DELETE"})  # completing an upload is not


class S3NotConfigured(ValueError):
    """The environment does not say where S3 is or how to get in; the message names the variable."""


@dataclass(frozen=True, slots=True)
class S3Access:
    """One S3 and the credentials for it."""

    endpoint: str  # http://host:port or https://host
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    ca_file: str | None = None  # certificates to trust instead of the public ones

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "S3Access":
        """Read the variables ``NEXUS_S3_*``.  Raises ``S3NotConfigured``."""
        environ = os.environ if environ is None else environ
        values = {name: environ.get(name, "") for name in (ENDPOINT, ACCESS_KEY, SECRET_KEY)}
        missing = [name for name, value in values.items() if not value]
        if missing:
            raise S3NotConfigured(f"s3:// needs {', '.join(missing)} in the environment")
        parts = urlsplit(values[ENDPOINT])
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
            raise S3NotConfigured(
                f"{ENDPOINT} is {values[ENDPOINT]!r}; write http://host:port or https://host"
            )
        return cls(
            endpoint=values[ENDPOINT],
            access_key=values[ACCESS_KEY],
            secret_key=values[SECRET_KEY],
            region=environ.get(REGION) or "us-east-1",
            ca_file=environ.get(CA_FILE) or None,
        )

    def client(self, *, connections: int = 8) -> "Minio":
        """Make a client with timeouts and a few jittered retries; safe to share by threads.

        Raises ``S3NotConfigured`` when the file of certificates cannot be read.
        """
        import certifi
        from minio import Minio
        from urllib3 import PoolManager, Retry, Timeout

        if self.ca_file is not None and not os.access(self.ca_file, os.R_OK):
            raise S3NotConfigured(f"{CA_FILE} names {self.ca_file!r}, which cannot be read")
        parts = urlsplit(self.endpoint)
        pool = PoolManager(
            maxsize=connections,
            timeout=Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS),
            retries=Retry(
                total=_TRIES,
                read=2,
                backoff_factor=0.2,
                backoff_jitter=0.3,
                status_forcelist=_STATUSES,
                allowed_methods=_REPEATABLE,
                raise_on_status=False,
                # MinIO asks for a minute while it starts, which takes it a second or two.
                respect_retry_after_header=False,
            ),
            cert_reqs="CERT_REQUIRED",
            ca_certs=self.ca_file or certifi.where(),
        )
        return Minio(
            parts.netloc,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=parts.scheme == "https",
            region=self.region,  # known, so that no call asks the bucket for it
            http_client=pool,
        )

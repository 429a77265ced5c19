"""What of S3 a spec may name: steps read with the platform's credentials, which open all of it."""

from collections.abc import Iterable
from typing import TypedDict
from urllib.parse import urlsplit

from nexus_api.uri import parse_uri
from nexus_pipelines.errors import StepError


class Stores(TypedDict):
    """The platform's stores, by address, and buckets by name that the administrator opened."""

    bucket_url: str
    closed: list[str]
    shared: list[str]


class OutOfBounds(StepError):
    """A spec names what is another tenant's, or the platform's own."""


def check_bounds(
    field: str,
    uri: str,
    namespace: str,
    *,
    bucket_url: str,
    closed: Iterable[str],
    shared: Iterable[str],
) -> None:
    """Keep tenants apart.

    Where the platform's bucket is in S3, its credentials open no bucket that a spec names, unless
    the administrator opened that to all; a platform on files, a laptop's, has one tenant.

    Args:
        field: of the spec, for the message.
        uri: what it names; any other address than s3:// passes.
        namespace: of the job; in the platform's bucket only what lies under it may be read.
        bucket_url: the platform's bucket.
        closed: the platform's other stores, which nobody may name.
        shared: names of buckets that every tenant may read.

    Raises:
        OutOfBounds: the address lies outside.
        nexus_api.uri.BadUri: the text is no address.
    """
    address = parse_uri(uri)
    if address.scheme != "s3":
        return
    home = _place(bucket_url)
    if home and home[0] == address.name:
        allowed = "/".join(filter(None, [home[1], namespace])) + "/"
        if not address.path.startswith(allowed):
            raise OutOfBounds(
                f"{field} {uri} must lie under s3://{address.name}/{allowed} of the platform's "
                "bucket"
            )
        return
    if any(place and place[0] == address.name for place in map(_place, closed)):
        raise OutOfBounds(
            f"{field} {uri}: this bucket is the platform's own; put what you name under "
            f"{namespace}/ of the platform's bucket for documents"
        )
    if home and address.name not in shared:
        raise OutOfBounds(
            f"{field} {uri}: the platform's credentials open no bucket but its own for a spec; put "
            f"what you name under s3://{'/'.join(filter(None, home))}/{namespace}/, or ask the "
            "administrator to share the bucket (NEXUS_SHARED_BUCKETS)"
        )


def _place(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    return (parts.netloc, parts.path.strip("/")) if parts.scheme == "s3" else None

"""What of S3 a spec may name: steps read with the platform's credentials, which open all of it."""

from collections.abc import Iterable
from typing import TypedDict
from urllib.parse import urlsplit

from nexus_api.uri import parse_uri
from nexus_pipelines.errors import StepError


class Stores(TypedDict):
    """The platform's stores, by address: its bucket, and those that nobody may name."""

    bucket_url: str
    closed: list[str]


class OutOfBounds(StepError):
    """A spec names what is another tenant's, or the platform's own."""


def check_bounds(
    field: str, uri: str, namespace: str, *, bucket_url: str, closed: Iterable[str]
) -> None:
    """Keep tenants apart.

    Args:
        field: of the spec, for the message.
        uri: what it names; any other address than s3:// passes.
        namespace: of the job; in the platform's bucket only what lies under it may be read.
        bucket_url: the platform's bucket.
        closed: the platform's other stores, which nobody may name.

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
                "bucket, or in a bucket of your own"
            )
        return
    if any(place and place[0] == address.name for place in map(_place, closed)):
        raise OutOfBounds(
            f"{field} {uri}: this bucket is the platform's own; put what you name under "
            f"{namespace}/ of the platform's bucket for documents"
        )


def _place(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    return (parts.netloc, parts.path.strip("/")) if parts.scheme == "s3" else None

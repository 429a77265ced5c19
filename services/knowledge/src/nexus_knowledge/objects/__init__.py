"""Objects by key: the bucket that holds the documents.

Contract suite: tests/contract/knowledge/test_object_store.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from nexus_knowledge.errors import InvalidKey, ObjectChanged, ObjectTooLarge, UnsupportedUrl

MAX_KEY_BYTES = 1024  # the limit of S3, so that a bucket can move


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing says about one object."""

    key: str
    size: int  # bytes
    etag: str  # changes when the content changes
    modified: float  # seconds since the epoch, by the store's clock


class ObjectStore(Protocol):
    """Objects by key.  Keys are unicode; every method raises ``InvalidKey`` for a bad one."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in no promised order."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading; the caller closes it.  Raises ``ObjectNotFound``."""
        ...

    def put(self, key: str, data: BinaryIO, *, size: int | None = None) -> ObjectInfo:
        """Store ``data`` (streamed) under ``key``: all of it or nothing is seen by readers.

        ``size`` in bytes, when known, is verified: a shorter or longer stream stores nothing.
        """
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Return what a listing would say.  Raises ``ObjectNotFound``."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; deleting what is not there is fine."""
        ...


def check_key(key: str) -> str:
    """Return ``key`` when it can name an object, else raise ``InvalidKey`` that says why."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"key {key!a} holds a character that is not valid unicode") from error
    if size > MAX_KEY_BYTES:
        raise InvalidKey(f"key {key[:60]!r}... has {size} bytes; at most {MAX_KEY_BYTES} fit")
    if "\0" in key:
        raise InvalidKey(f"key {key!r} holds a NUL character")
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            raise InvalidKey(
                f"key {key!r} has the segment {segment!r}; every part between slashes needs a name"
            )
    return key


def read_listed(store: ObjectStore, key: str, *, etag: str, limit: int) -> bytes:
    """Return the content of the object that was listed with ``etag``, at most ``limit`` bytes.

    Raises ``ObjectChanged`` when the object is another one by now, before or after the read (a
    file that is still being written), ``ObjectTooLarge`` and ``ObjectNotFound``.
    """
    before = store.stat(key)
    if before.etag != etag:
        raise ObjectChanged(f"object {key!r} changed since it was listed")
    if before.size > limit:
        raise ObjectTooLarge(f"object {key!r} has {before.size} bytes; the limit is {limit}")
    with store.open(key) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ObjectTooLarge(f"object {key!r} is larger than the limit of {limit} bytes")
    if store.stat(key) != before:
        raise ObjectChanged(f"object {key!r} changed while it was read")
    return content


def open_store(url: str) -> ObjectStore:
    """Open the object store that ``url`` names: ``file:///directory`` or ``s3://bucket[/prefix]``.

    For s3:// the environment says where it is, see ``nexus_api.s3``.  Raises ``UnsupportedUrl``
    for every other scheme and for an environment that does not say it.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        from nexus_knowledge.objects.directory import DirectoryStore

        return DirectoryStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc and not (parts.query or parts.fragment):
        return _open_s3(parts.netloc, unquote(parts.path).strip("/"))
    raise UnsupportedUrl(
        f"object store {url!r} is not offered; use file:///an/absolute/directory or "
        "s3://bucket/prefix"
    )


def _open_s3(bucket: str, prefix: str) -> ObjectStore:
    from nexus_api.s3 import S3Access, S3NotConfigured
    from nexus_knowledge.objects.s3 import S3Store

    try:
        client = S3Access.from_environment().client()
    except S3NotConfigured as error:
        raise UnsupportedUrl(f"object store s3://{bucket}: {error}") from error
    return S3Store(client, bucket, f"{check_key(prefix)}/" if prefix else "")

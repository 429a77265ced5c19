"""A bucket of S3 as an object store: MinIO, or anything that speaks the same protocol.

An object's key in the bucket is the key as given, below the prefix of the store's URL, so that
every other S3 client finds it.  What a server refuses to hold (MinIO: ``a`` and ``a/b`` both
objects, a segment above 255 bytes) is refused with ``InvalidKey``.  Times are whole seconds, as
only a listing has them finer.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, cast

from minio import Minio
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from nexus_knowledge.errors import InvalidKey, ObjectNotFound, StoreUnavailable
from nexus_knowledge.objects import ObjectInfo, check_key
from nexus_knowledge.objects.s3_errors import error_of_object, typed
from nexus_knowledge.objects.s3_streams import Announced, open_reader

_PART = 8 << 20  # bytes held in memory by an upload
_log = logging.getLogger(__name__)


class S3Store:
    """Objects of one bucket below a prefix; the bucket must exist."""

    def __init__(self, client: Minio, bucket: str, prefix: str = "") -> None:
        """Make the store; nothing is asked of the server yet.  ``prefix`` ends with a slash."""
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, page by page."""
        *folders, last = prefix.split("/")
        if any(folder in {"", ".", ".."} for folder in folders) or "\0" in prefix:
            return  # no key has such a segment, and servers refuse to look
        wide = prefix[: -len(last)] if last in {".", ".."} else prefix
        try:
            with self._errors(f"list {prefix!r}"):
                yield from self._pages(wide, prefix)
        except InvalidKey:
            return  # the server holds no key that begins so

    def _pages(self, asked: str, prefix: str) -> Iterator[ObjectInfo]:
        for found in self._client.list_objects(
            self._bucket, prefix=self._prefix + asked, recursive=True
        ):
            key = (found.object_name or "")[len(self._prefix) :]
            if not key.startswith(prefix) or found.last_modified is None:
                continue
            try:
                check_key(key)
            except InvalidKey as error:
                if not key.endswith("/"):  # how S3 consoles show an empty folder
                    _log.warning("object left out of the bucket: %s", error)
                continue
            modified = float(int(found.last_modified.timestamp()))
            yield ObjectInfo(key, found.size or 0, found.etag or "", modified)

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading; the caller closes it.

        A connection that breaks is taken up again where it broke, if the object is still the same.
        """
        name = self._name(key)
        with self._errors(f"read object {key!r}", key=key):
            return open_reader(
                lambda start, headers: self._client.get_object(
                    self._bucket, name, offset=start, request_headers=headers
                ),
                lambda: self._errors(f"read object {key!r}", key=key),
            )

    def put(self, key: str, data: BinaryIO, *, size: int | None = None) -> ObjectInfo:
        """Store ``data`` under ``key``; what is larger than one part goes in several."""
        name = self._name(key)
        counted = Announced(data, key=key, size=size)
        rivals = self._rivals(key)
        with self._errors(f"store object {key!r}", key=key):
            self._client.put_object(
                self._bucket, name, cast(BinaryIO, counted),
                length=-1, part_size=_PART, num_parallel_uploads=1,
            )  # fmt: skip
        stored = self._first(key)
        if stored is None or stored.key != key:
            self.stat(key)  # ObjectNotFound: somebody has deleted it meanwhile
        elif self._lists(key, rivals):
            return stored
        self.delete(key)
        raise InvalidKey(
            f"this S3 cannot hold key {key!r}: it lists no object below another object"
        )

    def stat(self, key: str) -> ObjectInfo:
        """Return size, etag and time of an object."""
        name = self._name(key)
        with self._errors(f"look at object {key!r}", key=key):
            found = self._client.stat_object(self._bucket, name)
        if found.last_modified is None or found.size is None:
            raise StoreUnavailable(f"cannot look at object {key!r}: the answer has no size or time")
        return ObjectInfo(key, found.size, found.etag or "", found.last_modified.timestamp())

    def delete(self, key: str) -> None:
        """Delete an object; deleting what is not there is fine."""
        name = self._name(key)
        try:
            with self._errors(f"delete object {key!r}", key=key):
                self._client.remove_object(self._bucket, name)
        except (ObjectNotFound, InvalidKey):
            return  # what cannot be there is not there

    def _rivals(self, key: str) -> Sequence[str]:
        """Give objects above and below a key; MinIO takes ``a`` and ``a/b``, and lists ``a`` alone.

        A document that is not listed counts as deleted, so the second of the two is refused there.
        """
        segments = key.split("/")
        above = ("/".join(segments[:end]) for end in range(1, len(segments)))
        found = [one for one in above if self._exists(one)]
        below = self._first(f"{key}/")
        return found if below is None else [*found, below.key]

    def _lists(self, key: str, rivals: Sequence[str]) -> bool:
        """Say whether a key and its rivals are all found by a listing that begins above them."""
        if not rivals:
            return True
        wanted = {key, *rivals}
        wanted.difference_update(one.key for one in self.list(min(wanted)))
        return not wanted

    def _exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except (ObjectNotFound, InvalidKey):
            return False
        return True

    def _first(self, prefix: str) -> ObjectInfo | None:
        return next(self.list(prefix), None)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _errors(self, doing: str, *, key: str | None = None) -> AbstractContextManager[None]:
        if key is None:
            return typed(doing, self._bucket)
        return typed(
            doing, self._bucket, lambda error: error_of_object(error, key, self._lets_us_in)
        )

    def _lets_us_in(self) -> bool:
        """Tell one closed object from a store that is closed to us as a whole."""
        try:
            next(self._client.list_objects(self._bucket, prefix=self._prefix), None)
        except (MinioException, HTTPError):
            return False
        return True

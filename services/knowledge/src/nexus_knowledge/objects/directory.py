"""A directory as an object store: plain files, so that people can drop documents into it.

An object lies at the path that its key spells.  A key that the file system cannot hold there (a
segment too long, ``a`` and ``a/b`` both objects, our own folder's name) lies in ``.nexus/odd``
under the hash of its key, beside a file that holds the key.
"""

import errno
import hashlib
import io
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from nexus_knowledge.errors import (
    InvalidKey,
    ObjectError,
    ObjectNotFound,
    ObjectUnreadable,
    StoreUnavailable,
)
from nexus_knowledge.objects import ObjectInfo, check_key
from nexus_knowledge.objects.etags import EtagCache

_OWN = ".nexus"
_BLOCK = 1 << 20
_ABANDONED = 24 * 3600.0  # seconds after which a temporary file has no writer any more
_NO_ROOM = frozenset(
    {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL}
)
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_log = logging.getLogger(__name__)


class DirectoryStore:
    """Objects as files below one directory, which is made when it is missing.

    Symbolic links are never followed: they would lead out of the bucket.
    """

    def __init__(self, root: Path) -> None:
        """Open the store at ``root``.  Raises ``StoreUnavailable``."""
        with _disk(f"open the bucket {root}"):
            root.mkdir(parents=True, exist_ok=True)
            self._root = root.resolve()
            self._odd = self._root / _OWN / "odd"
            self._temporary = self._root / _OWN / "tmp"
            self._odd.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(exist_ok=True)
            self._remove_abandoned()
        self._etags = EtagCache(self._root / _OWN / "etags.db")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``."""
        self._etags.load()
        start = self._root.joinpath(*prefix.split("/")[:-1]) if "/" in prefix else self._root
        try:
            for path, key in self._files(prefix, start):
                info = self._info(path, key)
                if info is not None:
                    yield info
        finally:
            self._etags.save()

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading; the caller closes it."""
        path = self._find(key)
        with _disk(f"read object {key!r}", key=key):
            # NONBLOCK: a pipe that someone put here must not hold us.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise ObjectNotFound(f"object {key!r} does not exist")
            return os.fdopen(descriptor, "rb")

    def put(self, key: str, data: BinaryIO, *, size: int | None = None) -> ObjectInfo:
        """Store ``data`` under ``key``, on disk before the call returns."""
        check_key(key)
        temporary = self._temporary / uuid4().hex
        try:
            with _disk(f"store object {key!r}"):
                etag = _write(temporary, data, key=key, size=size)
                state = temporary.stat()
                self._move(temporary, key)
        finally:
            temporary.unlink(missing_ok=True)
        return ObjectInfo(key, state.st_size, etag, state.st_mtime)

    def stat(self, key: str) -> ObjectInfo:
        """Return size, etag and time of an object."""
        info = self._info(self._find(key), key)
        if info is None:
            raise ObjectNotFound(f"object {key!r} does not exist")
        return info

    def delete(self, key: str) -> None:
        """Delete an object; its folder stays, since people may want to drop files there."""
        check_key(key)
        plain, odd = self._plain(key), self._odd_path(key)
        with _disk(f"delete object {key!r}"):
            if _is_file(plain) and self._is_inside(plain):
                plain.unlink(missing_ok=True)
                _sync_directory(plain.parent)
            odd.unlink(missing_ok=True)
            odd.with_suffix(".key").unlink(missing_ok=True)

    def _plain(self, key: str) -> Path:
        return self._root / key

    def _odd_path(self, key: str) -> Path:
        return self._odd / hashlib.sha256(key.encode()).hexdigest()

    def _is_inside(self, path: Path) -> bool:
        """Say whether a path is what it spells: below the root, through no link, not ours."""
        return (
            path.parent.resolve() == path.parent and path.relative_to(self._root).parts[0] != _OWN
        )

    def _find(self, key: str) -> Path:
        """Return where an object lies.  Raises ``ObjectNotFound``."""
        plain = self._plain(check_key(key))
        if _is_file(plain) and self._is_inside(plain):
            return plain
        odd = self._odd_path(key)
        if _is_file(odd):
            return odd
        raise ObjectNotFound(f"object {key!r} does not exist")

    def _move(self, temporary: Path, key: str) -> None:
        """Give a finished file its place; the plain one wherever the file system allows it."""
        plain, odd = self._plain(key), self._odd_path(key)
        try:
            made = self._make_folder(plain)
            temporary.replace(plain)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._name_odd(odd, key)
            temporary.replace(odd)
            _sync_directory(self._odd)
            return
        for folder in {plain.parent, *(parent.parent for parent in made)}:
            _sync_directory(folder)
        odd.unlink(missing_ok=True)

    def _name_odd(self, odd: Path, key: str) -> None:
        """Write down whose an odd place is: at once, since a listing may read it any time."""
        named = self._temporary / uuid4().hex
        try:
            _write(named, io.BytesIO(key.encode()), key=key, size=None)
            named.replace(odd.with_suffix(".key"))
        finally:
            named.unlink(missing_ok=True)

    def _make_folder(self, plain: Path) -> set[Path]:
        """Make the folder of a plain file; return those that were new."""
        if plain.relative_to(self._root).parts[0] == _OWN:
            raise OSError(errno.EEXIST, "our own folder")
        made = {parent for parent in plain.parents if not parent.exists()}
        plain.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_inside(plain):
            raise OSError(errno.ENOTDIR, "a link is in the way")
        return made

    def _files(self, prefix: str, start: Path) -> Iterator[tuple[Path, str]]:
        """Yield the files of keys that start with ``prefix``."""
        if self._is_inside(start / "any"):
            yield from self._walk(start, prefix)
        for name in sorted(self._odd.glob("*.key")):
            # Its object may be gone, or never have come: whoever wrote or deleted it was killed.
            with suppress(OSError, UnicodeDecodeError, InvalidKey, ObjectNotFound):
                key = name.read_bytes().decode()
                # A plain file of the same key is newer: the odd place is taken only without it.
                if key.startswith(prefix) and self._find(key) == name.with_suffix(""):
                    yield name.with_suffix(""), key

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if error.errno in _ABSENT:
                return
            # An unreadable folder must not look like an emptied one.
            raise StoreUnavailable(f"cannot list {folder}: {error.strerror}") from error
        for entry in entries:
            path = Path(entry.path)
            if path == self._root / _OWN:
                continue
            key = path.relative_to(self._root).as_posix()
            if entry.is_dir(follow_symlinks=False):
                if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                    yield from self._walk(path, prefix)
            elif entry.is_file(follow_symlinks=False) and key.startswith(prefix):
                try:
                    yield path, check_key(key)
                except InvalidKey as error:
                    _log.warning("file left out of the bucket: %s", error)

    def _info(self, path: Path, key: str) -> ObjectInfo | None:
        try:
            etag, state = self._etags.etag(path)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            try:
                state = path.lstat()
            except OSError:
                return None
            # Listed all the same: a file that cannot be read is not a file that is gone.
            etag = f"unreadable-{state.st_size}-{state.st_mtime_ns}"
        return ObjectInfo(key, state.st_size, etag, state.st_mtime)

    def _remove_abandoned(self) -> None:
        for left in self._temporary.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()


def _write(path: Path, data: BinaryIO, *, key: str, size: int | None) -> str:
    """Copy a stream into a new file, down to the disk; return its etag."""
    digest = hashlib.blake2b(digest_size=16)
    written = 0
    with path.open("xb") as target:
        while block := data.read(_BLOCK):
            digest.update(block)
            written += target.write(block)
        if size is not None and written != size:
            raise ObjectError(f"object {key!r}: {written} bytes came, {size} were announced")
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise StoreUnavailable(f"cannot look at {path}: {error.strerror}") from error


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk(doing: str, *, key: str | None = None) -> Iterator[None]:
    """Turn errors of the file system into typed ones."""
    try:
        yield
    except OSError as error:
        if key is not None and error.errno in _ABSENT:
            raise ObjectNotFound(f"object {key!r} does not exist") from error
        if error.errno in {errno.EACCES, errno.EPERM} and key is not None:
            raise ObjectUnreadable(f"object {key!r} cannot be read: {error.strerror}") from error
        raise StoreUnavailable(f"cannot {doing}: {error.strerror or error}") from error

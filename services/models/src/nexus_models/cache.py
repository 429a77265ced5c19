"""The cache: fetched models and files derived from them, each complete or absent.

entries/<name>-<hash of the URI>/{manifest.json, files/…}   what was fetched
derived/<digest of the model>/<file>                        what was made from it
pins/<name>-<hash of the URI>.json                          the digest seen first
locks/…                                                     between processes
"""

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_models.errors import DigestMismatch
from nexus_models.files import (
    FileRecord,
    ModelFiles,
    describe,
    digest_of,
    from_json,
    model_root,
    onto_disk,
    record,
    refreshed,
    safe_files,
    to_json,
    write_json,
)
from nexus_models.locks import exclusive

LOCK_SECONDS = 900.0
_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """What an entry of the cache holds: where it came from and every file's hash."""

    origin: str
    files: tuple[FileRecord, ...]


class Cache:
    """Model files below one directory, shared by any number of processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, origin: str, obtain: Callable[[Path], Path]) -> ModelFiles:
        """Open the entry of a source, or obtain it first.

        Args:
            origin: the canonical URI; it names the entry.
            obtain: fills an empty directory and returns the model's directory in it.

        Raises:
            DigestMismatch: the source now gives other bytes than it gave the first time.
            ModelError: whatever `obtain` raises.
        """
        found = self._open(origin)
        if found is not None:
            return found
        with exclusive(self.root / "locks" / f"{_key(origin)}.lock", deadline=LOCK_SECONDS):
            return self._open(origin) or self._fill(origin, obtain)

    def find(self, origin: str) -> ModelFiles | None:
        """Open the entry of a source if it is there and whole; nothing is fetched."""
        return self._open(origin)

    def in_place(self, origin: str, place: Path) -> ModelFiles:
        """Open a model where it lies; only the hashes of its files go into the cache.

        Args:
            origin: the canonical URI.
            place: a directory with one model, or one weight file.
        """
        root = place.parent if place.is_file() else model_root(place, origin=origin)
        paths = [place] if place.is_file() else safe_files(root)
        note = self.root / "entries" / _key(origin) / "manifest.json"
        known = _known_hashes(note)
        files = tuple(_recorded(root, path, known) for path in paths)
        if {item.path: item for item in files} != known:
            note.parent.mkdir(parents=True, exist_ok=True)
            _remember(note, Manifest(origin, files))
        return describe(root, files, origin=origin)

    def derived(self, digest: str, name: str, build: Callable[[Path], None]) -> Path:
        """Open a file or folder made from a model, or build it first.

        Args:
            digest: the digest of the model from which the file is made.
            name: its name, which says what was made and by which version of the maker.
            build: writes it at the path that it is given.
        """
        path = self.root / "derived" / digest[:32] / name
        if path.exists():
            return path
        with exclusive(self.root / "locks" / f"{digest[:32]}.lock", deadline=LOCK_SECONDS):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                remove_strays(path.parent, ".building-")
                with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as scratch:
                    draft = Path(scratch, name)
                    build(draft)
                    onto_disk(draft)
                    draft.replace(path)
        return path

    def _open(self, origin: str) -> ModelFiles | None:
        """Open an entry if it is there and whole; a damaged one counts as absent."""
        folder = self.root / "entries" / _key(origin)
        try:
            manifest = _read(folder / "manifest.json")
            files = refreshed(folder / "files", manifest.files, origin=origin)
        except FileNotFoundError:
            return None
        except (DigestMismatch, ValueError, TypeError, KeyError) as error:
            _log.warning(
                "%s: the copy in the cache is damaged, it is fetched again: %s", origin, error
            )
            return None
        if files != manifest.files:
            _remember(folder / "manifest.json", Manifest(origin, files))
        return describe(folder / "files", files, origin=origin)

    def _fill(self, origin: str, obtain: Callable[[Path], Path]) -> ModelFiles:
        entries = self.root / "entries"
        entries.mkdir(parents=True, exist_ok=True)
        prefix = f".fetching-{_key(origin)}-"
        remove_strays(entries, prefix)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=entries) as scratch:
            source = Path(scratch, "source")
            source.mkdir()
            found = model_root(obtain(source), origin=origin)
            draft = Path(scratch, "entry")
            draft.mkdir()
            _keep_safe_files(found, draft / "files")
            files = record(draft / "files", safe_files(draft / "files"))
            describe(draft / "files", files, origin=origin)  # refuses what could not be opened
            self._pin(origin, digest_of(files))
            write_json(
                draft / "manifest.json",
                {
                    "version": _VERSION,
                    "origin": origin,
                    "files": to_json(files),
                },
            )
            folder = entries / _key(origin)
            if folder.exists():
                folder.rename(Path(scratch, "damaged"))
            draft.rename(folder)
        return describe(folder / "files", files, origin=origin)

    def _pin(self, origin: str, digest: str) -> None:
        """Trust a source's bytes on first use, and hold it to them from then on."""
        path = self.root / "pins" / f"{_key(origin)}.json"
        try:
            first = json.loads(path.read_text(encoding="utf-8"))["digest"]
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"origin": origin, "digest": digest})
            return
        if first != digest:
            raise DigestMismatch(
                f"{origin}: the source gives other bytes (digest {digest[:12]}) than the first "
                f"time (digest {first[:12]}); if the change is meant, delete {path}"
            )


def _read(path: Path) -> Manifest:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if value["version"] != _VERSION:
        raise ValueError(f"{path}: version {value['version']} is not known")
    return Manifest(origin=value["origin"], files=from_json(value["files"]))


def _known_hashes(path: Path) -> dict[str, FileRecord]:
    try:
        return {item.path: item for item in _read(path).files}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _recorded(root: Path, path: Path, known: dict[str, FileRecord]) -> FileRecord:
    """Take a file's record from an earlier look if its size and time agree, else hash it."""
    before = known.get(path.relative_to(root).as_posix())
    seen = path.stat()
    if before and (before.size, before.mtime_ns) == (seen.st_size, seen.st_mtime_ns):
        return before
    return record(root, [path])[0]


def _remember(path: Path, manifest: Manifest) -> None:
    """Write new times down, so that the next open need not hash; a read-only cache is fine."""
    try:
        write_json(
            path,
            {
                "version": _VERSION,
                "origin": manifest.origin,
                "files": to_json(manifest.files),
            },
        )
    except OSError as error:
        _log.debug("%s: not updated: %s", path, error)


def _keep_safe_files(source: Path, target: Path) -> None:
    for path in safe_files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)


def _key(origin: str) -> str:
    """Name an entry: readable first, unique by hash."""
    readable = re.sub(r"[^a-z0-9]+", "-", origin.lower()).strip("-")[:48]
    return f"{readable}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}"


def remove_strays(folder: Path, prefix: str) -> None:
    """Delete what a killed process left behind; the caller holds the lock for this prefix."""
    for stray in folder.glob(f"{prefix}*"):
        shutil.rmtree(stray, ignore_errors=True)

"""Model files on disk: which may be opened, what they are, and their digest."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from nexus_models.errors import AmbiguousModel, DigestMismatch, ModelNotFound, UnsafeModel

_BLOCK = 1 << 20

SAFE_SUFFIXES = frozenset(
    {".safetensors", ".gguf", ".onnx", ".json", ".txt", ".model", ".jinja", ".tiktoken"}
)
"""Formats that are data only. Pickles (.bin, .pt, .pkl, .ckpt) and code are never kept."""


class ModelFormat(StrEnum):
    """The format of the weights, by the file that holds them."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


_WEIGHTS = {f".{form.value}": form for form in ModelFormat}


@dataclass(frozen=True)
class FileRecord:
    """One file of a model: its POSIX path below the model's directory, and its content."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine, complete and checked.

    Attributes:
        dir: the directory that holds the weights, the tokenizer and the configuration.
        digest: sha256 (hex) over the paths and contents of all files.
        format: the format of the weights.
        weights: the weight files, absolute, in the order of their names.
        files: all files, the weights among them, absolute.
    """

    dir: Path
    digest: str
    format: ModelFormat
    weights: tuple[Path, ...]
    files: tuple[Path, ...] = ()


def is_safe(path: PurePosixPath | Path) -> bool:
    """Say whether a file of this name is data that can be opened without running code."""
    return path.suffix.lower() in SAFE_SUFFIXES


def safe_files(root: Path) -> list[Path]:
    """List the regular, safe files below `root`; links and hidden folders are left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if is_safe(path) and path.is_file() and not path.is_symlink():
                found.append(path)
    return sorted(found)


def model_root(root: Path, *, origin: str) -> Path:
    """Find the directory that holds the model: the shallowest one with weights in it.

    Raises:
        UnsafeModel: there are no weights in a safe format.
        AmbiguousModel: several directories at the same depth hold weights.
    """
    folders = {path.parent for path in safe_files(root) if path.suffix.lower() in _WEIGHTS}
    if not folders:
        formats = ", ".join(sorted(_WEIGHTS))
        raise UnsafeModel(
            f"{origin}: no weights in a safe format ({formats}) were found; "
            "pickled weights are not opened, convert them first"
        )
    depth = min(len(folder.parts) for folder in folders)
    shallowest = sorted(folder for folder in folders if len(folder.parts) == depth)
    if len(shallowest) > 1:
        names = ", ".join(str(folder.relative_to(root)) for folder in shallowest)
        raise AmbiguousModel(f"{origin}: several models were found ({names}); name one file")
    return shallowest[0]


def record(root: Path, paths: Iterable[Path]) -> tuple[FileRecord, ...]:
    """Hash files below `root`, in the order of their names."""
    return tuple(_record_one(root, path) for path in sorted(paths))


def digest_of(records: Iterable[FileRecord]) -> str:
    """Digest the contents of a model, whatever its place and times: sha256 in hex."""
    total = hashlib.sha256()
    for item in sorted(records, key=lambda item: item.path):
        total.update(f"{item.path}\0{item.size}\0{item.sha256}\n".encode())
    return total.hexdigest()


def refreshed(root: Path, records: Iterable[FileRecord], *, origin: str) -> tuple[FileRecord, ...]:
    """Check files against their records; a file whose size and time agree is not read.

    Returns:
        The records, with the times of files whose content was proven again.

    Raises:
        DigestMismatch: a file is missing or holds other bytes than were recorded.
    """
    return tuple(_refresh_one(root, item, origin) for item in records)


def describe(root: Path, records: Iterable[FileRecord], *, origin: str) -> ModelFiles:
    """Make the public value from checked records.

    Raises:
        ModelNotFound: the records hold no weights.
        AmbiguousModel: the records hold weights in more than one format.
    """
    records = tuple(records)
    weights = tuple(
        root / item.path for item in records if Path(item.path).suffix.lower() in _WEIGHTS
    )
    formats = {_WEIGHTS[path.suffix.lower()] for path in weights}
    if not weights:
        raise ModelNotFound(f"{origin}: there are no weights among its files")
    if len(formats) > 1:
        names = ", ".join(path.name for path in weights)
        raise AmbiguousModel(f"{origin}: weights in several formats ({names}); name one file")
    return ModelFiles(
        dir=root,
        digest=digest_of(records),
        format=formats.pop(),
        weights=weights,
        files=tuple(root / item.path for item in records),
    )


def to_json(records: Iterable[FileRecord]) -> list[dict[str, Any]]:
    """Write records as JSON values."""
    return [asdict(item) for item in records]


def from_json(values: Iterable[dict[str, Any]]) -> tuple[FileRecord, ...]:
    """Read records that `to_json` wrote; raises TypeError when a field is not known."""
    return tuple(FileRecord(**value) for value in values)


def sha256_of(path: Path) -> str:
    """Hash one file, a block at a time."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write a small JSON file so that a reader sees the old or the new one, never a part."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    onto_disk(scratch)
    scratch.replace(path)


def onto_disk(made: Path) -> None:
    """Have a file or folder on the disk, whose name alone will say that it is whole."""
    for path in (*made.rglob("*"), made):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _record_one(root: Path, path: Path) -> FileRecord:
    seen = path.stat()
    return FileRecord(
        path=path.relative_to(root).as_posix(),
        size=seen.st_size,
        mtime_ns=seen.st_mtime_ns,
        sha256=sha256_of(path),
    )


def _refresh_one(root: Path, item: FileRecord, origin: str) -> FileRecord:
    path = root / item.path
    try:
        seen = path.stat()
    except FileNotFoundError:
        raise DigestMismatch(f"{origin}: {path} is missing") from None
    if seen.st_size == item.size and seen.st_mtime_ns == item.mtime_ns:
        return item
    fresh = _record_one(root, path)
    if fresh.sha256 != item.sha256:
        raise DigestMismatch(
            f"{origin}: {path} holds other bytes than were recorded "
            f"(sha256 {fresh.sha256[:12]} instead of {item.sha256[:12]})"
        )
    return fresh

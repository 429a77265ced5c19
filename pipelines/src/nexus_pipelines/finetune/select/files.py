"""Training examples in a bucket: JSON Lines, read a line at a time, whatever is in them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from nexus_api.globs import selector
from nexus_api.source import BucketSource, PrefixOutsideNamespace
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectInfo, ObjectStore
from nexus_pipelines.errors import StepError, Transient
from nexus_pipelines.finetune.arguments import JobKey
from nexus_pipelines.finetune.select.examples import (
    Example,
    Malformed,
    Origin,
    Rejected,
    Source,
)
from nexus_pipelines.finetune.select.prompts import Asking
from nexus_pipelines.finetune.select.rows import LONGEST_LINE, GoldenRow, parse_row

SUFFIXES = (".jsonl", ".ndjson")
MOST_BYTES = 128 << 20  # of all files; read, they take ten times as much, and a step has 2 GiB
NAMED = 20  # rejected rows that a report names; all are counted


class GoldenSetInData(StepError):
    """A golden set lies among the files that are learnt from."""


class TooMuchData(StepError):
    """There is more to learn from than one run can look at."""


class SourceChanged(Transient):
    """An object was replaced while it was read."""


@dataclass
class Reading:
    """How rows are read, and what was read beside examples."""

    asking: Asking = field(default_factory=Asking)
    objects: list[dict[str, str]] = field(default_factory=list)
    bytes: int = 0  # of the files that are read
    rows: int = 0
    malformed: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)  # the first 20
    other_files: list[str] = field(default_factory=list)  # not read: no JSON Lines by their names


def objects(
    key: JobKey, field_name: str, source: BucketSource, bucket: ObjectStore
) -> list[ObjectInfo]:
    """List what a source names, in the order of keys.

    Raises:
        StepError: its prefix lies outside the namespace.
    """
    try:
        prefix = source.key_prefix(key.tenant, key.name)
    except PrefixOutsideNamespace as error:
        said = str(error).replace("source.", f"{field_name}.")
        raise StepError(f"{key}: {said}") from error
    belongs = selector(source.include, source.exclude)
    return sorted(
        (found for found in bucket.list(prefix) if belongs(found.key.removeprefix(prefix))),
        key=lambda found: found.key,
    )


def read(
    bucket: ObjectStore, found: list[ObjectInfo], source: Source, into: Reading
) -> Iterator[Example]:
    """Read the examples of listed objects; what is malformed is counted and located.

    Raises:
        GoldenSetInData: one of them is a golden set.
        TooMuchData: they are larger than memory can take.
        SourceChanged: one of them changed meanwhile; the step is tried again.
    """
    for one in found:
        if not one.key.lower().endswith(SUFFIXES):
            into.other_files.append(one.key)
            continue
        into.bytes += one.size
        if into.bytes > MOST_BYTES:
            raise TooMuchData(
                f"the files to learn from have more than {MOST_BYTES >> 20} MiB (up to "
                f"{one.key!r}): narrow prefix, include or exclude"
            )
        into.objects.append({"key": one.key, "etag": one.etag})
        yield from _object(bucket, one, source, into)


def bounded_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield lines without their end; None for one that is longer than any example may be."""
    while line := stream.readline(LONGEST_LINE + 1):
        if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE)
        yield None


def _object(
    bucket: ObjectStore, info: ObjectInfo, source: Source, into: Reading
) -> Iterator[Example]:
    try:
        if bucket.stat(info.key).etag != info.etag:
            raise SourceChanged(f"object {info.key!r} changed since it was listed")
        with bucket.open(info.key) as stream:
            for number, line in enumerate(bounded_lines(stream), start=1):
                yield from _row(line, source, Origin("object", info.key, info.etag, number), into)
        if bucket.stat(info.key).etag != info.etag:
            raise SourceChanged(f"object {info.key!r} changed while it was read")
    except ObjectNotFound as error:
        raise SourceChanged(f"object {info.key!r} was deleted while it was read") from error


def _row(line: bytes | None, source: Source, origin: Origin, into: Reading) -> Iterator[Example]:
    if line is not None and not line.strip():
        return
    into.rows += 1
    try:
        if line is None:
            raise Malformed("LineTooLong", f"a line has at most {LONGEST_LINE} bytes")  # noqa: TRY301 - told as the others are
        yield parse_row(line, source, origin, into.asking)
    except GoldenRow as error:
        raise GoldenSetInData(
            f"{error}: what is tested must not be learnt; move the golden set out of the prefix, "
            "or leave it out by `exclude`"
        ) from error
    except Malformed as error:
        into.malformed[error.reason] += 1
        if len(into.rejected) < NAMED:
            into.rejected.append(Rejected(origin.key, origin.line, error.reason, str(error)))

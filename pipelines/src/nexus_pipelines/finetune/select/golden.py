"""The golden set that a spec names: one JSON Lines file, at an s3:// or file:// address."""

from pathlib import Path
from typing import Unpack

from nexus_api.s3 import S3Access, S3NotConfigured
from nexus_api.uri import Uri, parse_uri
from nexus_evaluation.errors import BadGoldenSet
from nexus_evaluation.golden import GoldenSet, read
from nexus_knowledge.errors import ObjectNotFound
from nexus_models.sources.local import located
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.bounds import OutOfBounds, Stores, check_bounds

LARGEST = 64 << 20  # bytes; read, it takes half a gigabyte of the 2 GiB that a step has


class GoldenSetUnusable(StepError):
    """The golden set that the spec names cannot be used."""


def open_golden(uri: str, namespace: str, **stores: Unpack[Stores]) -> GoldenSet:
    """Read the golden set at an address.

    Args:
        uri: `s3://bucket/key` or `file:///path`.
        namespace: of the job.
        stores: of the platform, by which `check_bounds` says what may be read.

    Raises:
        GoldenSetUnusable: it is not there, too large, of no known form, or out of bounds.
        KnowledgeError: S3 does not answer.
        nexus_models.NotAllowed: this machine keeps the file closed.
    """
    address = parse_uri(uri)
    if address.scheme not in {"s3", "file"}:
        raise GoldenSetUnusable(
            f"evaluation.goldenSet {uri}: a golden set is one JSON Lines file; write "
            "s3://bucket/key or file:///path"
        )
    try:
        check_bounds("evaluation.goldenSet", uri, namespace, **stores)
    except OutOfBounds as error:
        raise GoldenSetUnusable(str(error)) from error
    content = _of_bucket(address) if address.scheme == "s3" else _of_disk(uri, address.path)
    if len(content) > LARGEST:
        raise GoldenSetUnusable(f"golden set {uri} has more than {LARGEST >> 20} MiB")
    try:
        return read(content, uri)
    except BadGoldenSet as error:
        raise GoldenSetUnusable(str(error)) from error


def _of_bucket(address: Uri) -> bytes:
    from nexus_knowledge.objects.s3 import S3Store

    try:
        store = S3Store(S3Access.from_environment().client(), address.name)
        with store.open(address.path) as stream:
            return stream.read(LARGEST + 1)
    except ObjectNotFound as error:
        raise GoldenSetUnusable(f"golden set {address} does not exist") from error
    except S3NotConfigured as error:
        raise GoldenSetUnusable(f"golden set {address}: {error}") from error


def _of_disk(uri: str, path: str) -> bytes:
    place: Path = located(path)
    try:
        with place.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise GoldenSetUnusable(f"golden set {uri} cannot be read: {error.strerror}") from error

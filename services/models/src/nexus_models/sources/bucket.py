"""s3:// models: a folder, or one weight file, of a bucket, data files only.

A mirror has a record of its files' digests beside them (``RECORD``); then every byte is held
against it.  Without one, the first look is trusted and pinned, as with every other source.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nexus_api.s3 import S3Access, S3NotConfigured
from nexus_models.errors import (
    DigestMismatch,
    FetchFailed,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
)
from nexus_models.files import FileRecord, digest_of, is_safe, sha256_of

if TYPE_CHECKING:
    from minio import Minio
    from minio.datatypes import Object

RECORD = "nexus-model.json"
_BLOCK = 1 << 20
_BREAKS = 5  # broken connections that the download of one file survives
_CLOSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_FIRST_SERVER_ERROR = 500


def obtain(bucket: str, path: str, into: Path, *, environ: Mapping[str, str] | None = None) -> Path:
    """Download a model into an empty directory and return that directory.

    Args:
        bucket: its name.
        path: a folder of the bucket, or one weight file in a safe format.
        into: where to.
        environ: `NEXUS_S3_*` in it says where S3 is; the process's own by default.

    Raises:
        ModelNotFound: no such bucket or folder.
        UnsafeModel: the one file that is named is in no safe format.
        NotAllowed: the environment names no S3, or S3 refuses the credentials.
        DigestMismatch: a file is not the one that the mirror's record names.
        FetchFailed: S3 does not answer, or the files change under the download.
    """
    origin = f"s3://{bucket}/{path}"
    with _errors(origin):
        client = S3Access.from_environment(environ).client()
        folder, wanted = _listed(client, bucket, path.rstrip("/"), origin)
        recorded = _record(client, bucket, folder)
        for name, found in wanted.items():
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(client, bucket, found, target)
            _check(target, recorded.get(name), origin)
    missing = sorted(set(recorded) - set(wanted))
    if missing and folder.rstrip("/") == path.rstrip("/"):
        raise DigestMismatch(f"{origin}: the mirror lacks {missing[0]}; make the mirror anew")
    return into


def mirror(root: Path, records: Sequence[FileRecord], bucket: str, path: str) -> bool:
    """Copy a model's files into a bucket, its record last; False when that very model is there.

    Args:
        root: the directory of the files.
        records: the files, with their hashes.
        bucket: its name; it must exist.
        path: the folder in it.

    Raises:
        ModelError: as `obtain`.
    """
    folder = f"{path.strip('/')}/"
    origin = f"s3://{bucket}/{folder}"
    files = {item.path: item.sha256 for item in records}
    with _errors(origin):
        client = S3Access.from_environment().client()
        if _record(client, bucket, folder) == files:
            return False
        for item in records:
            client.fput_object(bucket, folder + item.path, str(root / item.path))
        text = json.dumps({"digest": digest_of(records), "files": files}, indent=1).encode()
        client.put_object(bucket, folder + RECORD, io.BytesIO(text), len(text))
    return True


def _listed(
    client: "Minio", bucket: str, path: str, origin: str
) -> tuple[str, dict[str, "Object"]]:
    """Find the folder of a model and its files by their names in it."""
    place = PurePosixPath(path)
    named = any(one.object_name == path for one in client.list_objects(bucket, prefix=path))
    if named and not is_safe(place):
        raise UnsafeModel(
            f"{origin}: a {place.suffix or 'nameless'} file cannot be opened without running "
            "code; use safetensors, gguf or onnx"
        )
    folder = path[: -len(place.name)] if named else f"{path}/"
    found = {}
    for one in client.list_objects(bucket, prefix=path if named else folder, recursive=True):
        name = PurePosixPath((one.object_name or "")[len(folder) :])
        if named and one.object_name != path:
            continue
        if is_safe(name) and str(name) != RECORD and not {"..", "/"} & set(name.parts):
            found[str(name)] = one
    if not found:
        raise ModelNotFound(f"{origin}: there is no file in a safe format in the bucket")
    return folder, found


def _record(client: "Minio", bucket: str, folder: str) -> dict[str, str]:
    """Read the hashes that a mirror names; empty when the folder is no mirror."""
    from minio.error import S3Error

    try:
        answer = client.get_object(bucket, folder + RECORD)
    except S3Error as error:
        if error.code == "NoSuchKey":
            return {}
        raise
    try:
        return {str(name): str(value) for name, value in json.loads(answer.data)["files"].items()}
    except (ValueError, KeyError, AttributeError) as error:
        raise DigestMismatch(f"s3://{bucket}/{folder}{RECORD} cannot be read: {error}") from error
    finally:
        answer.close()
        answer.release_conn()


def _download(client: "Minio", bucket: str, found: "Object", target: Path) -> None:
    """Copy one object; a broken connection is taken up where it broke, of the same content.

    Raises:
        FetchFailed: what comes is not as long as the listing says.
    """
    from urllib3.exceptions import HTTPError

    name, size, breaks = found.object_name or "", found.size or 0, 0
    with target.open("wb") as stream:
        while (done := stream.tell()) < size:
            answer = client.get_object(
                bucket, name, offset=done, request_headers={"If-Match": found.etag or ""}
            )
            try:
                for block in answer.stream(_BLOCK):
                    stream.write(block)
            except HTTPError:
                breaks += 1
                if breaks > _BREAKS:
                    raise
            else:
                if stream.tell() == done:
                    raise FetchFailed(f"s3://{bucket}/{name}: nothing comes after byte {done}")
            finally:
                answer.close()
                answer.release_conn()
        if done != size:
            raise FetchFailed(f"s3://{bucket}/{name} came damaged, {done} bytes instead of {size}")


def _check(file: Path, recorded: str | None, origin: str) -> None:
    if recorded is not None and sha256_of(file) != recorded:
        raise DigestMismatch(
            f"{origin}: {file.name} is not the file that the mirror's record names"
        )


@contextmanager
def _errors(origin: str) -> Iterator[None]:
    """Turn what the client raises into typed errors."""
    from minio.error import MinioException, S3Error
    from urllib3.exceptions import HTTPError

    try:
        yield
    except S3NotConfigured as error:
        raise NotAllowed(f"{origin}: {error}") from error
    except S3Error as error:
        said = f"{error.code}: {error.message}"
        if error.code in {"NoSuchBucket", "NoSuchKey"}:
            raise ModelNotFound(f"{origin}: {said}") from error
        if error.code in _CLOSED:
            raise NotAllowed(f"{origin}: S3 refuses ({said})") from error
        raise FetchFailed(f"{origin}: S3 refuses ({said})") from error
    except (MinioException, HTTPError, OSError) as error:
        raise FetchFailed(f"{origin}: the download from S3 failed: {error}") from error

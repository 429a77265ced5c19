"""What an S3 server's refusals mean to us."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError

from nexus_knowledge.errors import (
    BucketNotFound,
    InvalidKey,
    ObjectChanged,
    ObjectError,
    ObjectNotFound,
    ObjectUnreadable,
    StoreRefused,
    StoreUnavailable,
)

_UNSTORABLE = frozenset(
    {
        "InvalidObjectName", "KeyTooLongError", "XMinioInvalidObjectName", "XMinioParentIsObject",
        "XMinioObjectExistsAsDirectory", "XMinioInvalidResourceName",
    }
)  # fmt: skip
_LOCKED_OUT = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "InvalidTokenId"}
)
_PASSING = frozenset(
    {
        "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted",
        "XMinioServerNotInitialized", "NoSuchUpload",
    }
)  # fmt: skip
_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
_FIRST_SERVER_ERROR = 500


Explain = Callable[[S3Error], ObjectError | None]


@contextmanager
def typed(doing: str, bucket: str, of_object: Explain | None = None) -> Iterator[None]:
    """Turn errors of the client into ours; ``of_object`` explains those of one object."""
    try:
        yield
    except S3Error as error:
        explained = _of_store(error, doing, bucket)
        if explained is None and of_object is not None:
            explained = of_object(error)
        raise explained or StoreRefused(
            f"cannot {doing} in bucket {bucket!r}: {_said(error)}"
        ) from error
    except ValueError as error:  # a name that the client itself takes for none of a bucket
        raise StoreRefused(f"cannot {doing}: {error}") from error
    except (ServerError, InvalidResponseError) as error:
        raise StoreUnavailable(f"cannot {doing}: {error}") from error
    except (HTTPError, MinioException) as error:
        reason = error.reason if isinstance(error, MaxRetryError) else error
        raise StoreUnavailable(f"cannot {doing}: S3 does not answer: {reason}") from error


def _of_store(error: S3Error, doing: str, bucket: str) -> ObjectError | None:
    """Explain what concerns the whole store, whatever object was asked for; else None."""
    if error.code == "NoSuchBucket":
        return BucketNotFound(
            f"cannot {doing}: bucket {bucket!r} does not exist; make it, for instance by "
            "`nexus-pipelines make-buckets`"
        )
    if error.code in _LOCKED_OUT:
        return StoreRefused(
            f"cannot {doing}: S3 refuses the credentials or the clock ({_said(error)})"
        )
    if error.code in _PASSING or error.response.status >= _FIRST_SERVER_ERROR:
        return StoreUnavailable(f"cannot {doing}: {_said(error)}")
    if error.code in _UNSTORABLE:
        return InvalidKey(f"cannot {doing}, this S3 cannot hold such a key: {_said(error)}")
    return None


def error_of_object(error: S3Error, key: str, lets_us_in: Callable[[], bool]) -> ObjectError | None:
    """Explain what concerns one object; ``lets_us_in`` says whether the bucket is open at all."""
    if error.code in _ABSENT:
        return ObjectNotFound(f"object {key!r} does not exist")
    if error.code == "PreconditionFailed":
        return ObjectChanged(f"object {key!r} changed while it was read")
    if error.code in {"AccessDenied", "BadRequest"} and lets_us_in():
        if error.code == "AccessDenied":
            return ObjectUnreadable(f"object {key!r} may not be touched: {_said(error)}")
        # An answer to HEAD has no body that could say what is bad; here it is the key.
        return InvalidKey(f"this S3 cannot hold key {key!r}: {_said(error)}")
    return None


def _said(error: S3Error) -> str:
    return f"{error.code}: {error.message}"

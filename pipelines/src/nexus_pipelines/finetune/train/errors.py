"""What training can fail with, each readable by who started it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from nexus_pipelines.errors import StepError, Transient

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "cublas_status_alloc_failed",
)
# CUDA's own words for what another GPU, or this one later, would not say.
# https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html
_GPU_FAILED = (
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "busy or unavailable",
    "system not yet initialized",
)
_GPU_UNKNOWN = "no kernel image is available"
_NO_PRODUCT = "could not create a primitive"  # all that oneDNN says when it finds no memory


class BaseUnusable(StepError):
    """The base model cannot be tuned here; the message says why."""


class NothingToLearn(StepError):
    """No example is left to train on."""


class LossNotFinite(StepError):
    """The loss or its gradient became NaN or infinite."""


class DiskFull(StepError):
    """There is no room for what has to be written; nothing half-written counts."""


class OutOfMemory(StepError):
    """The model, its examples and their gradients do not fit into memory."""


class GpuUnusable(StepError):
    """The GPU is none that this build of torch computes on, or one that torch does not see."""


class GpuFailed(Transient):
    """The GPU broke, or another process holds it; the step may run elsewhere or later."""


class LibraryMissing(StepError):
    """Training's libraries are not installed beside this program."""


class Interrupted(Transient):
    """The step was asked to end; it goes on from its checkpoint when it is run again."""


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turn a full disk, a broken GPU, and what lacks into errors that say what to do."""
    try:
        yield
    except StepError:
        raise
    except ModuleNotFoundError as error:
        raise LibraryMissing(
            f"training needs {error.name}, which is not installed here: install what it needs by "
            "`make training`, or `nexus-pipelines[train]` beside the platform"
        ) from error
    except Exception as error:
        if (reason := _no_room(error)) is not None:
            raise DiskFull(
                f"the disk is full ({reason}); give the step's scratch folder (TMPDIR), the model "
                "cache or the work store more room, then start another run: it begins anew, for a "
                "checkpoint belongs to its run, and a full disk ends that"
            ) from error
        if _no_memory(error):
            raise OutOfMemory(
                f"out of memory ({_first_line(error)}); use a resource profile with more memory "
                "(spec.lora.profile), shorter examples (spec.lora.sequenceTokens), a base in 4 "
                "bits (spec.lora.quantization) or a smaller base model"
            ) from error
        if (of_gpu := _gpu(error)) is not None:
            raise of_gpu from error
        raise


def gpu_unseen(gpus: int, error: Exception) -> StepError:
    """Say what it means that torch found none of a pod's GPUs; `error` is what torch said."""
    return _gpu(error) or GpuUnusable(
        f"the pod holds {gpus} GPU{'s' if gpus > 1 else ''}, but torch sees none "
        f"({_first_line(error)}); use a trainer image whose torch was built for this GPU, a node "
        "whose driver is new enough for it, or a resource profile without GPUs (spec.lora.profile)"
    )


def _no_room(error: BaseException | None) -> str | None:
    """Find a full disk in an error or in what caused it; Rust's libraries tell only in words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return error.strerror or "no room"
        text = str(error)
        if any(f"os error {number})" in text for number in _NO_ROOM):
            return _first_line(error)
        error = error.__cause__ or error.__context__
    return None


def _no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).strip().lower()
    return isinstance(error, RuntimeError) and (
        said == _NO_PRODUCT or any(words in said for words in _NO_MEMORY)
    )


def _gpu(error: Exception) -> StepError | None:
    """Say what a GPU's failure means; None for a mistake of the program, and all else."""
    if not isinstance(error, RuntimeError):
        return None
    said, first = str(error).lower(), _first_line(error)
    if _GPU_UNKNOWN in said:
        return GpuUnusable(
            f"the installed torch cannot compute on this GPU ({first}); use a resource profile "
            "with another GPU or none (spec.lora.profile)"
        )
    if any(words in said for words in _GPU_FAILED):
        return GpuFailed(
            f"the GPU failed ({first}); run again, the step goes on from its checkpoint"
        )
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

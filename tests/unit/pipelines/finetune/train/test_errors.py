"""What training says when it cannot."""

import sys

import pytest

from nexus_pipelines.finetune.train.errors import (
    GpuFailed,
    GpuUnusable,
    LibraryMissing,
    OutOfMemory,
    readable_failures,
)


def test_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with (
        pytest.raises(LibraryMissing, match=r"needs torch, .*`make training`"),
        readable_failures(),
    ):
        import torch  # noqa: F401


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 21.95 GiB",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_a_gpu_without_room_is_out_of_memory_and_told_of_four_bits(said: str) -> None:
    with pytest.raises(OutOfMemory, match=r"spec\.lora\.quantization"), readable_failures():
        raise RuntimeError(said)


def test_a_gpu_that_this_torch_was_not_built_for_is_final() -> None:
    said = "CUDA error: no kernel image is available for execution on the device\nFor debugging"
    with (
        pytest.raises(GpuUnusable, match=r"no kernel image .*spec\.lora\.profile") as raised,
        readable_failures(),
    ):
        raise RuntimeError(said)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: uncorrectable NVLink error detected during the execution",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: system not yet initialized",
    ],
)
def test_a_broken_or_busy_gpu_is_left_and_the_step_tried_again(said: str) -> None:
    with (
        pytest.raises(GpuFailed, match="goes on from its checkpoint") as raised,
        readable_failures(),
    ):
        raise RuntimeError(said)
    assert raised.value.exit_code == 75


def test_what_is_wrong_in_the_program_is_not_tried_again() -> None:
    said = "CUDA error: device-side assert triggered"
    with pytest.raises(RuntimeError, match=said), readable_failures():
        raise RuntimeError(said)

"""What is chosen by the hardware: device, number format, where dropout's masks come from."""

from __future__ import annotations

import pytest
import torch

from nexus_pipelines.finetune.train import machine
from nexus_pipelines.finetune.train.dropout import DeviceMasks, Dropout, HostMasks, Masks
from nexus_pipelines.finetune.train.errors import GpuFailed, GpuUnusable


@pytest.mark.parametrize(("there", "where"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, where: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert machine.device() == where


def without_a_gpu(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Have torch say why it has none, as its builds for CUDA and for CPUs do."""

    def init() -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "init", init)


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("Torch not compiled with CUDA enabled"),
        RuntimeError("No CUDA GPUs are available"),
        RuntimeError("The NVIDIA driver on your system is too old (found version 12020)."),
    ],
)
def test_a_gpu_that_the_pod_holds_and_torch_cannot_see_is_final(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    without_a_gpu(monkeypatch, error)
    with pytest.raises(GpuUnusable, match=r"torch sees none .*spec\.lora\.profile") as raised:
        machine.expect_gpu(1)
    assert str(error) in str(raised.value)
    assert raised.value.exit_code == 1


def test_a_gpu_that_is_not_ready_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized"
    without_a_gpu(monkeypatch, RuntimeError(said))
    with pytest.raises(GpuFailed, match="not yet initialized"):
        machine.expect_gpu(1)


def test_a_pod_with_several_gpus_needs_to_see_the_one_that_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    machine.expect_gpu(2)


def test_where_no_gpu_is_told_none_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_gpu(monkeypatch, AssertionError("it was asked"))
    machine.expect_gpu(0)


@pytest.mark.parametrize(("real", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_that_emulates_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, real: bool, dtype: torch.dtype
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or real

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert machine.dtype("cuda") == dtype


@pytest.mark.parametrize("fast", [True, False])
def test_a_cpu_computes_in_bfloat16_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert machine.dtype("cpu") == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize("masks", [HostMasks(0.25), DeviceMasks(0.25, "cpu")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_keep_their_share_and_follow_from_the_seed(masks: Masks, dtype: torch.dtype) -> None:
    values = torch.zeros(40, 250, dtype=dtype)
    drawn = []
    for parts in ((1, 2, 3), (1, 2, 4), (1, 2, 3)):
        masks.seed(*parts)
        drawn.append(masks.draw(values))
    one, other, again = drawn
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert (one.shape, one.dtype) == (values.shape, values.dtype)
    assert float((one == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert one.max().float() == pytest.approx(4 / 3, rel=0.01)
    assert not torch.equal(one, masks.draw(values))  # the next of the sequence is another


@pytest.mark.parametrize("masks", [HostMasks(1.0), DeviceMasks(1.0, "cpu")])
def test_a_share_of_one_drops_everything(masks: Masks) -> None:
    masks.seed(0)
    assert not masks.draw(torch.ones(8)).any()


def test_layers_that_read_the_same_input_share_a_mask() -> None:
    dropout, values = Dropout(0.5), torch.ones(64)
    assert dropout.mask(values) is None
    dropout.seed(1)
    assert dropout.mask(values) is dropout.mask(values)
    dropout.off()
    assert dropout.mask(values) is None

"""A base in 4 bits: bitsandbytes for real, on the CPU, as it would be on a GPU."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from training_world import StepWorld, rows

from nexus_pipelines.finetune.train.base import Base
from nexus_pipelines.finetune.train.examples import Example, encode_all
from nexus_pipelines.finetune.train.model import Tuned


def opened(base: Base, quantization: str, dtype: Any) -> tuple[Tuned, list[Example]]:
    tuned = Tuned.open(
        base, r=4, alpha=8, dropout=0.0, target="all", dtype=dtype, where="cpu",
        quantization=quantization,
    )  # fmt: skip
    tuned.adapter.start(0)
    tuned.adapter.weights += 0.05  # at zero B hides what A does
    return tuned, encode_all(rows(6), base.tokenizer(), longest=256).examples


def loss_and_gradient(tuned: Tuned, examples: list[Example]) -> tuple[float, Any]:
    tuned.adapter.gradients.zero_()
    loss = tuned.loss(examples)
    loss.backward()
    return float(loss.detach()), tuned.adapter.gradients.clone()


def weights_written_out(tuned: Tuned) -> None:
    """Put plain layers of the rounded weights in the place of those in 4 bits."""
    for layer in tuned.model.modules():
        if hasattr(layer, "base"):
            plain = torch.nn.Linear(layer.base.in_features, layer.base.out_features, bias=False)
            dense = layer._weight(torch.float32)
            plain.weight = torch.nn.Parameter(dense, requires_grad=False)
            layer.base, layer._weight = plain, lambda _dtype, kept=dense: kept


@pytest.fixture
def base(tiny: Any) -> Base:
    return Base(tiny, "digest", f"file://{tiny}", "")


def test_loss_and_gradient_are_those_of_the_rounded_weights(base: Base) -> None:
    tuned, examples = opened(base, "NF4", torch.float32)
    packed = [one for one in tuned.model.parameters() if one.dtype == torch.uint8]
    assert len(packed) == 14  # seven layers twice
    loss, gradient = loss_and_gradient(tuned, examples)
    weights_written_out(tuned)
    wanted, direction = loss_and_gradient(tuned, examples)
    assert loss == pytest.approx(wanted, rel=1e-6)
    torch.testing.assert_close(gradient, direction, rtol=1e-5, atol=1e-6)
    plain, _ = opened(base, "asIs", torch.float32)
    assert loss_and_gradient(plain, examples)[0] != pytest.approx(loss, rel=1e-4)


def test_a_step_learns_on_a_base_in_four_bits_and_says_so(world: StepWorld) -> None:
    world.lora |= {"quantization": "NF4", "epochs": 4}
    assert world.train() == 0
    details = world.details()
    assert details["heldoutLosses"][-1]["loss"] < 0.8 * details["heldoutLosses"][0]["loss"]
    assert details["base"]["quantization"] == details["lora"]["quantization"] == "NF4"
    assert "bitsandbytes" in details["libraries"]
    kept = world.adapter()
    assert {one.dtype for one in kept.values()} == {torch.float32}
    world.lora |= {"quantization": "asIs"}
    assert world.train() == 0  # other inputs: trained anew
    assert world.details()["base"]["quantization"] == "asIs"
    assert any(not torch.equal(kept[name], one) for name, one in world.adapter().items())


def test_what_quantises_is_asked_for_when_it_is_not_there(
    world: StepWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    world.lora |= {"quantization": "NF4"}
    assert world.train() == 1
    assert "training needs bitsandbytes, which is not installed here" in capsys.readouterr().err
    world.lora |= {"quantization": "asIs"}
    assert world.train() == 0  # nobody else imports it

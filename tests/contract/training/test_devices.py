"""A step of training where tensors live elsewhere than on the CPU: none may be left behind there.

No GPU is needed: torch's `meta` device has shapes and no numbers, and refuses, as a GPU does,
products of its tensors with the CPU's.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_world import rows

from nexus_pipelines.finetune.train import dropout
from nexus_pipelines.finetune.train.attention import Packed
from nexus_pipelines.finetune.train.base import Base
from nexus_pipelines.finetune.train.examples import encode_all
from nexus_pipelines.finetune.train.model import Tuned
from nexus_pipelines.finetune.train.optimiser import AdamW


@pytest.fixture(autouse=True)
def generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` has no generator of random numbers, and takes the CPU's."""
    masks = dropout.DeviceMasks
    monkeypatch.setattr(dropout, "DeviceMasks", lambda share, _where: masks(share, "cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_gradient_and_step_are_computed_where_the_model_lives(
    tiny: Path, dtype: torch.dtype
) -> None:
    base = Base(tiny, "digest", f"file://{tiny}", "")
    examples = encode_all(rows(6), base.tokenizer(), longest=256).examples
    tuned = Tuned.open(base, r=4, alpha=8, dropout=0.1, target="all", dtype=dtype, where="meta")
    tuned.adapter.start(0)
    tuned.adapter.dropout.seed(0, 1, 2)
    optimiser = AdamW(tuned.adapter.weights, tuned.adapter.gradients)

    loss = tuned.loss(examples)
    loss.backward()
    optimiser.step(0, 1e-3)

    of_adapter = (tuned.adapter.weights, tuned.adapter.gradients, optimiser.first, optimiser.second)
    assert {one.device.type for one in (loss, *of_adapter)} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):
        loss + torch.ones(3)  # what this test relies on


@pytest.mark.parametrize("window", [None, 4])
def test_attention_brings_its_mask_to_where_the_tokens_are(window: int | None) -> None:
    packed = Packed()
    packed.lengths = (9, 3)
    query = torch.zeros(1, 4, 12, 8, device="meta", requires_grad=True)
    key, value = (torch.zeros(1, 2, 12, 8, device="meta") for _ in range(2))
    found, _ = packed(None, query, key, value, None, sliding_window=window)
    assert (found.device.type, found.shape) == ("meta", (1, 12, 4, 8))
    found.sum().backward()
    assert query.grad is not None

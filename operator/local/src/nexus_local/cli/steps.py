"""A pipeline command, run on this machine's stores for a person.

The control plane knows Kubernetes objects only; what reads results, answers and the registry is
the program that the platform's own steps run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.target import Target
from nexus_local.node.container import passed_on
from nexus_local.platform.layout import default_model_cache, registry

PROGRAM = "nexus-pipelines"
_USAGE = 2
_TRACKING = "NEXUS_TRACKING_URL"


def run_step(
    target: Target, step: str, *words: str, out: str = "", keep: Sequence[str] = ()
) -> Any:
    """Run a pipeline command to its end; what it tells on the way goes to standard error.

    Args:
        target: whose data directory is read.
        step: the command's name.
        words: its arguments.
        out: the option that names its JSON output; empty when it has none.
        keep: variables of this process that it is to see, beside those of every step.

    Returns what it wrote to the file that `out` names, else None.

    Raises:
        UsageError: the target is a cluster, or an argument makes no sense.
        CliError: it failed; says what it said.
    """
    with tempfile.TemporaryDirectory(prefix="nexus-") as scratch:
        told = Path(scratch) / "out.json"
        words = (step, *words, *([f"{out}={told}"] if out else []))
        command = [str(Path(sys.executable).parent / PROGRAM), *words]
        environment = {**passed_on(os.environ), **places(target, step, keep)}
        try:
            with subprocess.Popen(
                command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
            ) as child:
                said = _listened(child, step)
        except OSError as error:
            raise CliError(f"{command[0]}: {error.strerror}; `nexus doctor` helps") from error
        if child.returncode:
            raise (UsageError if child.returncode == _USAGE else CliError)(said or f"{step} failed")
        return json.loads(told.read_text(encoding="utf-8")) if out else None


def _listened(child: subprocess.Popen[str], step: str) -> str:
    """Hand on what a command says while it runs; return the sentence that it ended with."""
    prefix = f"{PROGRAM} {step}: "
    said = last = ""
    for line in child.stderr or ():
        if line.startswith(prefix):
            said = line.removeprefix(prefix).removeprefix("error: ").strip()
            continue
        sys.stderr.write(line)
        last = line.strip() or last
    return said or last


def places(target: Target, step: str, keep: Sequence[str]) -> dict[str, str]:
    """Return where the stores are; NEXUS_TRACKING_URL may name another MLflow.

    Of a platform elsewhere there is nothing but that MLflow.  `keep` as in `run_step`.

    Raises:
        UsageError: the target is a cluster's context.
        CliError: no platform is here, and no MLflow is named.
    """
    if target.context is not None:
        raise UsageError(
            f"{step} works on the stores of this machine's platform, not through --context: "
            "docs/how-to/experiments.md#on-a-cluster says how it is done on a cluster"
        )
    tracking = {name: os.environ[name] for name in (_TRACKING,) if os.environ.get(name)}
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    layout = target.layout()
    if tracking and (_elsewhere(target) or not layout.objects.exists()):
        return {**tracking, **kept}
    if not layout.objects.exists():
        raise CliError(
            f"{layout.root} holds no platform: start one with `nexus up`, or name its data "
            "directory (--data-dir)"
        )
    return {
        "NEXUS_BUCKET_URL": layout.bucket.as_uri(),
        "NEXUS_WORK_URL": layout.work.as_uri(),
        "NEXUS_MODELS_URL": layout.models.as_uri(),
        "NEXUS_LEDGER_URL": f"sqlite:///{layout.ledger}",
        "NEXUS_MODEL_CACHE": str(default_model_cache()),
        _TRACKING: f"sqlite:///{layout.tracking}",
        **tracking,
        **kept,
    }


def _elsewhere(target: Target) -> bool:
    """Whether the address is that of a platform whose files are not on this machine."""
    return bool(target.url) and target.data_dir is None and not registry(target.url or "").exists()

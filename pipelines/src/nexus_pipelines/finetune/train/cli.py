"""`nexus-pipelines finetune-train`: a LoRA adapter from the run's selection."""

import argparse
import math
import os
import platform
import signal
import tempfile
import threading
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_pipelines.arguments import write_output
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import (
    add_production,
    add_run,
    job_settings,
    production_unit,
    run_store,
)
from nexus_pipelines.finetune.evaluate.bases import servable_base
from nexus_pipelines.finetune.evaluate.core import candidate_unit
from nexus_pipelines.finetune.store import FineTuneStore, compact, inputs_digest
from nexus_pipelines.finetune.train import machine
from nexus_pipelines.finetune.train.errors import NothingToLearn, readable_failures
from nexus_pipelines.finetune.train.progress import Progress

_STEP = "train"
_MAKER = 2
"""Rises when the same inputs would train another adapter."""
_GPUS = "NEXUS_GPUS"
"""Tells the GPUs where no argument does: a trainer of an older release would refuse an argument."""
_LIBRARIES = ("torch", "transformers", "safetensors", "tokenizers", "numpy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    add_run(parser)
    add_production(parser)
    parser.add_argument("--training-out", required=True, help="file for the outcome, JSON")
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=5.0,
        help="minutes between checkpoints; 0 writes one after every step",
    )
    parser.add_argument(
        "--gpus",
        type=int,
        default=os.environ.get(_GPUS, "0"),
        help=f"that the pod holds: with any, nothing is trained on the CPU; ${_GPUS}, or 0",
    )


def run(args: argparse.Namespace) -> None:
    """Do the step; what is done already, with the same inputs, is only told again."""
    environment, spec = Environment(), job_settings(args)
    unit = candidate_unit(spec, production_unit(args), "0" * 64)  # of what is to be trained
    store = run_store(args, environment)
    with readable_failures():
        selection = store.json("select/selection.json")
        inputs = inputs_digest(
            maker=_MAKER,
            base=spec.base_model.model_dump(mode="json"),
            lora=_lora_inputs(spec),
            selection=selection,
        )
        outcome = store.outcome(_STEP, inputs)
        if outcome is None:
            machine.expect_gpu(args.gpus)
            cache, minutes = environment.model_cache, args.checkpoint_minutes
            # What could not be measured afterwards need not be trained.
            servable_base(unit, cache, Progress(0, file="").say)
            outcome = _train(store, spec, cache, inputs, minutes=minutes)
            store.finish(_STEP, inputs, outcome)
    write_output(args.training_out, compact(outcome))


def _train(
    store: FineTuneStore, spec: FineTuneJobSpec, cache: Path, inputs: str, *, minutes: float
) -> dict[str, Any]:
    import torch

    from nexus_pipelines.finetune.train.base import open_base
    from nexus_pipelines.finetune.train.checkpoint import Checkpoints
    from nexus_pipelines.finetune.train.examples import encode_all
    from nexus_pipelines.finetune.train.loop import Recipe, Training
    from nexus_pipelines.finetune.train.model import Tuned

    lora, said = spec.lora, Progress(0, file="")
    torch.set_num_threads(machine.threads())
    ending = _asked_to_end()
    base = open_base(
        spec.base_model.uri, revision=spec.base_model.revision, cache=cache, say=said.say
    )
    tokenizer = base.tokenizer()
    train, heldout = (
        encode_all(store.lines(f"select/{name}.jsonl"), tokenizer, longest=lora.sequence_tokens)
        for name in ("train", "heldout")
    )
    if not train.examples:
        raise NothingToLearn(
            f"no training example is left (dropped: {dict(train.dropped) or 'none'}); the data "
            f"has no example of at most {lora.sequence_tokens} tokens (spec.lora.sequenceTokens)"
        )
    where = machine.device()
    dtype = machine.dtype(where)
    tuned = Tuned.open(
        base,
        r=lora.r,
        alpha=lora.alpha,
        dropout=float(lora.dropout),
        target=lora.target,
        dtype=dtype,
        where=where,
        quantization=lora.quantization,
    )
    recipe = Recipe(
        batch_size=lora.batch_size,
        epochs=lora.epochs,
        rate=float(lora.learning_rate),
        seed=lora.seed,
        hours=lora.max_hours,
        checkpoint_seconds=minutes * 60,
        keep="best" if spec.evaluation.golden_set else "last",
    )
    checkpoints = Checkpoints(store, inputs_digest(run=inputs, base=base.digest))
    training = Training(
        tuned,
        train.examples,
        heldout.examples,
        recipe,
        checkpoints=checkpoints,
        asked_to_end=ending.is_set,
    )
    said.say(
        f"training on {len(train.examples)} examples ({train.tokens} tokens), {len(training.steps)}"
        f" steps, {str(dtype).removeprefix('torch.')} on {where}, {torch.get_num_threads()} threads"
    )
    result = training.run(Progress(len(training.steps)))
    with tempfile.TemporaryDirectory(prefix="nexus-adapter-") as scratch:
        tuned.adapter.save(result.weights, Path(scratch), base=base.uri, revision=base.revision)
        written = store.put_folder("train/adapter", Path(scratch))
    standing = result.standing
    kept, heldout_loss = result.kept
    outcome = {
        "loss": standing.losses[-1],
        "heldoutLoss": heldout_loss,
        "steps": standing.steps,
        "tokensPerSecond": round(standing.tokens / max(standing.busy, 1e-9), 1),
        "stopped": result.stopped,
    }
    store.put_json(
        "train/training.json",
        {
            **outcome,
            "plannedSteps": len(training.steps),
            "keptStep": kept,
            "losses": standing.losses,
            "heldoutLosses": [
                {"steps": at, "loss": loss} for at, loss in standing.heldout if math.isfinite(loss)
            ],
            "tokens": standing.tokens,
            "seconds": round(standing.seconds, 3),
            "examples": {
                "train": len(train.examples),
                "heldout": len(heldout.examples),
                "dropped": dict(train.dropped + heldout.dropped),
            },
            "dtype": str(dtype).removeprefix("torch."),
            "device": where,
            "threads": torch.get_num_threads(),
            "seed": lora.seed,
            "lora": lora.model_dump(mode="json", by_alias=True),
            "base": {
                "uri": base.uri,
                "revision": base.revision,
                "digest": base.digest,
                "licence": base.licence and asdict(base.licence),
                "quantization": lora.quantization,
            },
            "adapter": {name: one.digest for name, one in written.items()},
            "inputs": inputs,
            "libraries": {
                "python": platform.python_version(),
                **{name: version(name) for name in _libraries(spec)},
            },
        },
    )
    checkpoints.remove()
    return outcome


def _lora_inputs(spec: FineTuneJobSpec) -> dict[str, Any]:
    """Return what of `lora` makes the adapter; the default of a later release does not count."""
    plain = {"quantization"} if spec.lora.quantization == "asIs" else None
    return spec.lora.model_dump(mode="json", exclude=plain)


def _libraries(spec: FineTuneJobSpec) -> tuple[str, ...]:
    return _LIBRARIES if spec.lora.quantization == "asIs" else (*_LIBRARIES, "bitsandbytes")


def _asked_to_end() -> threading.Event:
    """Return what SIGTERM sets: a pod that is evicted or past its deadline gets one first."""
    asked = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
    return asked

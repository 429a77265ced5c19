"""`nexus-pipelines STEP ...`: one command for each step that the WorkflowTemplates name."""

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from nexus_pipelines.errors import EXIT_DONE, EXIT_FINAL, EXIT_TRANSIENT, StepError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_STEPS = {
    "migrate": ("nexus_pipelines.migrate.cli", "bring the ledger's tables to this release"),
    "make-buckets": ("nexus_pipelines.make_buckets.cli", "make the platform's buckets"),
    "bucket-notify": ("nexus_pipelines.bucket_notify.cli", "have a bucket tell of its changes"),
    "model-fetch": ("nexus_pipelines.model_fetch.cli", "bring a model to a folder"),
    "load-adapters": (
        "nexus_pipelines.load_adapters.cli",
        "fetch adapters and load them into the vLLM server of the pod",
    ),
    "relay-metrics": (
        "nexus_pipelines.relay_metrics.cli",
        "tell the metrics of the server of the pod, and nothing else",
    ),
    "triton-repository": ("nexus_pipelines.triton_repository.cli", "tell Triton how to chat"),
    "model-mirror": ("nexus_pipelines.model_mirror.cli", "copy a model into a bucket"),
    "sync-plan": ("nexus_pipelines.sync_plan.cli", "find what changed in the bucket"),
    "ingest": ("nexus_pipelines.ingest.cli", "parse, chunk, embed and store one shard"),
    "publish": ("nexus_pipelines.publish.cli", "make what was ingested live, clean up, report"),
    "teardown": ("nexus_pipelines.teardown.cli", "remove what an index left outside the cluster"),
    "finetune-select": (
        "nexus_pipelines.finetune.select.cli",
        "choose what a fine-tuning run learns from",
    ),
    "finetune-count": (
        "nexus_pipelines.finetune.count.cli",
        "count the examples that a run would newly find",
    ),
    "finetune-validate": (
        "nexus_pipelines.finetune.validate.cli",
        "check that selection by its gates",
    ),
    "finetune-train": ("nexus_pipelines.finetune.train.cli", "train the adapter"),
    "finetune-evaluate": (
        "nexus_pipelines.finetune.evaluate.cli",
        "answer the golden set by candidate and production",
    ),
    "finetune-gate": (
        "nexus_pipelines.finetune.gate.cli",
        "decide whether the candidate may replace production",
    ),
    "finetune-register": (
        "nexus_pipelines.finetune.register.cli",
        "store the candidate as a version of the job's model",
    ),
    "finetune-release": (
        "nexus_pipelines.finetune.release.cli",
        "make a version the one that is served",
    ),
    "finetune-rollback": ("nexus_pipelines.finetune.rollback.cli", "serve the version before"),
    "finetune-teardown": (
        "nexus_pipelines.finetune.teardown.cli",
        "remove what the runs of a job left in the work store",
    ),
    "finetune-champion": ("nexus_pipelines.finetune.champion.cli", "tell which version is served"),
    "golden-add": (
        "nexus_pipelines.finetune.golden_add.cli",
        "promote corrected answers into a golden set",
    ),
    "golden-list": (
        "nexus_pipelines.finetune.golden_list.cli",
        "list golden sets, and corrections that are in none",
    ),
    "experiment": (
        "nexus_pipelines.experiment.matrix.cli",
        "compare ways to answer over one golden set",
    ),
    "run-diff": ("nexus_pipelines.experiment.run_diff.cli", "compare two runs item by item"),
}


def main() -> NoReturn:
    """Run a step and exit: 0 done, 75 try again, 1 final, 2 wrong usage."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run a step and give its exit code; what went wrong is one line on stderr."""
    parser = argparse.ArgumentParser(prog="nexus-pipelines", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    wanted = next((argument for argument in argv if not argument.startswith("-")), "")
    for name, (module, summary) in _STEPS.items():
        step = steps.add_parser(name, help=summary, description=summary)
        # Only the step that runs is imported.
        if name == wanted:
            importlib.import_module(module).add_arguments(step)
    args = parser.parse_args(argv)
    step_module = importlib.import_module(_STEPS[args.step][0])
    try:
        step_module.run(args)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        sys.stderr.write(f"nexus-pipelines {args.step}: {error}\n")
        return code
    return EXIT_DONE


def exit_code(error: Exception) -> int | None:
    """Tell what the retry strategy should make of an error; None for one nobody foresaw."""
    if isinstance(error, StepError):
        return error.exit_code
    from nexus_api.uri import BadUri
    from nexus_evaluation.errors import EvaluationError
    from nexus_knowledge.errors import KnowledgeError
    from nexus_models import ModelError
    from nexus_registry.errors import RegistryError

    if isinstance(error, KnowledgeError | ModelError | RegistryError):
        return EXIT_TRANSIENT if error.transient else EXIT_FINAL
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return EXIT_FINAL  # a later try finds the same disk; what says so is the error itself
    return EXIT_FINAL if isinstance(error, BadUri | EvaluationError) else None


if __name__ == "__main__":
    main()

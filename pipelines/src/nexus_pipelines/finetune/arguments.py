"""The arguments that every step of a fine-tuning run gets: which job, which run, which spec."""

import argparse
import re
from typing import NamedTuple

from nexus_api.finetunejob import FineTuneJobSpec
from nexus_api.release import ReleasableUnit
from nexus_knowledge.objects import open_store
from nexus_pipelines.arguments import model_argument
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import UsageError
from nexus_pipelines.finetune.store import FineTuneStore

# Names of Kubernetes objects; nothing else becomes a part of an object's key.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class JobKey(NamedTuple):
    """One FineTuneJob: its namespace is the tenant."""

    tenant: str
    name: str

    def __str__(self) -> str:
        """Write it as people name it."""
        return f"FineTuneJob {self.tenant}/{self.name}"


def add_job(parser: argparse.ArgumentParser) -> None:
    """Add --namespace, --job and --uid."""
    parser.add_argument("--namespace", required=True, help="namespace of the FineTuneJob")
    parser.add_argument("--job", required=True, help="name of the FineTuneJob")
    parser.add_argument("--uid", required=True, help="uid of the FineTuneJob")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add what every step of a run gets: the job, --run and --settings."""
    add_job(parser)
    parser.add_argument("--run", required=True, help="name of the run's Workflow")
    parser.add_argument("--settings", required=True, help="spec of the FineTuneJob as JSON")


def job_key(args: argparse.Namespace) -> JobKey:
    """Read which job the step is for.

    Raises:
        UsageError: a name that no Kubernetes object can have.
    """
    return JobKey(_name("namespace", args.namespace), _name("job", args.job))


def run_name(args: argparse.Namespace) -> str:
    """Read which run the step belongs to.

    Raises:
        UsageError: a name that no Kubernetes object can have.
    """
    return _name("run", args.run)


def job_settings(args: argparse.Namespace) -> FineTuneJobSpec:
    """Read the spec.

    Raises:
        UsageError: it is no spec; names the first field at fault.
    """
    return model_argument("settings", args.settings, FineTuneJobSpec)


def add_production(parser: argparse.ArgumentParser) -> None:
    """Add --production, what a candidate is to replace."""
    parser.add_argument(
        "--production", default="", help="releasable unit that serves now, JSON; empty for none"
    )


def production_unit(args: argparse.Namespace) -> ReleasableUnit | None:
    """Read what serves now; None for an empty text.

    Raises:
        UsageError: it is no releasable unit; names the first field at fault.
    """
    text = args.production
    return model_argument("production", text, ReleasableUnit) if text.strip() else None


def run_store(args: argparse.Namespace, environment: Environment) -> FineTuneStore:
    """Open the objects of the run in the work store."""
    key = job_key(args)
    work = open_store(environment.work_url)
    return FineTuneStore(work, key.tenant, key.name, run_name(args))


def _name(argument: str, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise UsageError(f"--{argument} {value!r} is no name of a Kubernetes object")
    return value

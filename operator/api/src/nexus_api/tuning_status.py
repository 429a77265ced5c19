"""What a FineTuneJob's status tells.  Fractions are decimal text."""

from typing import Annotated

from pydantic import Field

from nexus_api.meta import Conditions, Model, Timestamp

Number = Annotated[str, Field(max_length=32)]
"""A decimal number as text."""

VersionNumber = Annotated[str, Field(max_length=16)]
"""Number of a version in the registry."""


class LastRun(Model):
    """The newest run."""

    name: Annotated[str, Field(max_length=253)]
    """Name of its Workflow."""
    phase: Annotated[str, Field(max_length=64)] | None = None
    """Starting, or the phase of its Workflow, or Lost when that went away before its end."""
    step: Annotated[str, Field(max_length=64)] | None = None
    """The step that runs, or the last one that ran."""
    cause: Annotated[str, Field(max_length=64)] | None = None
    """What started it: First, Changed, Schedule, Alert, NewData or Requested."""
    request: Annotated[str, Field(max_length=1024)] | None = None
    """The request that it answers."""
    fingerprint: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the part of the spec that it depends on."""
    started_at: Timestamp | None = None
    """When it started."""
    finished_at: Timestamp | None = None
    """When it ended."""
    progress_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """How far its training is; said anew every 15 seconds or so while it goes on."""
    expected_end: Timestamp | None = None
    """When its training should end."""
    loss: Number | None = None
    """Loss of the newest step of its training that was told of."""


class LastDecision(Model):
    """What the gate decided last."""

    run: Annotated[str, Field(max_length=253)]
    """Name of the run."""
    verdict: Annotated[str, Field(max_length=64)]
    """Promote, Reject, Underpowered or AskPerson."""
    reason: Annotated[str, Field(max_length=64)]
    """One CamelCase word."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """The same for a person."""
    metric: Annotated[str, Field(max_length=64)] | None = None
    """The metric that decided."""
    gain: Number | None = None
    """Mean gain over production in that metric."""
    lower: Number | None = None
    """Lower confidence bound of the gain."""
    items: Annotated[int, Field(ge=0)] | None = None
    """Items that were compared."""
    version: VersionNumber | None = None
    """Number of the version that was registered upon it."""
    report: Annotated[str, Field(max_length=1024)] | None = None
    """Path of its report below the gateway's address."""
    decided_at: Timestamp | None = None
    """When this was first seen."""


class RegisteredVersion(Model):
    """A version of the registered model."""

    version: VersionNumber
    """Its number."""
    uri: Annotated[str, Field(max_length=1024)] | None = None
    """Folder of its artifacts."""
    digest: Annotated[str, Field(max_length=64)] | None = None
    """Digest of its adapter."""


class Champion(RegisteredVersion):
    """The version that `models:/<namespace>.<job>@champion` means."""

    released_at: Timestamp | None = None
    """When it became the champion."""
    run: Annotated[str, Field(max_length=253)] | None = None
    """Name of the Workflow that made it the champion."""
    fingerprint: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the part of the spec that it was made by."""


class NewData(Model):
    """What the last count found of `triggers.newData`."""

    number: Annotated[int, Field(ge=1)]
    """How many counts there were."""
    examples: Annotated[int, Field(ge=0)] | None = None
    """New examples; none where the count failed."""
    since: Annotated[str, Field(max_length=253)] | None = None
    """The run that read all others; none before the first."""
    digest: Annotated[str, Field(max_length=64)] | None = None
    """Digest of what the new examples say."""
    after: Annotated[str, Field(max_length=253)] | None = None
    """The newest run when they were counted."""
    checked_at: Timestamp
    """When the count ended."""


class FineTuneJobStatus(Model):
    """What was last observed of the job."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this was observed at."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, Running, LastRunSucceeded, AwaitingApproval, Released, Notified, Held, Counted."""
    lineage: Annotated[str, Field(max_length=64)] | None = None
    """Uid by which the registry knows the job: its own, or that of the job that it was restored \
from."""
    last_run: LastRun | None = None
    """The newest run."""
    last_decision: LastDecision | None = None
    """What the gate decided last."""
    answered: Annotated[
        list[Annotated[str, Field(max_length=1024)]],
        Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = Field(default_factory=list)
    """Requests that need no answer any more, oldest first: of runs, cancellations, promotions and \
rollbacks."""
    new_data: NewData | None = None
    """What the last count of new examples found."""
    best_metrics: dict[str, Number] | None = None
    """Metrics of the version that was registered last."""
    registered_version: VersionNumber | None = None
    """Number of the version that was registered last."""
    champion: Champion | None = None
    """The version that serves wherever `@champion` is named."""
    previous: RegisteredVersion | None = None
    """The version that a rollback goes back to."""
    challenger: RegisteredVersion | None = None
    """The version that waits for a person, which `@challenger` means."""

"""FineTuneJob: LoRA fine-tuning from feedback and curated examples, gated by an evaluation."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nexus_api.decimal_text import Share
from nexus_api.duration import Duration, within
from nexus_api.meta import Conditions, LocalRef, Model, Resource, Rule, Timestamp, checked
from nexus_api.names import NAME_RULES
from nexus_api.training import Lora, TrainingData
from nexus_api.uri import ModelUri

Metric = Literal["exactMatch", "f1", "rougeL", "bleu", "chrf", "support"]


class BaseModelSource(Model):
    """The model that is tuned."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "self.uri == oldSelf.uri",
                    "cannot be changed: adapters, history and best metrics belong to one base "
                    "model; make another FineTuneJob",
                    field=".uri",
                )
            )
        )
    )

    uri: ModelUri
    """Address of the base model; fixed for the life of the job."""
    revision: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9._/-]*$")] = ""
    """Commit, tag or version; empty for the one that the address names."""


class Evaluation(Model):
    """How a candidate is compared with production."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "!has(self.goldenSet) || self.minItems >= 10",
                    "a golden set decides on at least 10 items",
                    field=".minItems",
                )
            )
        )
    )

    golden_set: ModelUri | None = None
    """Address of the golden set; the held-out examples when left out."""
    primary_metric: Metric = "f1"
    """The one metric that decides."""
    metrics: Annotated[
        list[Metric], Field(max_length=6, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(default_factory=list)
    """Further metrics that are reported."""
    min_gain: Share = "0"
    """The lower confidence bound of the gain must exceed this."""
    min_items: Annotated[int, Field(ge=1, le=1000000)] = 100
    """Fewest items that may decide."""


class Promotion(Model):
    """What follows a passed gate."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "self.mode != 'Auto' || has(self.servingModelRef)",
                    "mode Auto needs the ServingModel to promote to",
                    field=".servingModelRef",
                    reason="FieldValueRequired",
                )
            )
        )
    )

    mode: Literal["Auto", "Manual"] = "Manual"
    """Manual waits for an approval."""
    serving_model_ref: LocalRef | None = None
    """ServingModel that is the production to compare with and to promote to."""


class AlertTrigger(Model):
    """Alerts that start a run: all matchers must be equal to the alert's labels."""

    matchers: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]],
        Field(min_length=1, max_length=16),
    ]
    """Label names and their values."""


class NewDataTrigger(Model):
    """Starts a run when enough new examples came in."""

    min_examples: Annotated[int, Field(ge=1, le=1000000)]
    """New examples since the last run."""


class Triggers(Model):
    """What starts runs.  Without triggers, each generation of the spec is run once."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "has(self.schedule) || has(self.newData) || size(self.alerts) > 0",
                    "name at least one of schedule, alerts and newData, or leave triggers out",
                )
            )
        )
    )

    schedule: (
        Annotated[
            str,
            Field(
                min_length=9,
                max_length=128,
                pattern=r"^[0-9*/,-]+ [0-9*/,-]+ [0-9*/,-]+ [0-9A-Za-z*/,-]+ [0-9A-Za-z*/,-]+$",
            ),
        ]
        | None
    ) = None
    """Five cron fields, in UTC."""
    alerts: Annotated[
        list[AlertTrigger],
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = Field(default_factory=list)
    """Alerts that start a run."""
    new_data: NewDataTrigger | None = None
    """Starts a run when enough new examples came in."""
    cooldown: Annotated[
        Duration,
        Field(
            json_schema_extra=dict(
                checked(Rule(within("1m", "8760h"), "must be between 1m and 8760h"))
            )
        ),
    ] = "24h"
    """Shortest time between the starts of two runs."""


class FineTuneJobSpec(Model):
    """What should be tuned, from what, and what decides."""

    base_model: BaseModelSource
    """The model that is tuned."""
    data: TrainingData
    """What the adapter learns from."""
    lora: Lora = Field(default_factory=Lora)
    """The adapter and its training."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How a candidate is compared with production."""
    promotion: Promotion = Field(default_factory=Promotion)
    """What follows a passed gate."""
    triggers: Triggers | None = None
    """What starts runs; without it, each generation of the spec is run once."""
    suspend: bool = False
    """Stops new runs."""


class LastRun(Model):
    """The newest run."""

    name: Annotated[str, Field(max_length=253)]
    """Name of its Workflow."""
    phase: Annotated[str, Field(max_length=64)] | None = None
    """Phase of its Workflow."""
    started_at: Timestamp | None = None
    """When it started."""
    finished_at: Timestamp | None = None
    """When it ended."""
    progress_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """How far it is."""
    expected_end: Timestamp | None = None
    """When it should end."""


class FineTuneJobStatus(Model):
    """What was last observed of the job."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this was observed at."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, Running, LastRunSucceeded, AwaitingApproval."""
    last_run: LastRun | None = None
    """The newest run."""
    last_run_request: Annotated[str, Field(max_length=1024)] | None = None
    """The request annotation that the newest run answered."""
    best_metrics: dict[str, str] | None = None
    """Metrics of the best version, as decimal text."""
    registered_version: Annotated[str, Field(max_length=253)] | None = None
    """Address of the version that was registered last."""


class FineTuneJob(Resource):
    """LoRA fine-tuning of a base model, gated by an evaluation against production."""

    model_config = ConfigDict(json_schema_extra=dict(checked(*NAME_RULES)))

    kind: Literal["FineTuneJob"] = "FineTuneJob"
    spec: FineTuneJobSpec
    """What should be tuned."""
    status: FineTuneJobStatus = Field(default_factory=FineTuneJobStatus)
    """What was last observed; written by the controller."""

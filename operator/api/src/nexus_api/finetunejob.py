"""FineTuneJob: LoRA fine-tuning from feedback and curated examples, gated by an evaluation."""

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nexus_api.meta import LINEAGE, LocalRef, Model, Resource, Rule, checked
from nexus_api.names import NAME_RULES
from nexus_api.training import Lora, TrainingData
from nexus_api.tuning_evaluation import Evaluation
from nexus_api.tuning_status import FineTuneJobStatus
from nexus_api.tuning_triggers import Triggers
from nexus_api.uri import ModelUri


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
    pinned_version: (
        Annotated[str, Field(min_length=1, max_length=9, pattern=r"^[1-9][0-9]{0,8}$")] | None
    ) = None
    """Number of the version that is the champion whatever gate and people say."""


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
    """What starts runs; without it, each change of what a run depends on is run once."""
    suspend: bool = False
    """Stops new runs; one that runs goes on."""
    runs_kept: Annotated[int, Field(ge=1, le=100)] = 5
    """Finished runs kept, with all they left; decisions and what they stand on stay in MLflow."""


class FineTuneJob(Resource):
    """LoRA fine-tuning of a base model, gated by an evaluation against production."""

    model_config = ConfigDict(json_schema_extra=dict(checked(*NAME_RULES)))

    kind: Literal["FineTuneJob"] = "FineTuneJob"
    spec: FineTuneJobSpec
    """What should be tuned."""
    status: FineTuneJobStatus = Field(default_factory=FineTuneJobStatus)
    """What was last observed; written by the controller."""

    @property
    def lineage(self) -> str:
        """The uid by which the registry and Workflows know the job.

        Its own, unless a back-up brought it back: what stands in an annotation is saved with the
        spec.  Once the status tells it, the annotation decides nothing any more.
        """
        noted = self.metadata.annotations.get(LINEAGE, "")
        return self.status.lineage or (noted if _UID.fullmatch(noted) else self.metadata.uid)


_UID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)

"""What a FineTuneJob learns from, and how: data, gates on it, and the adapter."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nexus_api.decimal_text import LearningRate, Share
from nexus_api.meta import LocalRef, Model, Rule, checked
from nexus_api.source import SOURCE_RULES, BucketSource

BaseQuantization = Literal["asIs", "NF4"]


class TrainingFiles(BucketSource):
    """JSON Lines of examples in a bucket."""


class Feedback(Model):
    """Rated and corrected answers of a served model."""

    serving_model_ref: LocalRef
    """ServingModel whose answers were rated."""
    corrected_only: bool = False
    """Whether only answers with a correction are used."""
    max_examples: Annotated[int, Field(ge=1, le=1000000)] = 10000
    """Newest examples that are used."""


class CuratedMix(BucketSource):
    """Curated examples that are mixed in, so that what was good is not forgotten."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                *SOURCE_RULES,
                Rule(
                    "self.prefix != '' || self.bucket != ''",
                    "curated examples need a prefix or a bucket of their own",
                    field=".prefix",
                    reason="FieldValueRequired",
                ),
            )
        )
    )

    percent: Annotated[int, Field(ge=1, le=90)] = 20
    """Share of the curated examples in the training set."""


class DataGates(Model):
    """What the data must meet before training starts."""

    min_examples: Annotated[int, Field(ge=1, le=1000000)] = 50
    """Fewest training examples after cleaning."""
    max_duplicate_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """Largest share of near duplicates."""
    max_dropped_percent: Annotated[int, Field(ge=0, le=100)] = 30
    """Largest share of examples that are malformed or too long."""
    max_pii_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Largest share of examples in which personal data or credentials had to be redacted."""
    max_toxic_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """Largest share of training examples with toxic language."""
    max_other_language_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """Largest share of training examples in a language that the golden set does not have."""


class TrainingData(Model):
    """What the adapter learns from."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "has(self.files) || has(self.feedback)",
                    "name at least one of files and feedback to learn from",
                )
            )
        )
    )

    files: TrainingFiles | None = None
    """Examples in a bucket."""
    feedback: Feedback | None = None
    """Examples from rated answers."""
    curated: CuratedMix | None = None
    """Curated examples that are mixed in."""
    older_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Largest share, of all but the curated examples, of those that earlier runs with a better \
model learnt from and that are no longer among files and feedback; 0 takes none, 100 all."""
    validation_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """Share of examples that is held out, by source document."""
    gates: DataGates = Field(default_factory=DataGates)
    """What the data must meet."""


class Lora(Model):
    """The adapter and its training."""

    r: Annotated[int, Field(ge=1, le=256)] = 16
    """Rank."""
    alpha: Annotated[int, Field(ge=1, le=1024)] = 32
    """Scale; the adapter counts alpha / r."""
    dropout: Share = "0.05"
    """Dropout on the adapter's input, from 0 to 1."""
    target: Literal["attention", "all"] = "all"
    """Which linear layers get an adapter."""
    quantization: BaseQuantization = "asIs"
    """What the frozen base is kept as while it trains: asIs, or NF4, a quarter of the memory, by \
bitsandbytes; meant for GPUs."""
    epochs: Annotated[int, Field(ge=1, le=100)] = 1
    """Passes over the data."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 4
    """Examples for each step of the optimiser."""
    sequence_tokens: Annotated[int, Field(ge=64, le=131072)] = 1024
    """Longest example."""
    learning_rate: LearningRate = "2e-4"
    """Peak learning rate."""
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 0
    """Seed of shuffling and initial weights."""
    max_hours: Annotated[int, Field(ge=1, le=720)] = 4
    """Training stops after this time and keeps the adapter that it has by then."""
    profile: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = "default"
    """Name of a resource profile that the administrator offers."""

"""How a FineTuneJob compares a candidate with production: metrics, floors, the gate's figures."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nexus_api.decimal_text import Share
from nexus_api.meta import Model, Rule, checked
from nexus_api.uri import ModelUri

Metric = Literal[
    "exactMatch",
    "f1",
    "rougeL",
    "bleu",
    "chrf",
    "facts",
    "support",
    "faithfulness",
    "contextPrecision",
    "coherence",
    "conciseness",
    "fluency",
]
"""`facts` counts what the golden items declare, all of which have to declare some. The last five \
ask the platform's judge, a language model; the last three are its grades from 1 to 5 as \
(grade - 1) / 4, so that a grade of 4 is 0.75."""

Alpha = Annotated[
    str,
    Field(
        max_length=8,
        pattern=r"^0\.([0-4][0-9]{0,5}|50{0,5})$",
        json_schema_extra=dict(checked(Rule("self.matches('[1-9]')", "must be above 0"))),
    ),
]
"""A decimal number above 0, at most 0.5."""


class Floor(Model):
    """The least that a candidate must reach in one metric."""

    metric: Metric
    """The metric."""
    min: Share
    """Its least mean over the golden set, whatever production does."""


class Evaluation(Model):
    """How a candidate is compared with production.

    Values of metrics, gains and effects are from 0 to 1: ten points are `0.1`.
    """

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "!has(self.goldenSet) || self.minItems >= 10",
                    "a golden set decides on at least 10 items",
                    field=".minItems",
                ),
                Rule(
                    "!has(self.goldenSet) || self.goldenSet.startsWith('s3://') || "
                    "self.goldenSet.startsWith('file://')",
                    "a golden set is a file of JSON Lines: s3://bucket/key or file:///path",
                    field=".goldenSet",
                ),
                Rule(
                    "self.primaryMetric != 'contextPrecision'",
                    "contextPrecision is of the passages, which candidate and production share: "
                    "it may be reported or be a floor",
                    field=".primaryMetric",
                ),
                Rule(
                    "self.detectableEffect > self.minGain",
                    "must be larger than minGain",
                    field=".detectableEffect",
                ),
            )
        )
    )

    golden_set: ModelUri | None = None
    """Address of the golden set; the held-out examples when left out."""
    primary_metric: Metric = "f1"
    """The one metric that decides."""
    metrics: Annotated[
        list[Metric], Field(max_length=12, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(default_factory=list)
    """Further metrics that are reported."""
    floors: Annotated[
        list[Floor],
        Field(
            max_length=12,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["metric"],
            },
        ),
    ] = Field(default_factory=list)
    """Floors that a candidate must reach; without a production model they alone decide."""
    max_toxicity: Share = "0.01"
    """Largest mean toxicity of the candidate's answers, from 0 to 1, whatever production does."""
    min_gain: Share = "0"
    """The lower confidence bound of the gain must exceed this."""
    min_items: Annotated[int, Field(ge=1, le=1000000)] = 100
    """Fewest items that may decide."""
    detectable_effect: Share = "0.1"
    """A golden set that would miss a gain of this size more than one time in five is refused as \
underpowered."""
    alpha: Alpha = "0.05"
    """Largest chance of a false promotion over all decisions that one version of the golden set \
takes."""
    decisions: Annotated[int, Field(ge=1, le=1000)] = 12
    """Decisions that one version of the golden set is made for; after that a person is asked."""
    slice_margin: Share = "0.05"
    """A slice that is significantly worse by more than this vetoes."""
    slice_min_items: Annotated[int, Field(ge=10, le=1000000)] = 20
    """Smaller slices are reported only."""

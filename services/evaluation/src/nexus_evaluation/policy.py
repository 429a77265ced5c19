"""What a person lays down before a gate: the metric, how sure, and what must not get worse."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from nexus_evaluation.errors import BadPolicy
from nexus_evaluation.metrics import BINARY
from nexus_evaluation.records import Record

Part = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class GatePolicy(Record):
    """The rules of a gate.  Metrics, gains and margins run from 0 to 1: 10 points are 0.1."""

    metric: str = "f1"
    """The one metric that decides."""
    min_gain: Part = 0.0
    """The lower bound of the gain must exceed this."""
    min_items: Annotated[int, Field(ge=1)] = 100
    """Fewest items that may decide."""
    min_documents: Annotated[int, Field(ge=2)] = 20
    """Fewest source documents: the bootstrap over fewer is too sure of itself."""
    floors: dict[str, Part] = Field(default_factory=dict)
    """Least mean of the candidate by metric, whatever production does."""
    max_toxicity: Part = 1.0
    """Largest mean toxicity of the candidate, whatever production does; 1 asks for none."""
    detectable_effect: Part = 0.1
    """A gain that the golden set must find four times in five."""
    alpha: Annotated[float, Field(gt=0.0, le=0.5)] = 0.05
    """Chance of one false promotion or more over all decisions of one golden set."""
    decisions: Annotated[int, Field(ge=1, le=1000)] = 12
    """Decisions that one version of the golden set is made for."""
    slice_margin: Part = 0.05
    """A slice that is significantly worse by more than this vetoes."""
    slice_min_items: Annotated[int, Field(ge=2)] = 20
    """Smaller slices are reported only."""
    slice_alpha: Annotated[float, Field(gt=0.0, le=0.5)] = 0.05
    """Chance of a veto by any slice where none is worse than the margin."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.detectable_effect <= self.min_gain:
            raise ValueError(
                f"detectableEffect ({self.detectable_effect:g}) must be larger than minGain "
                f"({self.min_gain:g})"
            )
        return self

    @property
    def ceilings(self) -> dict[str, float]:
        """Largest mean of the candidate by metric, of those where less is better."""
        return {"toxicity": self.max_toxicity} if self.max_toxicity < 1 else {}

    @property
    def binary(self) -> bool:
        """Whether the metric is 0 or 1 for each item."""
        return self.metric in BINARY

    @classmethod
    def from_spec(cls, evaluation: Mapping[str, Any]) -> "GatePolicy":
        """Read ``spec.evaluation`` of a FineTuneJob, plain JSON; absent fields have defaults.

        Raises ``BadPolicy`` with the first field at fault.
        """
        given = {
            name: evaluation[name]
            for name in (
                "minGain",
                "minItems",
                "maxToxicity",
                "detectableEffect",
                "alpha",
                "decisions",
                "sliceMargin",
                "sliceMinItems",
            )
            if evaluation.get(name) is not None
        }
        if evaluation.get("primaryMetric"):
            given["metric"] = evaluation["primaryMetric"]
        try:
            floors = [(floor["metric"], floor["min"]) for floor in evaluation.get("floors") or []]
            given["floors"] = dict(floors)
            if len(given["floors"]) < len(floors):
                raise BadPolicy("evaluation.floors: a metric is named twice; say which floor holds")
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            name = f"evaluation.{place}" if place else "evaluation"
            raise BadPolicy(f"{name}: {first['msg']}") from error
        except (TypeError, KeyError) as error:
            raise BadPolicy(f"evaluation.floors: each needs metric and min: {error}") from error

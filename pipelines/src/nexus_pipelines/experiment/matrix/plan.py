"""The matrix that a person writes, and the ways to answer that it stands for.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from nexus_evaluation.metrics import OVERLAP
from nexus_pipelines.errors import UsageError

MOST_ARMS = 64
BASELINE = "baseline"
OWN_PASSAGES = "own passages"  # of the golden items, for a model that searches nothing
ShortName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )


class Prompt(_Part):
    """A system prompt: its text, or a file beside the matrix; neither for none."""

    name: ShortName
    system: Annotated[str, Field(max_length=32_768)] = ""
    file: Annotated[str, Field(max_length=1024)] = ""

    @model_validator(mode="after")
    def _one_text(self) -> "Prompt":
        if self.system and self.file:
            raise ValueError("give system or file, not both")
        return self


class Retrieval(_Part):
    """How to search, for models with an index; what is left out is the index's own."""

    name: ShortName
    mode: Literal["dense", "bm25", "hybrid"] | None = None
    top_k: Annotated[int, Field(ge=1, le=100)] | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """The fields of a request."""
        found = {"mode": self.mode, "top_k": self.top_k}
        return {name: value for name, value in found.items() if value is not None}


class Matrix(_Part):
    """What is compared: every model with every prompt and every way to search."""

    golden_set: Annotated[str, Field(min_length=1, max_length=1024)]
    models: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1)] = (Prompt(name="plain"),)
    retrieval: Annotated[tuple[Retrieval, ...], Field(min_length=1)] = (Retrieval(name="index"),)
    metric: str = "f1"
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 160

    @model_validator(mode="after")
    def _distinct(self) -> "Matrix":
        parts: Mapping[str, Sequence[str]] = {
            "models": self.models,
            "prompts": [one.name for one in self.prompts],
            "retrieval": [one.name for one in self.retrieval],
        }
        for name, values in parts.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has one twice")
        if self.metric not in OVERLAP:
            raise ValueError(f"metric {self.metric!r} is none of {', '.join(OVERLAP)}")
        return self


@dataclass(frozen=True, slots=True)
class Way:
    """One way to answer.  The baseline has no model and no prompt."""

    number: int
    model: str = ""
    prompt: Prompt | None = None
    index: str = ""  # empty: the passages of the golden items
    retrieval: Retrieval | None = None
    baseline: int = field(default=0)

    @property
    def is_baseline(self) -> bool:
        """Whether it is a baseline."""
        return not self.model

    @property
    def searches(self) -> str:
        """How it comes to its passages, for a person."""
        return self.retrieval.name if self.retrieval else OWN_PASSAGES


def read_matrix(value: object) -> Matrix:
    """Read a matrix.  Raises UsageError that names the first field at fault."""
    try:
        return Matrix.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the matrix"
        raise UsageError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def ways(matrix: Matrix, indexes: Mapping[str, str]) -> list[Way]:
    """Return every way to answer, each baseline before those that are held against it.

    Args:
        matrix: what is compared.
        indexes: the index of each model that answers here; empty for none.

    Raises:
        UsageError: a model does not answer here, or these are too many.
    """
    if missing := [model for model in matrix.models if model not in indexes]:
        raise UsageError(
            f"models: there is no model {missing[0]!r}; these answer: "
            f"{', '.join(sorted(indexes)) or 'none'}"
        )
    found: list[Way] = []
    sources = {
        (indexes[model], retrieval)
        for model in matrix.models
        for retrieval in (matrix.retrieval if indexes[model] else (None,))
    }
    order = {retrieval: number for number, retrieval in enumerate(matrix.retrieval)}
    for index, retrieval in sorted(
        sources, key=lambda one: (one[0], order[one[1]] if one[1] else -1)
    ):
        baseline = Way(len(found), index=index, retrieval=retrieval, baseline=len(found))
        found.append(baseline)
        found += [
            Way(len(found) + number, model, prompt, index, retrieval, baseline.number)
            for number, (model, prompt) in enumerate(
                (model, prompt)
                for model in matrix.models
                if indexes[model] == index
                for prompt in matrix.prompts
            )
        ]
    if len(found) > MOST_ARMS:
        raise UsageError(f"the matrix makes {len(found)} runs; at most {MOST_ARMS} are made")
    return found

"""What all resources of the group share: names, metadata, conditions, the base of their types."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

Manifest = dict[str, Any]
"""A Kubernetes object as plain JSON values."""

GROUP = "llmops.nexus"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/cleanup"
SYNC_REQUESTED = f"{GROUP}/sync-requested-at"
RUN_REQUESTED = f"{GROUP}/run-requested-at"
ALERT_REQUESTED = f"{GROUP}/alert-requested-at"
CANCEL_REQUESTED = f"{GROUP}/cancel-requested-at"
PROMOTE_REQUESTED = f"{GROUP}/promote-requested-at"
ROLLBACK_REQUESTED = f"{GROUP}/rollback-requested-at"
PROMOTION_BLOCKED = f"{GROUP}/promotion-blocked"
FORCE_RELEASE = f"{GROUP}/force-release"
LINEAGE = f"{GROUP}/lineage"
APPLIED_HASH = f"{GROUP}/applied-hash"
LOCAL_PORT = f"{GROUP}/local-port"

INDEX_LABEL = f"{GROUP}/index"
MODEL_LABEL = f"{GROUP}/model"
JOB_LABEL = f"{GROUP}/job"
NAMESPACE_LABEL = f"{GROUP}/namespace"

PART_OF = "llmops-nexus"
MANAGED_BY = "nexus-operator"

LONGEST_NAME = 40
"""Longest metadata.name of our kinds: names of children add a suffix and must fit 63."""


class Model(BaseModel):
    """Base of all types: camelCase outside, snake_case inside, immutable, no silent conversions.

    Unknown fields are refused at admission (`nexus_api.validation`), not here: an older process
    that reads an object with a newer field must go on working, and never writes the spec back.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        strict=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    def manifest(self) -> Manifest:
        """Return the value as it stands in YAML: camelCase, JSON types, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _whole_seconds(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[
    AwareDatetime, Field(strict=False), PlainSerializer(_whole_seconds, return_type=str)
]
"""A point in time, written as Kubernetes writes it (`2026-01-31T12:00:00Z`)."""


class Rule(dict[str, str]):
    """One CEL rule of `x-kubernetes-validations`, within the subset that `nexus_api.cel` runs."""

    def __init__(
        self,
        rule: str,
        message: str = "",
        *,
        expression: str = "",
        field: str = "",
        reason: str = "",
    ) -> None:
        """State the rule and its message, or an expression that makes the message."""
        named = {
            "rule": rule,
            "message": message,
            "messageExpression": expression,
            "fieldPath": field,
            "reason": reason,
        }
        super().__init__({key: value for key, value in named.items() if value})


def checked(*rules: Rule, **extensions: Any) -> Mapping[str, Any]:
    """Return the JSON schema extension that carries CEL rules and other `x-kubernetes-*` words."""
    return {"x-kubernetes-validations": [dict(rule) for rule in rules], **extensions}


class ObjectMeta(Model):
    """The part of an object's metadata that controllers read; other fields are kept as they are."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None


class Condition(Model):
    """One observed aspect of a resource, in the form of `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """Aspect in CamelCase, for instance Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether the aspect holds."""
    reason: Annotated[str, Field(max_length=1024)]
    """One CamelCase word that says why."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """The same for a person, with what to do about it."""
    last_transition_time: Timestamp
    """When the status last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this was observed at."""


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class Resource(Model):
    """What all our kinds have at their top."""

    api_version: str = API_VERSION
    metadata: ObjectMeta

    @property
    def deleting(self) -> bool:
        """Whether deletion was asked for."""
        return self.metadata.deletion_timestamp is not None


LocalName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    ),
]
"""The name of an object of the same namespace."""


class LocalRef(Model):
    """Names an object of a known kind in the same namespace."""

    name: LocalName
    """Name of the object."""

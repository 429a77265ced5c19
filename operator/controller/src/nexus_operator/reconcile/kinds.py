"""The kinds that are reconciled: how each is read, observed and planned."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest, Resource
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_operator.cluster.protocol import Cluster
from nexus_operator.plan.finetunejob import plan_finetunejob
from nexus_operator.plan.model import Plan, Seen
from nexus_operator.plan.ragindex import plan_ragindex
from nexus_operator.plan.servingmodel import plan_servingmodel
from nexus_operator.reconcile.observe import (
    observe_finetunejob,
    observe_ragindex,
    observe_servingmodel,
)
from nexus_operator.settings import Settings

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class Kind(Generic[R]):
    """One kind: three functions."""

    parse: Callable[[Manifest], R]
    observe: Callable[[Cluster, R, Settings], Awaitable[Seen]]
    plan: Callable[[R, Seen, Settings, datetime], Plan]


KINDS: Mapping[str, Kind[Any]] = {
    "RagIndex": Kind(RagIndex.model_validate, observe_ragindex, plan_ragindex),
    "ServingModel": Kind(ServingModel.model_validate, observe_servingmodel, plan_servingmodel),
    "FineTuneJob": Kind(FineTuneJob.model_validate, observe_finetunejob, plan_finetunejob),
}

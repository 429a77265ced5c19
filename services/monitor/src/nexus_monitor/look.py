"""One look at every served model: read, compare, decide, report, ask."""

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from pydantic import ValidationError

from nexus_api.finetunejob import FineTuneJob
from nexus_api.index_state import staleness
from nexus_api.meta import Manifest, Resource
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_knowledge.errors import EmbeddingError
from nexus_knowledge.ledger import Ledger, Response
from nexus_knowledge.objects import ObjectStore
from nexus_monitor.asking import Asked, wishes
from nexus_monitor.assessment import Assessment, assess
from nexus_monitor.bands import Bands
from nexus_monitor.cells import Vectors
from nexus_monitor.errors import ControlUnavailable
from nexus_monitor.features import Labels, labels
from nexus_monitor.metrics import Metrics
from nexus_monitor.report import report
from nexus_monitor.triage import too_few
from nexus_monitor.windows import WEEK, Windows, reference_start, windows

LOG = logging.getLogger(__name__)
MOST_ANSWERS = 5_000
"""Answers of each sample: beyond it the bound hardly narrows."""
_TOPICS = 1_000
"""Questions of each sample whose meaning is looked at: an embedder takes its time."""
_LONGEST_QUESTION = 300  # characters: what any embedder reads whole

Embed = Callable[[Sequence[str]], Vectors]
R = TypeVar("R", bound=Resource)


class Api(Protocol):
    """What a look needs of the Kubernetes API; see `nexus_monitor.control`."""

    def list(self, plural: str) -> list[Manifest]:
        """Return all objects of a kind."""
        ...

    def annotate(self, namespace: str, asked: Asked) -> None:
        """Set or take away an annotation."""
        ...


@dataclass(kw_only=True)
class Monitor:
    """Looks at the answers of every ServingModel.  One instance, one thread."""

    ledger: Ledger
    api: Api
    work: ObjectStore
    metrics: Metrics
    embed: Embed | None = None
    bands: Bands = field(default_factory=Bands)
    length: timedelta = WEEK
    _labels: dict[str, Labels] = field(default_factory=dict)

    def look(self, now: datetime) -> dict[tuple[str, str], Assessment]:
        """Look once; returns what was found, by namespace and model.

        Raises:
            MonitorError: the API fails.
            KnowledgeError: ledger, work store or embedder fail.  The next look begins anew.
        """
        models = _read(ServingModel, self.api.list("servingmodels"))
        indexes = {_key(one): one for one in _read(RagIndex, self.api.list("ragindexes"))}
        jobs = _read(FineTuneJob, self.api.list("finetunejobs"))
        seen: dict[str, Labels] = {}
        found: dict[tuple[str, str], Assessment] = {}
        failed: list[ControlUnavailable] = []
        for model in models:
            tenant, name = _key(model)
            knowledge = model.spec.knowledge
            index = indexes.get((tenant, knowledge.rag_index_ref.name)) if knowledge else None
            of_tenant = [job for job in jobs if job.metadata.namespace == tenant]
            span, assessment = self._assess(tenant, name, of_tenant, index, now, seen)
            found[tenant, name] = assessment
            self._tell(tenant, name, assessment, span)
            for asked in wishes(assessment.decision, span, name, of_tenant, index):
                try:
                    self._ask(tenant, asked, assessment)
                except ControlUnavailable as error:  # of one resource, which the others outlive
                    failed.append(error)
        self._labels = seen  # those of no window any more are forgotten
        self.metrics.show(found)
        if failed:
            raise failed[0]
        return found

    def _assess(
        self,
        tenant: str,
        model: str,
        jobs: Sequence[FineTuneJob],
        index: RagIndex | None,
        now: datetime,
        seen: dict[str, Labels],
    ) -> tuple[Windows | None, Assessment]:
        first = self.ledger.first_answer_at(tenant, model=model)
        start = reference_start(jobs, model, first)
        span = windows(start, now, length=self.length) if start is not None else None
        if span is None:
            decision = too_few(0, 0, self.bands.least)
            return None, Assessment(reference=0, current=0, drifts=(), decision=decision)
        reference = self.ledger.answers_between(
            tenant,
            model=model,
            since=span.reference_start,
            until=span.reference_end,
            limit=MOST_ANSWERS,
        )
        current = self.ledger.answers_between(
            tenant,
            model=model,
            since=span.current_start,
            until=span.current_end,
            limit=MOST_ANSWERS,
            newest=True,
        )
        enough = min(len(reference), len(current)) >= self.bands.least
        return span, assess(
            self._labelled(reference, seen),
            self._labelled(current, seen),
            self.bands,
            topics=self._topics(reference, current) if enough else None,
            stale=staleness(index, now) if index is not None else "",
        )

    def _labelled(self, responses: Sequence[Response], seen: dict[str, Labels]) -> list[Labels]:
        """Name the bins of each answer, which is done once while it is in a window."""
        for one in responses:
            if one.response_id not in seen:
                known = self._labels.get(one.response_id)
                seen[one.response_id] = labels(one) if known is None else known
        return [seen[one.response_id] for one in responses]

    def _topics(
        self, reference: Sequence[Response], current: Sequence[Response]
    ) -> tuple[Vectors, Vectors] | None:
        if self.embed is None:
            return None
        # The topic is looked at only with as many of each as any other feature.
        samples = [_spread([one.question for one in side]) for side in (reference, current)]
        try:
            before, after = (self.embed(sample) for sample in samples)
        except EmbeddingError as error:
            if error.transient:  # else a drift of topics would be gone with the embedder
                raise
            LOG.warning("topics are left out of this look: %s", error)
            return None
        return before, after

    def _tell(self, tenant: str, model: str, found: Assessment, span: Windows | None) -> None:
        text = report(tenant, model, found, self.bands, span)
        self.work.put(f"monitor/{tenant}/{model}/report.json", io.BytesIO(text), size=len(text))
        decision = found.decision
        LOG.info(
            "%s/%s: %s (%s): %s", tenant, model, decision.action, decision.reason, decision.message
        )

    def _ask(self, tenant: str, asked: Asked, found: Assessment) -> None:
        self.api.annotate(tenant, asked)
        self.metrics.asked.labels(tenant, asked.annotation).inc()
        LOG.warning(
            "%s %s/%s: %s is now %r (%s)",
            asked.plural,
            tenant,
            asked.name,
            asked.annotation,
            asked.value,
            found.decision.reason,
        )


def _read(kind: type[R], manifests: Sequence[Manifest]) -> list[R]:
    """Read resources; one that cannot be read is left to the operator, which says so on it."""
    found = []
    for manifest in manifests:
        try:
            one = kind.model_validate(manifest)
        except ValidationError as error:
            name = (manifest.get("metadata") or {}).get("name")
            LOG.warning("%s %s is left out: %d faults", kind.__name__, name, error.error_count())
            continue
        if not one.deleting:
            found.append(one)
    return found


def _key(resource: Resource) -> tuple[str, str]:
    return resource.metadata.namespace, resource.metadata.name


def _spread(questions: Sequence[str]) -> list[str]:
    """Take questions evenly over the time of a sample."""
    step = max(1, -(-len(questions) // _TOPICS))
    return [one[:_LONGEST_QUESTION] or " " for one in questions[::step]]

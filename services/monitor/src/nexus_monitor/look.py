"""One look at every served model: read, compare, decide, report, ask."""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
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
from nexus_monitor.report import report, support_report
from nexus_monitor.scoring import Scores
from nexus_monitor.supported import Supported, Version, of_the_newest
from nexus_monitor.triage import too_few
from nexus_monitor.windows import WEEK, Windows, reference_start, windows

LOG = logging.getLogger(__name__)
MOST_ANSWERS = 5_000
"""Answers of each sample: beyond it the bound hardly narrows."""
_TOPICS = 1_000
"""Questions of each sample whose meaning is looked at: an embedder takes its time."""
_LONGEST_QUESTION = 300  # characters: what any embedder reads whole
SCORED_AT_ONCE = 50
"""Answers whose support one look asks for, of all models: an embedder has questions to embed."""
_DAY = timedelta(days=1)
"""What is told of support is told of a day, as of ratings: a week would tell it late."""

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
    least_supported: float = 0.5
    """The share of supported answers below which the alert fires; goes into the report."""
    _labels: dict[str, Labels] = field(default_factory=dict)
    _scores: Scores | None = None

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
        self._look_at_support([_key(one) for one in models if one.spec.knowledge], now)
        if failed:
            raise failed[0]
        return found

    def _look_at_support(self, models: Sequence[tuple[str, str]], now: datetime) -> None:
        """Tell how many answers of a day their passages carry; last, since it may take a minute."""
        if self.embed is None:
            return
        self._scores = self._scores or Scores(self.embed)
        more = max(1, SCORED_AT_ONCE // max(1, len(models)))
        found: dict[tuple[str, Version], Supported] = {}
        for tenant, name in models:
            ours = {
                version: self._scores.of(answers, more=more)
                for version, answers in self._given(tenant, name, now).items()
            }
            self._tell_support(tenant, name, ours, now)
            found |= {(tenant, version): one for version, one in ours.items()}
        self._scores.forget()
        self.metrics.show_support(found, least=self.least_supported)

    def _given(self, tenant: str, model: str, now: datetime) -> dict[Version, list[Response]]:
        return of_the_newest(
            self.ledger.answers_between(
                tenant, model=model, since=now - _DAY, until=now, limit=MOST_ANSWERS, newest=True
            )
        )

    def _tell_support(
        self, tenant: str, model: str, found: Mapping[Version, Supported], now: datetime
    ) -> None:
        text = support_report(
            tenant, model, found, self.least_supported, since=now - _DAY, until=now
        )
        self.work.put(f"monitor/{tenant}/{model}/support.json", io.BytesIO(text), size=len(text))
        for version, one in found.items():
            LOG.info(
                "%s/%s: %d of %d scored answers are supported, %.0f%% to %.0f%% of all",
                tenant,
                version.model,
                one.supported,
                one.scored,
                100 * one.lower,
                100 * one.upper,
            )

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

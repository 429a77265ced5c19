"""Everything that a selection is made of, read from bucket, ledger and earlier runs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from nexus_api.training import Feedback, TrainingData
from nexus_knowledge.ledger import Ledger
from nexus_knowledge.objects import ObjectInfo, ObjectStore
from nexus_pipelines.environment import Environment
from nexus_pipelines.finetune.arguments import JobKey
from nexus_pipelines.finetune.learnt import learnt_before
from nexus_pipelines.finetune.select import feedback, files, older
from nexus_pipelines.finetune.select.examples import Example, Source, utc_text
from nexus_pipelines.finetune.select.prompts import Asking
from nexus_pipelines.finetune.store import FineTuneStore
from nexus_pipelines.source import open_bucket

CURATED_CREDENTIALS = "NEXUS_CURATED_S3_"


@dataclass
class Gathered:
    """All candidates, and what there is to say about where they came from."""

    examples: list[Example] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)  # read, by source
    malformed: Counter[str] = field(default_factory=Counter)  # by reason
    reading: files.Reading = field(default_factory=files.Reading)
    older_runs: list[str] = field(default_factory=list)
    learnt: set[str] = field(default_factory=set)  # marks of what better models have learnt


def gather(
    key: JobKey,
    uid: str,
    data: TrainingData,
    store: FineTuneStore | None,
    environment: Environment,
    as_of: datetime,
    asking: Asking,
) -> Gathered:
    """Read files, curated sets, feedback and, with `store`, what runs of `uid` learnt from.

    Raises:
        StepError: a source cannot be used as the spec says.
        KnowledgeError: bucket or ledger does not answer.
    """
    found = Gathered(reading=files.Reading(asking))
    buckets = _read_buckets(key, data, environment, found)
    with _OnDemand(environment) as ledger:
        if data.feedback is not None:
            _read_feedback(key, data.feedback, ledger.open(), as_of, found)
        if store is not None:
            before = older.earlier_runs(store, uid, utc_text(as_of))
            found.older_runs, found.learnt = before.good, learnt_before(store, before.runs)
            origins = older.Origins(
                buckets,
                lambda ids: (
                    ledger.open().known_responses(key.tenant, ids) if data.feedback else set()
                ),
            )
            came = older.examples(store, before.good, origins, asking, found.learnt)
            _take(came, Source.OLDER, found)
    found.malformed += found.reading.malformed
    return found


def _read_buckets(
    key: JobKey, data: TrainingData, environment: Environment, found: Gathered
) -> list[ObjectStore]:
    """Read files and curated sets; what is curated counts as that alone."""
    buckets: list[ObjectStore] = []
    theirs: set[tuple[str, str]] = set()
    if data.curated is not None:
        bucket = open_bucket(
            f"{key}: data.curated", data.curated, environment, credentials=CURATED_CREDENTIALS
        )
        listed = files.objects(key, "data.curated", data.curated, bucket)
        theirs = {(data.curated.bucket, one.key) for one in listed}
        _read(bucket, listed, Source.CURATED, found)
        buckets.append(bucket)
    if data.files is not None:
        bucket = open_bucket(f"{key}: data.files", data.files, environment)
        name = data.files.bucket
        listed = files.objects(key, "data.files", data.files, bucket)
        _read(bucket, [one for one in listed if (name, one.key) not in theirs], Source.FILES, found)
        buckets.append(bucket)
    return buckets


def _read(bucket: ObjectStore, listed: list[ObjectInfo], source: Source, found: Gathered) -> None:
    before = found.reading.rows
    found.examples += files.read(bucket, listed, source, found.reading)
    found.rows[source] += found.reading.rows - before


def _read_feedback(
    key: JobKey, spec: Feedback, ledger: Ledger, as_of: datetime, found: Gathered
) -> None:
    rated = ledger.rated(
        key.tenant,
        model=spec.serving_model_ref.name,
        until=as_of,
        limit=spec.max_examples,
        corrected_only=spec.corrected_only,
    )
    found.rows[Source.FEEDBACK] += len(rated)
    found.examples += feedback.examples(
        rated, found.malformed, found.reading.asking, corrected_only=spec.corrected_only
    )


def _take(examples: Iterable[Example], source: Source, found: Gathered) -> None:
    before = len(found.examples)
    found.examples += examples
    found.rows[source] += len(found.examples) - before


class _OnDemand:
    """The ledger, opened when it is first asked: a job without feedback needs none."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._ledger: Ledger | None = None

    def open(self) -> Ledger:
        """Return the ledger."""
        if self._ledger is None:
            self._ledger = Ledger(self._environment.ledger_url)
        return self._ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ledger is not None:
            self._ledger.close()

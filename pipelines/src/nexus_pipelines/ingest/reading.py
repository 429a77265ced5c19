"""From one object of the bucket to the chunks of one document."""

import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import IO, TypeAlias

from nexus_api.duration import parse_duration
from nexus_api.quantity import parse_bytes
from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.chunks import Chunk
from nexus_knowledge.errors import (
    KnowledgeError,
    ObjectChanged,
    ObjectNotFound,
    ObjectTooLarge,
    ObjectUnreadable,
)
from nexus_knowledge.ids import chunk_id
from nexus_knowledge.ledger.types import Failed, Ready, WorkItem
from nexus_knowledge.objects import ObjectStore, read_listed
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.chunk.core import ChunkLimits, Span, chunk
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.errors import StepError
from nexus_pipelines.ingest.outcome import Cut, Left, Outcome
from nexus_pipelines.parse.core import too_large
from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason

Parser: TypeAlias = Callable[[IO[bytes], str], Parsed]

_MAX_SECTION = 1000
# Characters from which documents are cut one after another: one of 20 million, the most that is
# parsed, takes up to two gigabytes then, and several at once would end the step.
_LARGE = 1_000_000


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads documents of one index; may be called from several threads."""

    key: IndexKey
    bucket: ObjectStore
    parser: Parser
    tokenizer: TextTokenizer
    parse_limits: ParseLimits
    chunk_limits: ChunkLimits
    turn: Lock = field(default_factory=Lock)
    """Held while a large document is cut."""

    def read(self, item: WorkItem) -> Outcome:
        """Read, parse and cut one document.  Its own faults are an outcome, not an error."""
        try:
            parsed = self._parsed(item)
            chunks = self._chunks(item, parsed)
            if not chunks:
                raise ParseFailure(Reason.EMPTY, "the document holds no words")  # noqa: TRY301
        except ParseFailure as failure:
            return Failed(item.document_id, item.generation, str(failure.reason), failure.message)
        except (ObjectChanged, ObjectNotFound):
            return Left(item)
        except ObjectUnreadable as error:
            message = f"{error}; let the platform read it and store it again"
            return Failed(item.document_id, item.generation, "Unreadable", message)
        except (KnowledgeError, StepError):
            raise
        except Exception as error:  # noqa: BLE001  one document must never stop the others
            traceback.print_exc(file=sys.stderr)
            message = f"an error of the software: {type(error).__name__}: {str(error)[:200]}"
            return Failed(item.document_id, item.generation, "InternalError", message)
        ready = Ready(
            document_id=item.document_id,
            generation=item.generation,
            chunks=len(chunks),
            pages=len(parsed.pages),
            title=parsed.title or item.path.rpartition("/")[2],
        )
        return Cut(ready, chunks)

    def _parsed(self, item: WorkItem) -> Parsed:
        limit = self.parse_limits.max_bytes
        if item.size > limit:
            raise too_large(item.size, self.parse_limits)
        try:
            content = read_listed(self.bucket, item.key, etag=item.etag, limit=limit)
        except ObjectTooLarge:
            raise too_large(limit + 1, self.parse_limits) from None
        if not content:
            raise ParseFailure(Reason.EMPTY, "the file has no bytes")
        # An unnamed file: it is gone with this process, whatever ends it.
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(content)
            del content
            return self.parser(file, item.path)

    def _chunks(self, item: WorkItem, parsed: Parsed) -> list[Chunk]:
        metadata = {"title": parsed.title} if parsed.title else {}
        with self.turn if len(parsed.text) > _LARGE else nullcontext():
            return [
                self._chunk(item, parsed, ordinal, span, metadata)
                for ordinal, span in enumerate(chunk(parsed, self.tokenizer, self.chunk_limits))
            ]

    def _chunk(
        self, item: WorkItem, parsed: Parsed, ordinal: int, span: Span, metadata: dict[str, str]
    ) -> Chunk:
        return Chunk(
            chunk_id=chunk_id(
                self.key.tenant, self.key.name, item.document_id, item.generation, ordinal
            ),
            document_id=item.document_id,
            document=item.path,
            generation=item.generation,
            ordinal=ordinal,
            text=parsed.text[span.start : span.end],
            start=span.start,
            end=span.end,
            page=span.page,
            section=" > ".join(span.section)[:_MAX_SECTION],
            heading=span.heading,
            metadata=metadata,
        )


def parse_limits(spec: RagIndexSpec) -> ParseLimits:
    """Read RagIndex.parsing."""
    return ParseLimits(
        max_bytes=parse_bytes(spec.parsing.max_file_size),
        max_pages=spec.parsing.max_pages,
        timeout=parse_duration(spec.parsing.timeout).total_seconds(),
        max_memory=parse_bytes(spec.parsing.max_memory),
    )


def chunk_limits(spec: RagIndexSpec) -> ChunkLimits:
    """Read RagIndex.chunking and the embedding's passage prefix."""
    return ChunkLimits(
        max_tokens=spec.chunking.max_tokens,
        overlap_tokens=spec.chunking.overlap_tokens,
        strategy=spec.chunking.strategy,
        heading_prefix=spec.chunking.heading_prefix,
        passage_prefix=spec.embedding.passage_prefix,
    )

"""What becomes of one document on its way through ingest."""

from dataclasses import dataclass
from typing import TypeAlias

from nexus_knowledge.chunks import Chunk
from nexus_knowledge.ledger.types import Failed, Ready, WorkItem


@dataclass(frozen=True, slots=True)
class Cut:
    """A document that was read and cut; its chunks still need vectors and a place."""

    ready: Ready
    chunks: list[Chunk]


@dataclass(frozen=True, slots=True)
class Left:
    """A document that is another one by now, or gone: the next sync sees what it has become."""

    item: WorkItem


Outcome: TypeAlias = Cut | Failed | Left

"""A whole sync in one process: real ledger and directory, vectors in memory, no model."""

from __future__ import annotations

import copy
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import pytest

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.ledger import Ledger, WorkItem, upgrade
from nexus_knowledge.objects import open_store
from nexus_knowledge.vectors.memory import MemoryIndex
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.chunk.tokens import TextTokenizer
from nexus_pipelines.ingest.core import Ingest, Summary, Vectors
from nexus_pipelines.ingest.reading import Reader, chunk_limits, parse_limits
from nexus_pipelines.parse.core import parse
from nexus_pipelines.parse.document import Parsed, ParseLimits
from nexus_pipelines.publish.core import Publication
from nexus_pipelines.runs import RunPlan, RunStore
from nexus_pipelines.sync_plan.cli import compare
from nexus_pipelines.sync_plan.core import shards

DIMENSION = 8


def embed(texts: Sequence[str]) -> Vectors:
    """Vectors that depend on the text alone."""
    rows = [list(hashlib.sha256(text.encode()).digest()[:DIMENSION]) for text in texts]
    return np.asarray(rows, np.float32).reshape(-1, DIMENSION)


def parser(file: IO[bytes], path: str) -> Parsed:
    """Parse without a process of its own."""
    file.seek(0)
    return parse(file.read(), path, ParseLimits())


def _unwrapped(part: Any) -> Any:
    return part


@dataclass
class Desk:
    """One index and everything around it; `wrap` may stand between a step and its parts."""

    root: Path
    tokenizer: TextTokenizer
    vectors: MemoryIndex = field(default_factory=MemoryIndex)
    key: IndexKey = field(default_factory=lambda: IndexKey("team", "handbook"))
    uid: str = "uid-1"
    spec: RagIndexSpec = field(
        default_factory=lambda: RagIndexSpec.model_validate(
            {"chunking": {"maxTokens": 16, "overlapTokens": 0}}
        )
    )
    runs: int = 0
    wrap: Callable[[Any], Any] = _unwrapped
    embedded: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger(f"sqlite:///{self.root / 'ledger.db'}")
        self.bucket = open_store(f"file://{self.root / 'bucket'}")
        self.work = open_store(f"file://{self.root / 'work'}")

    def copy(self, root: Path) -> Desk:
        """Another desk in the same state, which goes its own way."""
        self.ledger.close()
        shutil.copytree(self.root, root)
        made = Desk(
            root, self.tokenizer, copy.deepcopy(self.vectors), spec=self.spec, runs=self.runs
        )
        self.ledger = Ledger(f"sqlite:///{self.root / 'ledger.db'}")
        return made

    def put(self, path: str, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.bucket.put(f"team/handbook/{path}", io.BytesIO(data), size=len(data))

    def remove(self, path: str) -> None:
        self.bucket.delete(f"team/handbook/{path}")

    def plan(self, run: str) -> list[dict[str, Any]]:
        ledger, bucket = self.wrap(self.ledger), self.wrap(self.bucket)
        plan = compare(self.key, self.uid, self.spec, self.spec.fingerprint(), bucket, ledger)
        for doomed in plan.delete_keys:
            bucket.delete(doomed)
        work = RunStore(self.wrap(self.work), self.key, run)
        references = work.put_shards(plan.collection, shards(plan.work, parallelism=2))
        changes = len(plan.work) + plan.removed + len(plan.delete_keys)
        work.put_plan(RunPlan(plan.collection, changes))
        return references

    def ingest(
        self, run: str, reference: dict[str, Any], *, turn: Lock | None = None, **options: Any
    ) -> Summary:
        shard = RunStore(self.wrap(self.work), self.key, run).shard(reference["key"])

        def counted(texts: Sequence[str]) -> Vectors:
            self.embedded.append(len(texts))
            return embed(texts)

        reader = Reader(
            key=self.key,
            bucket=self.bucket,
            parser=parser,
            tokenizer=self.tokenizer,
            parse_limits=parse_limits(self.spec),
            chunk_limits=chunk_limits(self.spec),
            turn=turn or Lock(),
        )
        given: dict[str, Any] = {
            "read": reader.read,
            "embed": counted,
            "batch": 8,
            "threads": 2,
            "dimension": None,
            "progress": lambda _: None,
            **options,
        }
        return Ingest(
            key=self.key,
            collection=shard.collection,
            ledger=self.wrap(self.ledger),
            vectors=self.wrap(self.vectors),
            **given,
        ).run(shard.items)

    def publish(self, run: str, *, asked: bool = False, thorough: bool = False) -> None:
        work = RunStore(self.wrap(self.work), self.key, run)
        plan = work.plan()
        publication = Publication(
            self.key,
            self.uid,
            self.wrap(self.ledger),
            lambda: self.wrap(self.vectors),
            lambda: DIMENSION,
        )
        changed = plan is not None and publication.publish(plan)
        publication.clean_up(changed=changed, asked=asked, thorough=thorough)
        work.clean_up()

    def sync(self, run: str | None = None) -> None:
        if run is None:
            self.runs += 1
            run = f"run-{self.runs}"
        for reference in self.plan(run):
            self.ingest(run, reference)
        self.publish(run)

    def searchable(self) -> dict[str, str]:
        """What may be cited now, by path: the text of all live chunks, in order."""
        view = self.ledger.view(*self.key)
        if view is None or not self.vectors.has(view.collection):
            return {}
        (found,) = self.vectors.search_dense(
            view.collection, np.ones((1, DIMENSION), np.float32), 100_000
        )
        ids = sorted({one.chunk.document_id for one in found})
        _, live = self.ledger.live(*self.key, ids)
        texts: dict[str, list[tuple[int, str]]] = {}
        for one in found:
            if live.get(one.chunk.document_id) == one.chunk.generation:
                texts.setdefault(one.chunk.document, []).append((one.chunk.ordinal, one.chunk.text))
        return {path: " ".join(text for _, text in sorted(parts)) for path, parts in texts.items()}

    def consistent(self) -> None:
        """Nothing is held but what is wanted, and all of that."""
        view = self.ledger.view(*self.key)
        assert self.ledger.garbage(*self.key) == []
        assert view is not None
        assert self.vectors.collections() == [view.collection]
        expected = self.ledger.expected(*self.key, view.collection)
        assert self.vectors.versions(view.collection) == expected


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with tables and no rows; copying it is faster than making another."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def desk(tmp_path: Path, bert: TextTokenizer, empty_ledger: Path) -> Iterator[Desk]:
    root = tmp_path / "desk"
    root.mkdir()
    shutil.copy(empty_ledger, root / "ledger.db")
    made = Desk(root, bert)
    yield made
    made.ledger.close()


@pytest.fixture
def items() -> Callable[..., list[WorkItem]]:
    """Work of given sizes."""
    return lambda *sizes: [
        WorkItem(f"id{n}", f"p{n:05}", f"k{n}", "etag", size, 1) for n, size in enumerate(sizes)
    ]

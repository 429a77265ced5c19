"""The steps of a sync as processes of their own, with the real vector index and embedder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from document_stores import Directories, DocumentStores, RealStores, store_servers
from needs import lacking
from ports import free_ports, listens

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.ledger import Document, Ledger, upgrade
from nexus_knowledge.vectors import VectorIndex, open_index

CACHE = Path.home() / ".cache" / "llmops-nexus" / "models"
SCRIPTS = Path(sys.executable).parent
STEP_TIMEOUT = 300


@dataclass(frozen=True)
class Services:
    """Where the shared children listen."""

    milvus: str
    embedder: str
    cache: Path


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Start a vector index and an embedder for the whole session."""
    for script in ("milvus-lite", "nexus-embedder"):
        if not (SCRIPTS / script).exists() and shutil.which(script) is None:
            lacking(f"{script} is not installed beside this Python: make install")
    root = tmp_path_factory.mktemp("services")
    cache = Path(os.environ.get("NEXUS_TEST_MODEL_CACHE", CACHE))
    milvus, embedder = free_ports(2)
    children = [
        _child(
            root / "milvus.log",
            *(SCRIPTS / "milvus-lite", "server", "--data-dir", root / "milvus"),
            *("--host", "127.0.0.1", "--port", milvus),
        ),
        _child(
            root / "embedder.log",
            *(SCRIPTS / "nexus-embedder", "--cache", cache),
            *("--host", "127.0.0.1", "--port", embedder),
        ),
    ]
    try:
        _until(lambda: listens(milvus), children, root)
        _until(lambda: _ready(embedder), children, root)
        yield Services(f"http://127.0.0.1:{milvus}", f"http://127.0.0.1:{embedder}", cache)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _child(log: Path, *command: object) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen(
            [str(part) for part in command], stdout=stream, stderr=subprocess.STDOUT
        )


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _until(
    condition: Callable[[], bool], children: list[subprocess.Popen[bytes]], root: Path
) -> None:
    end = time.monotonic() + 400
    while not condition():
        ended = [child.args for child in children if child.poll() is not None]
        if ended or time.monotonic() > end:
            logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in root.glob("*.log"))
            raise AssertionError(f"a service did not come up ({ended}): {logs}")
        time.sleep(0.05)


@dataclass
class Site:
    """One index with a bucket, a ledger and a work store of its own."""

    root: Path
    services: Services
    namespace: str
    stores: DocumentStores
    index: str = "handbook"
    uid: str = "uid-1"
    spec: RagIndexSpec = field(default_factory=RagIndexSpec)
    runs: int = 0

    def put(self, path: str, content: str | bytes) -> None:
        """Store a document whole."""
        data = content.encode() if isinstance(content, str) else content
        self.stores.put(f"{self.namespace}/{self.index}/{path}", data)

    def remove(self, path: str) -> None:
        """Delete a document; fine when it is not there."""
        self.stores.remove(f"{self.namespace}/{self.index}/{path}")

    def holds(self, path: str) -> bool:
        """Say whether the bucket has a document."""
        return self.stores.holds(f"{self.namespace}/{self.index}/{path}")

    def begin(self, step: str, **arguments: str) -> subprocess.Popen[str]:
        """Start one step as a process."""
        words = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "TMPDIR": str(self.root),
            **self.stores.environment,
            "NEXUS_MILVUS_URI": self.services.milvus,
            "NEXUS_EMBEDDER_URL": self.services.embedder,
            "NEXUS_MODEL_CACHE": str(self.services.cache),
        }
        return subprocess.Popen(
            [str(SCRIPTS / "nexus-pipelines"), step, *words],
            env=environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, step: str, **arguments: str) -> str:
        """Run one step to its good end; what it wrote to stderr."""
        process = self.begin(step, **arguments)
        _, errors = process.communicate(timeout=STEP_TIMEOUT)
        assert process.returncode == 0, f"{step} ended with {process.returncode}: {errors}"
        return errors

    def of_run(self, run: str) -> dict[str, str]:
        return {
            "namespace": self.namespace,
            "index": self.index,
            "settings": json.dumps(self.spec.manifest()),
            "fingerprint": self.spec.fingerprint(),
            "run": run,
        }

    def next_run(self) -> str:
        self.runs += 1
        return f"{self.namespace}-{self.index}-sync-{self.runs}"

    def plan(self, run: str) -> list[dict[str, Any]]:
        shards, count = self.root / "shards.json", self.root / "count"
        self.run(
            "sync-plan",
            **self.of_run(run),
            uid=self.uid,
            shards_out=str(shards),
            count_out=str(count),
        )
        references: list[dict[str, Any]] = json.loads(shards.read_text())
        assert int(count.read_text()) == len(references)
        return references

    def ingest(self, run: str, shard: dict[str, Any]) -> str:
        return self.run("ingest", **self.of_run(run), shard=json.dumps(shard))

    def publish(self, run: str) -> dict[str, Any]:
        report = self.root / "report.json"
        self.run("publish", **self.of_run(run), uid=self.uid, report_out=str(report))
        value: dict[str, Any] = json.loads(report.read_text())
        return value

    def sync(self) -> dict[str, Any]:
        """Run a whole sync, as the Workflow does."""
        run = self.next_run()
        for shard in self.plan(run):
            self.ingest(run, shard)
        return self.publish(run)

    def teardown(self, policy: str = "Delete") -> None:
        self.run(
            "teardown", namespace=self.namespace, index=self.index, uid=self.uid, policy=policy
        )

    def ledger(self) -> Ledger:
        return Ledger(self.stores.ledger_url)

    def documents(self) -> dict[str, Document]:
        ledger = self.ledger()
        try:
            page = ledger.documents(self.namespace, self.index, limit=1000)
            return {document.path: document for document in page.documents}
        finally:
            ledger.close()


@pytest.fixture(scope="session")
def vectors(services: Services) -> Iterator[VectorIndex]:
    """The vector index, to look into."""
    index = open_index(services.milvus)
    yield index
    index.close()


_namespaces = iter(range(1, 10_000))


@pytest.fixture(scope="session")
def real_stores() -> Iterator[RealStores]:
    """MinIO and PostgreSQL for the session; skipped where a machine lacks them."""
    with store_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def site_class() -> type[Site]:
    """The class, for tests that have stores of their own."""
    return Site


_numbers = count(1)


@pytest.fixture(params=["directory and sqlite", "minio and postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path, services: Services) -> Site:
    """An index that nobody has synced yet, on each kind of store."""
    stores: DocumentStores = Directories(tmp_path)
    if request.param != "directory and sqlite":
        stores = request.getfixturevalue("real_stores").new(next(_numbers))
    upgrade(stores.ledger_url)
    return Site(tmp_path, services, f"team{next(_namespaces)}", stores)

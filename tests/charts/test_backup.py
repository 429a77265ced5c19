"""The commands of docs/how-to/backup-and-restore.md, run as they stand there.

PostgreSQL, MinIO and their data are real; `kubectl` and `helm` are stand-ins that run on this
machine what would run in a pod.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from how_to import BACKUP, NO_AWS_FILES, SHELL, commands
from minio import Minio
from minio_server import ACCESS_KEY, SECRET_KEY, MinioServer
from needs import lacking
from postgres_server import PostgresServer, temporary_postgres

from nexus_knowledge.ledger import Feedback, Ledger, Listed, Response, upgrade

STAND_INS = Path(__file__).parent / "stand_ins"
TOOLS = ("aws", "jq", "pg_dump", "pg_restore")
DOCUMENTS = {
    "default/handbook/pump.txt": b"The standby pump is tested on Mondays.",
    "default/handbook/deep/a b.md": b"# Valves\n",
    "team-b/notes/x.bin": bytes(range(256)) * 1000,
}
MODELS = {"default/support/0123456789abcdef/unit.json": b"{}"}
_SECONDS = 180


@dataclass
class Site:
    """Stores of one installation, and a folder in which the commands are typed."""

    folder: Path
    minio: MinioServer
    postgres: PostgresServer
    ledger_url: str
    resources: list[dict[str, object]] = field(default_factory=list)

    def typed(self, title: str) -> list[str]:
        """Type a section in the folder of the backup; return what kubectl and helm were asked."""
        (self.folder / "resources.json").write_text(json.dumps({"items": self.resources}))
        (self.folder / "registry").mkdir(exist_ok=True)
        seen = self.folder / "seen"
        seen.write_text("")
        text = commands(BACKUP, title)
        text = text.replace("S3=http://127.0.0.1:9000", f"S3={self.minio.endpoint}")
        done = subprocess.run(
            [*SHELL, text],
            check=False,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={
                **os.environ,
                "PATH": f"{STAND_INS}:{os.environ['PATH']}",
                "SEEN": str(seen),
                "RESOURCES": str(self.folder / "resources.json"),
                "REGISTRY": str(self.folder / "registry"),
                "KEY": ACCESS_KEY,
                "SECRET": SECRET_KEY,
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.postgres.port),
                **NO_AWS_FILES,
            },
        )
        assert done.returncode == 0, done.stderr
        return seen.read_text().splitlines()

    def objects(self, bucket: str) -> dict[str, bytes]:
        client = self.client()
        found = {}
        for one in client.list_objects(bucket, recursive=True):
            assert one.object_name
            answer = client.get_object(bucket, one.object_name)
            found[one.object_name] = answer.read()
            answer.close()
        return found

    def client(self) -> Minio:
        return self.minio.access.client()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with temporary_postgres() as server:
        server.execute("CREATE ROLE nexus SUPERUSER LOGIN")
        yield server


@pytest.fixture
def site(postgres: PostgresServer, tmp_path: Path) -> Iterator[Site]:
    """An installation with empty stores, as both charts leave it."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        lacking(f"not installed: {', '.join(missing)}")
    minio = MinioServer(tmp_path / "minio")
    minio.start()
    yield empty_site(tmp_path / "typed", minio, postgres)
    minio.stop()


def empty_site(folder: Path, minio: MinioServer, postgres: PostgresServer) -> Site:
    folder.mkdir(exist_ok=True)
    postgres.execute("DROP DATABASE IF EXISTS nexus")
    postgres.execute("CREATE DATABASE nexus OWNER nexus")
    url = f"postgresql+psycopg://nexus@127.0.0.1:{postgres.port}/nexus"
    upgrade(url)
    site = Site(folder, minio, postgres, url)
    client = site.client()
    for bucket in ("nexus", "nexus-models"):
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)
    return site


@contextmanager
def registry(site: Site) -> Iterator[sqlite3.Connection]:
    """The database of MLflow, which may be open while it is saved."""
    with closing(sqlite3.connect(site.folder / "registry" / "mlflow.db")) as database, database:
        yield database


def _fill(site: Site) -> None:
    for key, body in DOCUMENTS.items():
        site.client().put_object("nexus", key, BytesIO(body), len(body))
    for key, body in MODELS.items():
        site.client().put_object("nexus-models", key, BytesIO(body), len(body))
    with Ledger(site.ledger_url) as ledger:
        ledger.register_upload(
            "default", "handbook", Listed("pump.txt", "default/handbook/pump.txt", "e1", 38, 1.0)
        )
        ledger.log_response(
            Response("r1", "default", "assistant", "When?", "On Mondays. ¿Sí? 世界")
        )
        ledger.add_feedback(Feedback("r1", "default", rating=1, comment="right"))
    (site.folder / "registry" / "artifacts").mkdir(parents=True, exist_ok=True)
    (site.folder / "registry" / "artifacts" / "report.md").write_text("better")
    with registry(site) as database:
        database.execute("CREATE TABLE versions (name TEXT)")
        database.execute("INSERT INTO versions VALUES ('support 3')")
    site.resources = [
        {
            "apiVersion": "llmops.nexus/v1alpha1",
            "kind": "RagIndex",
            "metadata": {
                "name": "handbook",
                "namespace": "default",
                "labels": {"team": "a"},
                "uid": "1",
                "resourceVersion": "2",
                "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": ["llmops.nexus/cleanup"],
            },
            "spec": {"sync": {"interval": "10m"}},
            "status": {"chunks": 7},
        }
    ]


def test_what_was_saved_comes_back(site: Site) -> None:
    _fill(site)
    with registry(site) as busy:
        # what was committed lies beside the file for now, and half of something more
        busy.execute("PRAGMA journal_mode=WAL")
        busy.execute("INSERT INTO versions VALUES ('support 4')")
        busy.commit()
        busy.execute("INSERT INTO versions VALUES ('support 5')")
        site.typed("Save")
        busy.rollback()

    # the cluster is lost; another has new, empty stores with something in the way
    for key in DOCUMENTS:
        site.client().remove_object("nexus", key)
    for key in MODELS:
        site.client().remove_object("nexus-models", key)
    site.client().put_object("nexus", "default/handbook/late.txt", BytesIO(b"x"), 1)
    shutil.rmtree(site.folder / "registry")
    site = empty_site(site.folder, site.minio, site.postgres)
    with Ledger(site.ledger_url) as ledger:
        assert ledger.responses("default") == []

    asked = site.typed("Bring back")
    assert site.objects("nexus") == DOCUMENTS
    assert site.objects("nexus-models") == MODELS
    with Ledger(site.ledger_url) as ledger:
        (answer,) = ledger.responses("default")
        assert (answer.answer, answer.question) == ("On Mondays. ¿Sí? 世界", "When?")
        assert [one.comment for one in ledger.feedback("default")] == ["right"]
        assert ledger.counts("default", "handbook").pending == 1
    upgrade(site.ledger_url)  # it knows its own release
    names = [path.name for path in sorted((site.folder / "registry").rglob("*"))]
    assert names == ["artifacts", "report.md", "mlflow.db"], "all of it, and no half of a file"
    with registry(site) as database:
        assert database.execute("SELECT name FROM versions").fetchall() == [
            ("support 3",),
            ("support 4",),
        ]
    order = [asked.index(one) for one in asked if re.search("scale|pg_restore|helm", one)]
    assert len(order) == 4
    for who in ("operator", "gateway", "monitor"):
        assert re.search(rf"\b{who}\b", asked[order[0]]), f"{who} reads while tables are dropped"
    assert asked[-1] == "kubectl apply -f backup/resources.json"


def test_resources_are_saved_as_they_were_declared(site: Site) -> None:
    _fill(site)
    site.typed("Save")
    (saved,) = json.loads((site.folder / "backup" / "resources.json").read_text())["items"]
    assert saved == {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {"name": "handbook", "namespace": "default", "labels": {"team": "a"}},
        "spec": {"sync": {"interval": "10m"}},
    }


def test_no_secret_is_in_a_backup(site: Site) -> None:
    _fill(site)
    site.typed("Save")
    for path in (site.folder / "backup").rglob("*"):
        if path.is_file():
            assert SECRET_KEY.encode() not in path.read_bytes(), path

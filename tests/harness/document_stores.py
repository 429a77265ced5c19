"""Where a test's documents, shards and ledger lie: in a folder, or in MinIO and PostgreSQL."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from minio_server import MinioServer
from postgres_server import PostgresServer, postgres_programs, temporary_postgres


class DocumentStores(Protocol):
    """What a test does to a bucket, and what steps must know to find it."""

    @property
    def ledger_url(self) -> str: ...

    @property
    def environment(self) -> dict[str, str]: ...

    def put(self, key: str, content: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def holds(self, key: str) -> bool: ...

    def working(self) -> list[str]:
        """Return what steps have put down between them."""
        ...


@dataclass(frozen=True)
class Directories:
    """Plain folders and SQLite, as on a laptop."""

    root: Path

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.root / 'ledger.db'}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "NEXUS_BUCKET_URL": f"file://{self.root / 'bucket'}",
            "NEXUS_WORK_URL": f"file://{self.root / 'work'}",
            "NEXUS_LEDGER_URL": self.ledger_url,
        }

    def put(self, key: str, content: bytes) -> None:
        """Store a document as a program would that writes beside and renames."""
        target = self.root / "bucket" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = self.root / "partial"
        partial.write_bytes(content)
        partial.replace(target)

    def remove(self, key: str) -> None:
        (self.root / "bucket" / key).unlink(missing_ok=True)

    def holds(self, key: str) -> bool:
        return (self.root / "bucket" / key).exists()

    def working(self) -> list[str]:
        found = (path for path in (self.root / "work").rglob("*") if path.is_file())
        return [str(path) for path in found if ".nexus" not in path.parts]  # the store's own


@dataclass(frozen=True)
class Buckets:
    """Two buckets of a MinIO and a database of a PostgreSQL, as on a cluster."""

    minio: MinioServer
    ledger_url: str
    number: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.minio.environment_of_steps,
            "NEXUS_BUCKET_URL": f"s3://documents-{self.number}",
            "NEXUS_WORK_URL": f"s3://work-{self.number}",
            "NEXUS_LEDGER_URL": self.ledger_url,
        }

    def put(self, key: str, content: bytes) -> None:
        client = self.minio.access.client()
        client.put_object(f"documents-{self.number}", key, io.BytesIO(content), len(content))

    def remove(self, key: str) -> None:
        self.minio.access.client().remove_object(f"documents-{self.number}", key)

    def holds(self, key: str) -> bool:
        found = self.minio.access.client().list_objects(f"documents-{self.number}", prefix=key)
        return any(one.object_name == key for one in found)

    def working(self) -> list[str]:
        found = self.minio.access.client().list_objects(f"work-{self.number}", recursive=True)
        return [str(one.object_name) for one in found]


@dataclass(frozen=True)
class RealStores:
    """The servers, from which every test gets a part of its own."""

    minio: MinioServer
    postgres: PostgresServer

    def new(self, number: int) -> Buckets:
        """Make empty buckets and an empty database."""
        client = self.minio.access.client()
        for name in ("documents", "work"):
            client.make_bucket(f"{name}-{number}")
        return Buckets(self.minio, self.postgres.new_database(), number)


@contextmanager
def store_servers() -> Iterator[RealStores]:
    """Run MinIO and PostgreSQL."""
    postgres_programs()  # before MinIO starts
    with tempfile.TemporaryDirectory(prefix="nexus-minio-") as folder:
        minio = MinioServer(Path(folder))
        minio.start()
        try:
            with temporary_postgres() as postgres:
                yield RealStores(minio, postgres)
        finally:
            minio.stop()

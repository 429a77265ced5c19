"""A real PostgreSQL as a child process, in a folder of its own, on loopback."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from children import Child, DidNotStart
from needs import lacking
from ports import free_port

_DEBIAN = Path("/usr/lib/postgresql")
_NOBODY = "nobody"  # PostgreSQL refuses to run as root


def postgres_programs() -> Path:
    """Return the folder of initdb and postgres."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        lacking("no PostgreSQL server here: apt-get install postgresql")
    return versions[-1].parent


class PostgresServer(Child):
    """PostgreSQL with one superuser; a database for each test comes from a template."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_programs()
        self.port = free_port()
        user = pwd.getpwnam(_NOBODY).pw_uid if os.geteuid() == 0 else None
        folder.mkdir(parents=True, exist_ok=True)
        if user is not None:
            os.chown(folder, user, user)
        data = folder / "data"
        subprocess.run(
            [
                *(str(programs / "initdb"), "--pgdata", str(data), "--username", "tests"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"),
                # A language that orders words otherwise than their bytes are.
                *("--locale-provider", "icu", "--icu-locale", "en-US"),
                *("--no-sync", "--no-instructions"),
            ],
            check=True, capture_output=True, user=user, group=user, cwd=folder,
            extra_groups=[] if user is not None else None,
        )  # fmt: skip
        log = folder / "postgres.log"
        log.touch()
        super().__init__(
            [
                *(str(programs / "postgres"), "-D", str(data), "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                # A process that is killed loses nothing by this; a machine might.
                *("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=60"),
            ],
            log=log,
            ready=self._answers,
            user=user,
        )
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """Return the ledger's URL of a database."""
        return f"postgresql+psycopg://tests@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Make a database; give its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self.execute(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside a transaction."""
        with psycopg.connect(self._address(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it; after a kill, as soon as what it had forked has noticed."""
        for _ in range(50):
            try:
                return super().start()
            except DidNotStart as failed:
                if "pre-existing shared memory block" not in str(failed):
                    raise
        return super().start()

    def _address(self, database: str, seconds: int = 60) -> str:
        place = f"host=127.0.0.1 port={self.port} user=tests dbname={database}"
        return f"{place} connect_timeout={seconds}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._address("postgres", seconds=5)).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def temporary_postgres() -> Iterator[PostgresServer]:
    """Run a server in a folder that its user may reach, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="nexus-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "server")
        server.start()
        try:
            yield server
        finally:
            server.stop()

"""SIGKILL at any point: what was acknowledged is there, and nothing is half done."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from nexus_local.store.errors import StoreDamagedError, StoreLockedError
from nexus_local.store.local import LocalCluster

WRITER = Path(__file__).with_name("crash_writer.py")


def run_until(database: Path, first: int, lines: int) -> list[str]:
    """Let the writer acknowledge `lines` steps, kill it, and return all it acknowledged."""
    command = [sys.executable, str(WRITER), str(database), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        said += writer.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


async def test_five_kills_lose_and_break_nothing(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    said: list[str] = []
    last_version = 0
    for lines in (1, 7, 3, 12, 5):
        first = max((int(line.split()[1]) for line in said), default=0) + 1
        said += run_until(path, first, lines)
        async with LocalCluster(path) as cluster:
            there = {o["metadata"]["name"]: o for o in await cluster.list("v1", "ConfigMap")}
        deleted = {line.split()[1] for line in said if line.startswith("deleted")}
        made = {line.split()[1] for line in said if line.startswith("made")}
        for number in made - deleted:
            # A delete under way when the kill came has happened as a whole or not at all.
            names = {f"owner-{number}", f"owner-{number}-x", f"owner-{number}-y"}
            assert names <= set(there) or (int(number) % 3 == 0 and not names & set(there))
        uids = {o["metadata"]["uid"] for o in there.values()}
        for name, item in there.items():
            assert name.split("-")[1] not in deleted
            owners = item["metadata"].get("ownerReferences", [])
            assert all(reference["uid"] in uids for reference in owners)
        versions = [int(o["metadata"]["resourceVersion"]) for o in there.values()]
        assert len(set(versions)) == len(versions)
        assert max(versions) >= last_version
        last_version = max(versions)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_second_process_is_told_who_has_the_store(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    command = [sys.executable, str(WRITER), str(path), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(StoreLockedError, match=f"process {writer.pid}") as refused:
                LocalCluster(path)
            assert refused.value.pid == writer.pid
        finally:
            writer.kill()


async def test_a_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    run_until(path, 0, 1)
    async with LocalCluster(path) as cluster:
        assert await cluster.list("v1", "ConfigMap")


def test_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    path.write_text(json.dumps({"not": "a database"}) * 100)
    with pytest.raises(StoreDamagedError, match=r"objects\.db"):
        LocalCluster(path)
    path.unlink()
    LocalCluster(path).close()  # the failed opening holds no lock


def test_store_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreDamagedError, match="format 99"):
        LocalCluster(path)

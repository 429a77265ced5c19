"""Real SIGKILLs of a process that syncs, on a real SQLite ledger in a real directory."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlite_vectors import SqliteVectors
from sync_world import Bucket, World, chunk_count, finish

from nexus_knowledge.ledger import Ledger

SYNC_FOREVER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from nexus_knowledge.ledger import Ledger
from sqlite_vectors import SqliteVectors
from sync_world import Bucket, World, finish

folder = Path(sys.argv[2])
world = World(Ledger(sys.argv[3]), SqliteVectors(folder / "vectors.db"))
while True:
    state = json.loads((folder / "bucket.json").read_text())
    world.bucket.objects = {path: tuple(held) for path, held in state["objects"].items()}
    world.fingerprint = state["fingerprint"]
    for step in world.sync():
        print(step, flush=True)
"""


def write(folder: Path, bucket: Bucket, fingerprint: str) -> None:
    state = {"objects": bucket.objects, "fingerprint": fingerprint}
    (folder / "bucket.new").write_text(json.dumps(state))
    (folder / "bucket.new").replace(folder / "bucket.json")


def run_and_kill(folder: Path, ledger_url: str, steps: int) -> None:
    """Let a process sync for some steps, then kill it in the middle of the next."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", SYNC_FOREVER, here, str(folder), ledger_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(steps):
            assert process.stdout.readline(), "the sync ended by itself"
        process.kill()


@pytest.mark.parametrize("seed", [1, 2])
def test_five_kills_leave_every_document_there_once(
    tmp_path: Path, ledger_url: str, seed: int
) -> None:
    dice = random.Random(seed)
    vectors = SqliteVectors(tmp_path / "vectors.db")
    with Ledger(ledger_url) as ledger:
        world = World(ledger, vectors)
        ever: dict[str, set[str]] = {}
        for kill in range(5):
            for path in dice.sample([f"d{n}" for n in range(12)], 8):
                content = f"{path}{'x' * dice.randrange(3)}{kill}"
                world.bucket.put(path, content)
                ever.setdefault(path, set()).add(content)
            world.bucket.objects.pop(dice.choice(sorted(world.bucket.objects)))
            world.fingerprint = f"f{kill // 3}"
            write(tmp_path, world.bucket, world.fingerprint)
            run_and_kill(tmp_path, ledger_url, dice.randrange(1, 60))
            world.check(ever)
        started = time.monotonic()
        finish(world.sync())
        finish(world.sync())
        assert time.monotonic() - started < 60
        world.check(ever)
        world.check_at_rest()
        assert set(world.visible()) == set(world.bucket.objects)
        for path, chunks in world.visible().items():
            assert len(chunks) == chunk_count(world.bucket.objects[path][0])
    vectors.close()

"""Steps killed by SIGKILL at many points, with everything real behind them."""

from __future__ import annotations

import os
import random
import subprocess
import time
from typing import Any

import pytest

from nexus_knowledge.vectors import VectorIndex

from .pumps import SPEC, text, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

KILLS = int(os.environ.get("NEXUS_TEST_KILLS", "12"))
DOCUMENTS = 60
RANDOM = random.Random(20)  # the same kills in every run, as far as clocks allow


def step_to_kill(site: Any, run: str, shards: list[dict[str, Any]]) -> subprocess.Popen[str]:
    """Begin whichever step the run is at."""
    if not shards:
        return site.begin(  # type: ignore[no-any-return]
            "publish", **site.of_run(run), uid=site.uid, report_out=str(site.root / "r.json")
        )
    import json

    return site.begin("ingest", **site.of_run(run), shard=json.dumps(shards[0]))  # type: ignore[no-any-return]


def kill_somewhere(process: subprocess.Popen[str]) -> bool:
    """Kill a step: half of the time soon after it reported progress; True when it was alive."""
    if RANDOM.random() < 0.5:
        assert process.stderr is not None
        for _ in range(RANDOM.randint(1, 2)):
            process.stderr.readline()
        pause = RANDOM.uniform(0, 0.1)
    else:
        pause = RANDOM.uniform(0.2, 4.0)
    end = time.monotonic() + pause
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)
    alive = process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    return alive


def never_half_visible(site: Any, vectors: VectorIndex, gone: set[str]) -> None:
    """What may be cited is whole, whatever was killed; what was deleted is not among it."""
    ledger = site.ledger()
    try:
        view = ledger.view(site.namespace, site.index)
        if view is None:
            return
        expected = ledger.expected(site.namespace, site.index, view.collection)
        documents = site.documents().values()
        live = {(d.document_id, d.live_generation) for d in documents if d.live_generation}
        assert not {d.path for d in documents if d.live_generation} & gone
        if live:
            held = vectors.count_versions(view.collection, sorted(live))
            assert held == {version: expected[version] for version in live}
    finally:
        ledger.close()


def change(site: Any, version: int) -> tuple[dict[str, int], set[str]]:
    """Upload, change and delete in the bucket; give versions by path, and what is gone."""
    wanted: dict[str, int] = {}
    gone: set[str] = set()
    for number in range(DOCUMENTS):
        path = f"{number:03}.txt"
        if version > 1 and number % 5 == version % 5:
            site.remove(path)
            gone.add(path)
            continue
        # A third stays as it was, byte for byte; what was deleted comes back the same.
        written = 1 if number % 3 == 0 else version
        site.put(path, text(number, written))
        wanted[path] = written
    return wanted, gone


def test_killed_at_random_points_nothing_is_half_visible_doubled_or_left(
    site: Any, vectors: VectorIndex
) -> None:
    site.spec = SPEC
    kills, version = 0, 0
    while kills < KILLS:
        version += 1
        wanted, gone = change(site, version)
        run = site.next_run()
        shards = site.plan(run)
        for _ in range(max(2, KILLS // 3)):
            process = step_to_kill(site, run, shards)
            kills += kill_somewhere(process)
            never_half_visible(site, vectors, gone)
            if process.returncode == 0:
                shards = shards[1:]
        for shard in shards:
            site.ingest(run, shard)
        report = site.publish(run)
        assert report["documents"]["indexed"] == len(wanted)
        whole(site, vectors, wanted)

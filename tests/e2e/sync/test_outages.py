"""MinIO, PostgreSQL and Milvus killed and started again while a sync runs."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from children import Child
from document_stores import RealStores, store_servers
from ports import free_port, listens

from nexus_knowledge.ledger import upgrade
from nexus_knowledge.vectors import VectorIndex, open_index

from .pumps import SPEC, text, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

TRANSIENT = 75
DOCUMENTS = 24
SERVERS = ["minio", "postgres", "milvus"]
RANDOM = random.Random(4)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Child]]:
    """Servers of this module's own, since it kills them."""
    folder, port = tmp_path_factory.mktemp("milvus"), free_port()
    command = [str(Path(sys.executable).with_name("milvus-lite")), "server"]
    command += ["--data-dir", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
    milvus = Child(command, log=folder / "milvus.log", ready=lambda: listens(port))
    milvus.port = port  # type: ignore[attr-defined]
    with store_servers() as stores:
        milvus.start()
        try:
            yield {"minio": stores.minio, "postgres": stores.postgres, "milvus": milvus}
        finally:
            milvus.stop()


_numbers = count(1)


@pytest.fixture
def site(servers: dict[str, Any], site_class: Any, services: Any, tmp_path: Path) -> Any:
    """An index of which nobody has heard, on servers that will be killed."""
    number = next(_numbers)
    stores = RealStores(servers["minio"], servers["postgres"]).new(number)
    upgrade(stores.ledger_url)
    own = replace(services, milvus=f"http://127.0.0.1:{servers['milvus'].port}")
    return site_class(tmp_path, own, f"outage{number}", stores, spec=SPEC)


@contextmanager
def looking_into(site: Any) -> Iterator[VectorIndex]:
    vectors = open_index(site.services.milvus)
    try:
        yield vectors
    finally:
        vectors.close()


def arguments(site: Any, run: str, step: str, shard: Any) -> dict[str, str]:
    root = site.root
    more = {
        "sync-plan": {
            "uid": site.uid,
            "shards_out": f"{root}/shards.json",
            "count_out": f"{root}/count",
        },
        "ingest": {"shard": json.dumps(shard)},
        "publish": {"uid": site.uid, "report_out": f"{root}/report.json"},
    }
    return {**site.of_run(run), **more[step]}


def outage(server: Child) -> None:
    """Kill a server at some moment of a step's life; have it back a moment later."""
    time.sleep(RANDOM.uniform(0.3, 2.5))
    server.kill()
    time.sleep(RANDOM.uniform(0.1, 1.5))
    server.start()


def until_done(site: Any, run: str, step: str, shard: Any, server: Child | None) -> int:
    """Run a step as Argo does: again while it says that trying again may help; give the tries."""
    for attempt in range(1, 12):
        process = site.begin(step, **arguments(site, run, step, shard))
        breaker = threading.Thread(target=outage, args=(server,)) if server else None
        if breaker is not None:
            breaker.start()
        _, said = process.communicate(timeout=300)
        if breaker is not None:
            breaker.join()
        server = None
        if process.returncode == 0:
            return attempt
        assert process.returncode == TRANSIENT, f"{step}: {process.returncode}: {said}"
        assert "Traceback" not in said
    pytest.fail(f"{step} was still not done after {attempt} tries: {said}")


@pytest.mark.parametrize("name", SERVERS)
def test_a_sync_outlives_the_restart_of_each_server(
    name: str, site: Any, servers: dict[str, Child]
) -> None:
    for version, broken in enumerate(["sync-plan", "ingest", "publish"], start=1):
        wanted = {}
        for number in range(DOCUMENTS):
            path = f"{number:03}.txt"
            if version > 1 and number % 4 == version % 4:
                site.remove(path)
                continue
            wanted[path] = 1 if number % 3 == 0 else version
            site.put(path, text(number, wanted[path]))
        run = site.next_run()
        for step in ("sync-plan", "ingest", "publish"):
            server = servers[name] if step == broken else None
            shards = [None]
            if step == "ingest":
                shards = json.loads((site.root / "shards.json").read_text())
            for shard in shards:
                until_done(site, run, step, shard, server)
        report = json.loads((site.root / "report.json").read_text())
        assert report["documents"]["indexed"] == len(wanted)
        with looking_into(site) as vectors:
            whole(site, vectors, wanted)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_down_makes_a_step_wait_for_it(
    name: str, site: Any, servers: dict[str, Child]
) -> None:
    site.put("000.txt", text(0, 1))
    run = site.next_run()
    step = "ingest" if name == "milvus" else "sync-plan"
    shard = site.plan(run)[0] if step == "ingest" else None
    servers[name].kill()
    try:
        process = site.begin(step, **arguments(site, run, step, shard))
        _, said = process.communicate(timeout=300)
    finally:
        servers[name].start()
    assert process.returncode == TRANSIENT, said
    assert said.splitlines()[-1].startswith(f"nexus-pipelines {step}: ")
    assert "Traceback" not in said
    assert site.sync()["documents"]["indexed"] == 1
    with looking_into(site) as vectors:
        whole(site, vectors, {"000.txt": 1})

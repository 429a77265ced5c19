"""With `events.source: minio` the gateway is told of objects by Argo Events' own listener."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from needs import Name, lacking, program

PROGRAMS: tuple[Name, ...] = ("minio", "nats-server", "argo-events")
HARNESS = Path(__file__).parents[2] / "harness"


def test_the_gateway_is_told_of_what_minios_listener_hears(tmp_path: Path) -> None:
    """Real MinIO, NATS, EventSource and Sensor, made as the operator makes them."""
    if os.geteuid() != 0 or shutil.which("openssl") is None:
        lacking("it needs root, for a network of its own, and openssl")
    for name in PROGRAMS:
        program(name)
    listened = str(HARNESS / "listened_store.py")
    command = ["unshare", "--net", "--mount", sys.executable, listened, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["path"] for one in told} == {"/hooks/notices"}
    assert {one["token"] for one in told} == {"a-token-of-the-test"}
    indexes = [(one["namespace"], one["index"]) for one in told]
    assert sorted(set(indexes)) == [("team", "handbook"), ("team", "notes")]
    assert indexes == sorted(indexes)  # in the order of the changes
    assert all(one["eventTime"] for one in told)

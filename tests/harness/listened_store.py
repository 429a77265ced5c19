"""MinIO, NATS and Argo Events as processes: what the gateway is told of objects in a bucket.

    unshare --net --mount python listened_store.py FOLDER

Argo Events' programs have fixed ports and fixed places for Secrets, so that they get a network and
a root of their own here.  Prints what was told as JSON, one request a line.
"""

import base64
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from children import Child
from minio_server import ACCESS_KEY, SECRET_KEY, MinioServer
from needs import program
from ports import HOST, listens
from waiting import eventually

from nexus_api.meta import Manifest
from nexus_api.notices import TOKEN_HEADER
from nexus_operator.build.events import GATEWAY, event_source, sensor
from nexus_operator.settings import Events, Settings

TOKEN = "a-token-of-the-test"
PUT = ("team/handbook/a b.md", "team/notes/c.md")
NATS_PORT = 4222


class Gateway(BaseHTTPRequestHandler):
    """Takes each notice."""

    told: ClassVar[list[Manifest]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        one = {"path": self.path, "token": self.headers[TOKEN_HEADER], **body}
        self.told.append(one)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_given: object) -> None:
        """Say nothing."""


@contextmanager
def gateway() -> Iterator[list[Manifest]]:
    with ThreadingHTTPServer((HOST, 80), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Gateway.told
        finally:
            server.shutdown()
            thread.join()


def nats(folder: Path) -> Child:
    """A bus that offers TLS, which Argo Events asks for."""
    key, certificate = folder / "nats.key", folder / "nats.crt"
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate))
    told = ["openssl", "req", "-x509", *made, "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(told, check=True, capture_output=True)
    tls = {"cert_file": str(certificate), "key_file": str(key), "timeout": 60}
    stored = {"store_dir": str(folder / "stream")}
    configuration = folder / "nats.conf"
    listen = f"{HOST}:{NATS_PORT}"
    configuration.write_text(json.dumps({"listen": listen, "jetstream": stored, "tls": tls}))
    command = [str(program("nats-server")), "--config", str(configuration)]
    log = folder / "nats.log"
    return Child(command, log=log, ready=lambda: listens(NATS_PORT))


def root(folder: Path, settings: Settings) -> Path:
    """Make what a pod of Argo Events sees: its program, its Secrets, and the gateway's address."""
    made = folder / "root"
    for name in ("etc", "tmp"):
        (made / name).mkdir(parents=True)
    host = urlsplit(GATEWAY.format(namespace=settings.platform_namespace)).hostname
    (made / "etc" / "hosts").write_text(f"{HOST} localhost {host}\n")
    keys = {"NEXUS_S3_ACCESS_KEY": ACCESS_KEY, "NEXUS_S3_SECRET_KEY": SECRET_KEY}
    events = settings.events
    for name, content in (
        (events.credentials_secret, keys),
        (events.notices_secret, {"token": TOKEN}),
    ):
        place = made / "argo-events" / "secrets" / name
        place.mkdir(parents=True)
        for key, value in content.items():
            (place / key).write_text(value)
    cluster = {"clusters": [{"name": "none", "cluster": {"server": f"http://{HOST}:1"}}]}
    used = {"contexts": [{"name": "none", "context": {"cluster": "none"}}]}
    nowhere = {"kind": "Config", **cluster, **used, "current-context": "none"}
    (made / "kubeconfig").write_text(json.dumps(nowhere))
    binary = made / "argo-events-program"
    binary.touch()
    subprocess.run(["mount", "--bind", str(program("argo-events")), str(binary)], check=True)
    return made


@contextmanager
def running(
    folder: Path, half: str, objects: dict[str, Manifest], ready: Callable[[], bool]
) -> Iterator[Path]:
    """Run one half of a listener, from when it is ready; yields its log."""
    bus = {"jetstream": {"url": f"nats://localhost:{NATS_PORT}", "streamConfig": "replicas: 1\n"}}
    given = {**objects, "EVENTBUS_CONFIG": bus}
    coded = {name: base64.b64encode(json.dumps(one).encode()) for name, one in given.items()}
    log = folder / f"{half}.log"
    log.touch()
    child = Child(
        ["unshare", "--root", str(folder / "root"), "/argo-events-program", half],
        log=log,
        ready=ready,
        environment={
            "PATH": os.defpath,
            "POD_NAME": half,
            "EVENTBUS_SUBJECT": "all",
            "KUBECONFIG": "/kubeconfig",
            **{name: one.decode() for name, one in coded.items()},
        },
    )
    child.start()
    try:
        yield log
    finally:
        child.stop()


def subscribed(folder: Path) -> bool:
    """Whether the bus knows a Sensor, for which it keeps what comes from now on."""
    return any((folder / "stream").glob("**/obs/group-*"))


def told(folder: Path) -> list[Manifest]:
    """Return what the gateway is told of objects that are put and removed.

    One half after the other, for both have one port: what is on the bus waits there.
    """
    store = MinioServer(folder / "store")
    address = store.endpoint.removeprefix("http://")
    events = Events(source="minio", bucket="nexus", endpoint=address, insecure=True)
    settings = Settings(on_kubernetes=True, events=events)
    root(folder, settings)
    listener = {"SENSOR_OBJECT": sensor(settings, ()), "EVENTSOURCE_OBJECT": event_source(settings)}
    bus = nats(folder)
    bus.start()
    store.start()
    try:
        client = store.access.client()
        client.make_bucket("nexus")
        with running(folder, "sensor-service", listener, lambda: subscribed(folder)):
            pass
        with running(folder, "eventsource-service", listener, lambda: True) as log:

            def heard(times: int) -> bool:
                return log.read_text().count("Succeeded to publish") >= times

            def change(key: str) -> None:
                client.put_object("nexus", key, io.BytesIO(b"x"), 1)
                client.remove_object("nexus", key)

            made: list[str] = []

            def again() -> bool:
                change(PUT[0])
                made.extend(("put", "removed"))
                return heard(1)

            eventually(again, what="a notice", pause=0.2)
            # Of the first key at most these are heard; the rest is of the second.
            eventually(lambda: change(PUT[1]) or heard(len(made) + 2), what="both keys", pause=0.2)
        with gateway() as notices, running(folder, "sensor-service", listener, lambda: True):
            eventually(lambda: len(notices) >= len(made) + 2, what="all notices at the gateway")
            return notices
    finally:
        store.stop()
        bus.stop()


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for one in told(Path(sys.argv[1])):
        sys.stdout.write(f"{json.dumps(one)}\n")

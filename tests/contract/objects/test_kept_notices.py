"""Notices that MinIO kept while nobody took them come once somebody does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from minio_server import MinioServer
from ports import HOST, free_port
from waiting import eventually

from nexus_knowledge.objects.buckets import make_bucket, notify

ARN, TOKEN = "arn:minio:sqs::NEXUS:webhook", "a-token-of-the-test"
OBJECTS = ("team/handbook/a.txt", "team/handbook/b c.txt", "team/notes/d.txt")


class Webhook(BaseHTTPRequestHandler):
    """Refuses the first notice, as an EventSource does whose bus is away, and takes the others."""

    refused: ClassVar[list[Any]] = []
    taken: ClassVar[list[Any]] = []
    tokens: ClassVar[set[str]] = set()

    def do_HEAD(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.tokens.add(self.headers["Authorization"])
        first = not self.refused
        (self.refused if first else self.taken).append(json.loads(body))
        self._answer(503 if first else 200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_given: object) -> None:
        """Say nothing."""


@contextmanager
def listening(port: int) -> Iterator[type[Webhook]]:
    with ThreadingHTTPServer((HOST, port), Webhook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Webhook
        finally:
            server.shutdown()
            thread.join()


def test_kept_notices_are_delivered_when_the_target_comes(
    tmp_path: Path, minio: MinioServer
) -> None:
    """Also when the store was killed meanwhile, and when the target refuses one at first."""
    del minio  # skips where there is none
    queue, port = tmp_path / "queue", free_port()
    queue.mkdir()
    server = MinioServer(
        tmp_path,
        MINIO_NOTIFY_WEBHOOK_ENABLE_NEXUS="on",
        MINIO_NOTIFY_WEBHOOK_ENDPOINT_NEXUS=f"http://{HOST}:{port}/bucket",
        MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_NEXUS=TOKEN,
        MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_NEXUS=str(queue),
    )

    def kept() -> list[Path]:
        return [one for one in queue.rglob("*") if one.is_file()]

    server.start()
    try:
        client = server.access.client()
        make_bucket(client, "nexus")
        notify(client, "nexus", ARN)
        for name in OBJECTS:
            client.fput_object("nexus", name, __file__)
        eventually(lambda: len(kept()) == len(OBJECTS), what="each notice kept")
        server.kill()
        server.start()
        assert len(kept()) == len(OBJECTS)
        with listening(port) as webhook:
            eventually(lambda: not kept(), what="an empty queue")
    finally:
        server.stop()
    assert webhook.refused
    assert webhook.tokens == {f"Bearer {TOKEN}"}
    assert {one["Key"] for one in webhook.taken} == {f"nexus/{name}" for name in OBJECTS}
    for one in webhook.taken:
        assert one["EventName"] == "s3:ObjectCreated:Put"
        assert one["Records"][0]["s3"]["bucket"]["name"] == "nexus"

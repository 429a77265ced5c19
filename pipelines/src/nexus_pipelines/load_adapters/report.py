"""What the pod tells of itself over HTTP: the kubelet's probe, and the operator's question."""

from contextlib import AbstractContextManager
from http import HTTPStatus

from nexus_api import few_answers
from nexus_api.adapter_loading import READY_PATH, REPORT_PATH
from nexus_api.few_answers import Answer
from nexus_pipelines.load_adapters.loader import Loader


def answering(loader: Loader, host: str, port: int) -> AbstractContextManager[int]:
    """Answer for `loader` until the block ends; the port, chosen where 0 was given."""

    def report() -> Answer:
        told = loader.report().model_dump_json()
        return Answer(HTTPStatus.OK, "application/json", told.encode())

    def ready() -> Answer:
        if loader.ready:
            return Answer(HTTPStatus.OK, "text/plain", b"ready\n")
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"not ready\n")

    return few_answers.answering({REPORT_PATH: report, READY_PATH: ready}, host, port)

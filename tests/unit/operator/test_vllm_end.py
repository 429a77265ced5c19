"""What a vLLM pod that is told to end waits for before its server is told."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from nexus_operator.build.vllm import answered

METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}
vllm:num_requests_waiting_by_reason{{engine="0",model_name="m",reason="capacity"}} {waiting}
vllm:num_preemptions_total{{engine="0",model_name="m"}} 7.0
"""


@contextmanager
def server(*told: tuple[float, float] | None) -> Iterator[tuple[int, list[str]]]:
    """Tell of requests that run and wait, the last numbers again and again; None is a failure."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            numbers = told[min(len(asked), len(told) - 1)]
            asked.append(self.path)
            if numbers is None:
                self.send_error(500)
                return
            running, waiting = numbers
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS.format(running=running, waiting=waiting).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made.server_address[1], asked
        made.shutdown()
        thread.join()


def ended(port: int, seconds: int) -> int:
    command = ["sh", "-c", answered(port, seconds)]
    return subprocess.run(command, check=False, timeout=120, capture_output=True).returncode


@pytest.mark.parametrize("busy", [(1.0, 0.0), (0.0, 2.0), (3.0, 1.0)])
def test_it_waits_until_nothing_runs_and_nothing_waits(busy: tuple[float, float]) -> None:
    with server(busy, (0.0, 0.0)) as (port, asked):
        assert ended(port, 300) == 0
    assert asked == ["/metrics"] * 2


def test_it_waits_no_longer_than_an_answer_may_take() -> None:
    with server((1.0, 0.0)) as (port, _):
        assert ended(port, 0) == 0


def test_a_server_that_cannot_tell_is_asked_again() -> None:
    with server(None, (1.0, 0.0), None, (0.0, 0.0)) as (port, asked):
        assert ended(port, 300) == 0
    assert asked == ["/metrics"] * 4


def test_a_server_that_has_gone_is_not_waited_for() -> None:
    with server((1.0, 0.0)) as (port, _):
        pass
    assert ended(port, 300) == 0

"""The command as a pod runs it, beside a server that is not there yet."""

import signal
import subprocess
import sys

import httpx
from ports import HOST, free_ports
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed


@retry(
    retry=retry_if_exception_type(httpx.ConnectError),
    stop=stop_after_delay(60), wait=wait_fixed(0.02), reraise=True,
)  # fmt: skip
def asked(port: int) -> httpx.Response:
    return httpx.get(f"http://{HOST}:{port}/metrics")


def test_it_relays_until_the_kubelet_says_to_end() -> None:
    server, port = free_ports(2)
    command = [
        sys.executable, "-m", "nexus_pipelines.cli", "relay-metrics", "--server-port", str(server),
        "--host", HOST, "--port", str(port),
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            assert asked(port).status_code == 502
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()

"""`nexus-pipelines relay-metrics`: runs beside a vLLM server for as long as the pod does."""

import argparse
import signal
import threading

from nexus_api.metrics_relay import relaying


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the step takes."""
    parser.add_argument("--server-port", required=True, type=int, help="where the server answers")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a pod has its own address
    parser.add_argument("--port", required=True, type=int, help="where its metrics are told")


def run(args: argparse.Namespace) -> None:
    """Relay until the kubelet says to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with relaying(args.server_port, args.host, args.port):
        stop.wait()

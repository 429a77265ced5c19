"""What the gateway costs: the same requests to a runtime directly, and through the gateway.

    python tests/bench/gateway.py [--rounds 5] [--requests 400] [--clients 1 16] [--events 64]

The runtime is a program that answers at once (so nothing hides the gateway's own time), the
gateway is `nexus-gateway` as it is installed, with its answers logged; each is a process of its
own.  Both ways take turns within each round.  `whole` is one JSON answer; `first` and `stream`
are the first and the last event of a streamed one.  The CPU seconds of the gateway stand beside
the wall clock: on a machine that is busy with other things only they compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "gateway"))

from gateway_scripted import Control, chunk, completion, model_manifest
from ports import free_port, listens

from nexus_gateway.upstream import Pool
from nexus_gateway.upstream.pool import Target
from nexus_knowledge.ledger import upgrade

PATH = "/v1/chat/completions"
WARM_UP = 50
START_SECONDS = 60
FLAGS = ("avx2", "avx512f")
QUESTION = "How often is the standby pump of the northern station test-run, and for how long? "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="of each client count, a round")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--events", type=int, default=64, help="of a streamed answer")
    parser.add_argument("--runtime", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.runtime:
        asyncio.run(serve(given.runtime, given.events))
        return
    flags = [flag for flag in FLAGS if f" {flag}" in Path("/proc/cpuinfo").read_text()]
    print(f"{os.cpu_count()} cores, {' '.join(flags)}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given, Path(folder)))


async def measure(given: argparse.Namespace, folder: Path) -> None:
    """Start all parts, take turns, print one line for each client count and kind of answer."""
    control, port = Control(), free_port()
    command = [sys.executable, __file__, "--runtime", str(port), "--events", str(given.events)]
    async with control.server.running():
        control.put("servingmodels", model_manifest("assistant", f"http://127.0.0.1:{port}"))
        with (
            child(command, port, os.environ),
            gateway(folder, control.server.url) as (gateway_port, process),
        ):
            ways = {"direct": port, "gateway": gateway_port}
            await known(gateway_port)
            times: dict[tuple[int, str, str], list[float]] = defaultdict(list)
            busy = 0.0
            for number in range(given.rounds + 1):
                for clients in given.clients:
                    for way, at in ways.items():
                        count = given.requests if number else WARM_UP
                        before = cpu(process)
                        taken = await load(at, clients, count)
                        busy += cpu(process) - before if way == "gateway" and number else 0
                        if number:
                            for kind, values in taken.items():
                                times[clients, kind, way] += values
            report(given, times, busy)


@contextmanager
def gateway(folder: Path, control: str) -> Iterator[tuple[int, psutil.Process]]:
    """The installed gateway, told only of a scripted control API."""
    port, ledger = free_port(), f"sqlite:///{folder}/ledger.db"
    upgrade(ledger)
    (folder / "bucket").mkdir()
    environment = {
        **os.environ,
        "NEXUS_PORT": str(port),
        "NEXUS_BUCKET_URL": f"file://{folder}/bucket",
        "NEXUS_LEDGER_URL": ledger,
        "NEXUS_MILVUS_URI": "http://127.0.0.1:9",
        "NEXUS_EMBEDDER_URL": "http://127.0.0.1:9",
        "NEXUS_CONTROL_URL": control,
        "NEXUS_LOG_LEVEL": "ERROR",
    }
    with child([str(Path(sys.executable).parent / "nexus-gateway")], port, environment) as process:
        yield port, process


@contextmanager
def child(
    command: list[str], port: int, environment: os._Environ[str] | dict[str, str]
) -> Iterator[psutil.Process]:
    """A server that listens on a port, until the end of the block."""
    process = subprocess.Popen(command, env=environment)
    try:
        end = time.monotonic() + START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def known(port: int) -> None:
    """Wait until the gateway knows the model."""
    pool, target = Pool(), Target.of(f"http://127.0.0.1:{port}")
    async with asyncio.timeout(START_SECONDS):
        while True:
            response = await pool.request("POST", target, PATH, headers={}, body=ask(), within=10)
            await response.read(limit=1 << 20, idle_timeout=10)
            response.close()
            if response.status == 200:
                break
            await asyncio.sleep(0.1)
    pool.close()


async def load(port: int, clients: int, count: int) -> dict[str, list[float]]:
    """Send requests on kept connections; return the seconds of each, by kind."""
    pool, target = Pool(), Target.of(f"http://127.0.0.1:{port}")
    times: dict[str, list[float]] = {"whole": [], "first": [], "stream": []}

    async def client() -> None:
        for number in range(count // clients):
            stream = number % 2 == 1
            began = time.perf_counter()
            response = await pool.request(
                "POST", target, PATH, headers={}, body=ask(stream=stream), within=30
            )
            first = await response.next_chunk(30)
            until_first = time.perf_counter() - began
            data = first + await response.read(limit=1 << 24, idle_timeout=30)
            took = time.perf_counter() - began
            response.close()
            complete = data.endswith(b"data: [DONE]\n\n") if stream else b'"choices"' in data
            if response.status != 200 or not complete:
                raise SystemExit(f"HTTP {response.status}: {data[-300:].decode()}")
            times["stream" if stream else "whole"].append(took)
            if stream:
                times["first"].append(until_first)

    await asyncio.gather(*(client() for _ in range(clients)))
    pool.close()
    return times


def ask(*, stream: bool = False) -> bytes:
    messages = [{"role": "user", "content": QUESTION * 4}]
    return json.dumps({"model": "assistant", "messages": messages, "stream": stream}).encode()


def report(
    given: argparse.Namespace, times: dict[tuple[int, str, str], list[float]], busy: float
) -> None:
    titles = ("ms", "clients", "direct p50", "p99", "gateway p50", "p99", "added p50")
    print("".join(f"{title:>12}" for title in titles))
    for clients in given.clients:
        for kind in ("whole", "first", "stream"):
            direct, through = (times[clients, kind, way] for way in ("direct", "gateway"))
            figures = [f(taken) for taken in (direct, through) for f in (statistics.median, p99)]
            figures.append(figures[2] - figures[0])
            row = "".join(f"{figure * 1e3:>12.2f}" for figure in figures)
            print(f"{kind:>12}{clients:>12}{row}")
    asked = given.rounds * sum(given.requests // n * n for n in given.clients)
    print(f"gateway CPU {busy / asked * 1e3:.2f} ms a request, half of them {given.events} events")


def p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def cpu(process: psutil.Process) -> float:
    taken = process.cpu_times()
    return float(taken.user + taken.system)


class AtOnce(asyncio.Protocol):
    """A runtime that answers every request at once, as a model would that takes no time."""

    def __init__(self, whole: bytes, stream: bytes) -> None:
        self._whole, self._stream = whole, stream
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, body = self._data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if blank and len(body) >= length:
            self._data = body[length:]
            streamed = b'"stream":true' in body.replace(b" ", b"")
            self._transport.write(self._stream if streamed else self._whole)


async def serve(port: int, events: int) -> None:
    """Be the runtime, for ever."""
    body = json.dumps(completion("The pump is test-run every Monday. " * 10)).encode()
    kind = b"HTTP/1.1 200 OK\r\ncontent-type: "
    whole = kind + b"application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    deltas = [chunk({"content": f"word{number} "}) for number in range(events)]
    usage = {"prompt_tokens": 7, "completion_tokens": events, "total_tokens": events + 7}
    parts = [json.dumps(part).encode() for part in [*deltas, chunk({}, "stop")]]
    parts += [json.dumps({**chunk({}), "choices": [], "usage": usage}).encode(), b"[DONE]"]
    stream = kind + b"text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    for part in parts:
        event = b"data: " + part + b"\n\n"
        stream += b"%x\r\n" % len(event) + event + b"\r\n"
    stream += b"0\r\n\r\n"
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: AtOnce(whole, stream), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    main()

"""A real NATS server runs with what the chart generates, and lets in who has the password."""

import base64
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from needs import program
from ports import free_port, listens
from rendering import STACK, Helm, named

_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    port: int
    authority: Path
    password: str
    configuration: Path


@pytest.fixture(scope="module")
def server(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on loopback; only paths and ports of the generated configuration are changed."""
    folder = tmp_path_factory.mktemp("nats")
    objects = helm.template(STACK)
    for key, value in named(objects, "Secret", "nexus-nats-tls")["data"].items():
        (folder / key).write_bytes(base64.b64decode(value))
    auth = named(objects, "Secret", "nexus-nats-auth")["stringData"]
    assert yaml.safe_load(auth["auth"]) == {"username": "nexus", "password": auth["password"]}
    port = free_port()
    configuration = (
        auth["nats.conf"]
        .replace("port: 4222", f"host: 127.0.0.1, port: {port}")
        .replace("http: 8222", "")
        .replace("/data", str(folder / "data"))
        .replace("/etc/nats-tls", str(folder))
    )
    (folder / "nats.conf").write_text(configuration)
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [str(program("nats-server")), "--config", str(folder / "nats.conf")],
            stdout=log,
            stderr=log,
        )
    try:
        _await_listening(port, child, folder / "log")
        yield Server(port, folder / "ca.crt", auth["password"], folder / "nats.conf")
    finally:
        child.terminate()
        child.wait(timeout=20)


def _await_listening(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not listens(port):
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _greeting(server: Server, *, host: str, password: str) -> str:
    """Connect as a client that checks the certificate does; return the server's answer to PING."""
    context = ssl.create_default_context(cafile=str(server.authority))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        first = plain.recv(4096)
        assert first.startswith(b"INFO ")
        assert json.loads(first.removeprefix(b"INFO "))["tls_required"] is True
        with context.wrap_socket(plain, server_hostname=host) as secure:
            login = {"user": "nexus", "pass": password, "verbose": False, "tls_required": True}
            secure.sendall(f"CONNECT {json.dumps(login)}\r\nPING\r\n".encode())
            return secure.recv(4096).decode()


@pytest.mark.parametrize("host", ["nexus-nats", "nexus-nats.nexus-system.svc"])
def test_a_client_with_the_password_is_let_in(server: Server, host: str) -> None:
    assert _greeting(server, host=host, password=server.password).startswith("PONG")


def test_a_wrong_password_is_refused(server: Server) -> None:
    answer = _greeting(server, host="nexus-nats", password="guess")
    assert "Authorization Violation" in answer


def test_the_certificate_is_for_no_other_name(server: Server) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        _greeting(server, host="elsewhere", password=server.password)


@pytest.mark.parametrize("password", ["3k7abcDEF", "1e5abc", "12Mi3x", "0777", "#a}b,c$d"])
def test_the_server_reads_whatever_password_was_made(
    server: Server, tmp_path: Path, password: str
) -> None:
    """Digits and a unit, which one of 150 made passwords begins with, are a number to it."""
    configuration = server.configuration.read_text().replace(server.password, password)
    (tmp_path / "nats.conf").write_text(configuration)
    command = [str(program("nats-server")), "-t", "--config", str(tmp_path / "nats.conf")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

"""The programs that the test pods run; each is a real process.

`programs.py web`: an HTTP server on NEXUS_HOST:NEXUS_PORT that tells about itself.
`programs.py step ...`: does what its arguments say, one after another, and exits 0.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/crash":
            os._exit(3)
        if self.path == "/ready" and (gate := os.environ.get("GATE")):
            self.answer(200 if Path(gate).exists() else 503, b"")
            return
        about = {"pid": os.getpid(), "args": sys.argv[2:], "env": dict(os.environ)}
        self.answer(200, json.dumps(about | {"cwd": str(Path.cwd())}).encode())

    def do_POST(self) -> None:
        self.answer(200, self.rfile.read(int(self.headers["content-length"])))

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def web() -> None:
    print("serving", flush=True)  # noqa: T201 - the log is what is tested
    if "--deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--child" in sys.argv:
        child = subprocess.Popen([sys.executable, __file__, "step", "sleep"])
        Path(sys.argv[sys.argv.index("--child") + 1]).write_text(str(child.pid))
    address = (os.environ["NEXUS_HOST"], int(os.environ["NEXUS_PORT"]))
    ThreadingHTTPServer(address, Handler).serve_forever()


def step(actions: list[str]) -> None:
    while actions:
        action = actions.pop(0)
        if action == "say":
            print(actions.pop(0), flush=True)  # noqa: T201 - as above
        elif action == "write":
            Path(actions.pop(0)).write_text(actions.pop(0))
        elif action == "sleep":
            time.sleep(600)
        elif action == "exit":
            sys.exit(int(actions.pop(0)))
        elif action == "pid":
            Path(actions.pop(0)).write_text(str(os.getpid()))
        elif action == "exit-unless":
            sys.exit(not Path(actions.pop(0)).exists())


if sys.argv[1] == "web":
    web()
else:
    step(sys.argv[2:])

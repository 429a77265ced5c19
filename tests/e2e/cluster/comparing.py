"""A person's experiments against the test cluster, by docs/how-to/experiments.md."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from waiting import eventually

from .site import PLATFORM, Manifest, Site

_DATA = Path(__file__).parents[3] / "docs" / "how-to" / "fine-tuning-data.md"


@dataclass(frozen=True)
class Desk:
    """A person's machine, from which the gateway and MLflow can be reached."""

    site: Site
    gateway: str
    tracking: str

    def nexus(self, *words: str) -> str:
        """Return what our command line prints."""
        told = {"NEXUS_API_KEY": self.site.key(), "NEXUS_TRACKING_URL": self.tracking}
        command = [sys.executable, "-m", "nexus_local", *words, "--url", self.gateway]
        done = subprocess.run(
            command,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def compare(self, file: Path, **matrix: Any) -> dict[str, Any]:
        """Return what an experiment came to."""
        file.write_text(json.dumps(matrix), encoding="utf-8")
        told = self.nexus("evaluate", "--matrix", str(file), "-o", "json")
        found: dict[str, Any] = json.loads(told)
        return found


@contextmanager
def desk(site: Site) -> Iterator[Desk]:
    """Forward ports of gateway and MLflow to this machine until the block ends."""
    with ExitStack() as stack:
        gateway, tracking = (
            stack.enter_context(_forwarded(site, *place))
            for place in (("nexus-gateway", 80), ("nexus-mlflow", 5000))
        )
        yield Desk(site, gateway, tracking)


@contextmanager
def _forwarded(site: Site, service: str, port: int) -> Iterator[str]:
    command = ["kubectl", "-n", PLATFORM, "port-forward", f"service/{service}", f":{port}"]
    with subprocess.Popen(
        command, env=site.cluster.environment(), stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            told = child.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8080
            yield f"http://localhost:{told.split()[2].rpartition(':')[2]}"
        finally:
            child.terminate()


def correct(gateway: str, key: str, model: str, question: str, better: str) -> str:
    """Ask, say what would have been right, and return the answer's id."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=gateway, headers=headers, timeout=60) as http:
        messages = [{"role": "user", "content": question}]
        asked = {"model": model, "messages": messages, "max_tokens": 4}
        told = http.post("/v1/chat/completions", json=asked).raise_for_status().json()
        said = {"response_id": told["id"], "corrected_answer": better}

        def known() -> bool:  # answers are logged beside the work
            return bool(http.post("/v1/feedback", json=said).raise_for_status().json()["known"])

        eventually(known, what="the answer's log")
    return str(told["id"])


def golden_add(image: str, response: str) -> Manifest:
    """Return the Job that our page on data has for a golden set on a cluster."""
    (text,) = re.findall(r"```yaml\n([^`]*kind: Job\n[^`]*)```", _DATA.read_text(encoding="utf-8"))
    found: Manifest = yaml.safe_load(text)
    (container,) = found["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    words = [one.replace("RESPONSE_ID", response) for one in container["args"]]
    container["args"] = words
    return found

"""What a team has that watches a platform: Debian's Prometheus and Alertmanager, as children.

Alertmanager runs with the configuration that docs/how-to/alerts.md gives, but for where to post to
and how long to wait.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import yaml
from children import Child, answers
from needs import lacking
from ports import HOST, free_ports

Manifest = dict[str, Any]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "alerts.md"
_FENCE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ASK_SECONDS = 30.0


class Scraped(NamedTuple):
    """A process whose metrics are read: `host:port`, and the labels that its series get."""

    address: str
    labels: Mapping[str, str]


class Monitoring:
    """Prometheus and Alertmanager; a context manager.

    rules: of PrometheusRules, what stands under `spec`.  token and metrics_key: bearer tokens for
    the webhook and for reading metrics, empty for none.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rules: Sequence[Manifest],
        scraped: Sequence[Scraped],
        webhook: str,
        token: str = "",
        metrics_key: str = "",
    ) -> None:
        self._folder, self.scraped = folder, tuple(scraped)
        prometheus, alertmanager = free_ports(2)
        self._prometheus, self._alertmanager = (
            f"http://{HOST}:{port}" for port in (prometheus, alertmanager)
        )
        for number, one in enumerate(rules):
            self._write(f"rules-{number}.yaml", one)
        key = self._secret("metrics-key", metrics_key)
        self._write("prometheus.yaml", _prometheus(folder, alertmanager, scraped, key))
        self._write("alertmanager.yaml", _alertmanager(webhook, self._secret("token", token)))
        self._children = (
            self._child("prometheus-alertmanager", alertmanager, "alertmanager", "storage.path"),
            self._child("prometheus", prometheus, "prometheus", "storage.tsdb.path"),
        )

    def __enter__(self) -> Self:
        try:
            for child in self._children:
                child.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """Return what an expression gives now: labels and values."""
        answer = httpx.get(
            f"{self._prometheus}/api/v1/query", params={"query": expression}, timeout=_ASK_SECONDS
        ).raise_for_status()
        return [(one["metric"], float(one["value"][1])) for one in answer.json()["data"]["result"]]

    def firing(self, name: str) -> list[Manifest]:
        """Return Alertmanager's alerts of a name, as its API has them."""
        answer = httpx.get(
            f"{self._alertmanager}/api/v2/alerts",
            params={"filter": f'alertname="{name}"'},
            timeout=_ASK_SECONDS,
        ).raise_for_status()
        found: list[Manifest] = answer.json()
        return found

    def posted(self) -> int:
        """Return how often Alertmanager has posted to the webhook and was not refused."""
        text = httpx.get(f"{self._alertmanager}/metrics", timeout=_ASK_SECONDS).text
        name = r'^alertmanager_notification_%s_total{integration="webhook"} (\S+)$'
        requests, failed = (
            re.search(name % what, text, re.MULTILINE) for what in ("requests", "requests_failed")
        )
        return int(float(requests[1]) - float(failed[1])) if requests and failed else 0

    def _stop(self) -> None:
        for child in self._children:
            child.stop()

    def _child(self, program: str, port: int, name: str, storage: str) -> Child:
        found = shutil.which(program)
        if found is None:
            lacking(f"{program} is not installed: apt-get install {program}")
        data = self._folder / f"{name}-data"
        data.mkdir()
        ready = f"http://{HOST}:{port}/-/ready"
        command = [
            found,
            f"--config.file={self._folder / name}.yaml",
            f"--{storage}={data}",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
        ]
        if name == "alertmanager":
            command.append("--cluster.listen-address=")  # one alone: no gossip
        return Child(command, log=self._folder / f"{name}.log", ready=lambda: answers(ready))

    def _secret(self, name: str, text: str) -> Path | None:
        if not text:
            return None
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def _write(self, name: str, content: Manifest) -> None:
        (self._folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")


def documented() -> Manifest:
    """Return the configuration of Alertmanager that the page gives."""
    blocks = [yaml.safe_load(text) for text in _FENCE.findall(PAGE.read_text(encoding="utf-8"))]
    (found,) = [one for one in blocks if "receivers" in one]
    return dict(found)


def _alertmanager(webhook: str, token: Path | None) -> Manifest:
    """Return the page's configuration with this webhook, and without its waits."""
    content = documented()
    (route,) = [one for one in content["route"]["routes"] if one["receiver"] == "nexus"]
    route |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"}
    (receiver,) = [one for one in content["receivers"] if one["name"] == "nexus"]
    (hook,) = receiver["webhook_configs"]
    hook["url"] = webhook
    if token is None:
        del hook["http_config"]
    else:
        hook["http_config"]["authorization"]["credentials_file"] = str(token)
    return content


def _prometheus(
    folder: Path, alertmanager: int, scraped: Sequence[Scraped], key: Path | None
) -> Manifest:
    scrape: Manifest = {
        "job_name": "nexus-gateway",
        "static_configs": [
            {"targets": [one.address], "labels": dict(one.labels)} for one in scraped
        ],
    }
    if key is not None:
        scrape["authorization"] = {"credentials_file": str(key)}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{folder}/rules-*.yaml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{alertmanager}"]}]}]
        },
        "scrape_configs": [scrape],
    }

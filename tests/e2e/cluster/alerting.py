"""From ratings to a run: what watches the platform on the cluster, and the jobs that listen."""

import json
import secrets
import time
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import httpx
import yaml
from monitoring import Monitoring, Scraped
from testcluster import api
from waiting import eventually

from nexus_api.meta import CANCEL_REQUESTED

from .site import PLATFORM, TENANT, Manifest, Site

RATED_BAD = "NexusAnswersRatedBad"
NAME = "nexus-alerts"
_CHART = Path(__file__).parents[3] / "charts" / "llmops-nexus"
_GATEWAYS = "app.kubernetes.io/name=llmops-nexus,app.kubernetes.io/component=gateway"
_ARGO = Scraped("127.0.0.1:9090", {"namespace": "argo", "job": "workflow-controller"})
_LOOK_SECONDS = 0.01
_AGAIN_SECONDS = 20.0
_ASK_SECONDS = 30.0
_TOO_EARLY = (httpx.HTTPError,)

VALUES: Manifest = {"events": {"alerts": True, "alertsSecret": NAME}}
"""The chart's values of a platform that takes alerts."""


def secret() -> Manifest:
    """Return the Secret with the token that Alertmanager sends."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": PLATFORM},
        "stringData": {"token": secrets.token_hex(24)},
    }


def listening(job: Manifest, name: str, labels: Mapping[str, str]) -> Manifest:
    """Return a job of another name that alerts with these labels start, and nothing else."""
    triggers = {"alerts": [{"matchers": dict(labels)}]}
    metadata = {**job["metadata"], "name": name}
    return {**job, "metadata": metadata, "spec": {**job["spec"], "triggers": triggers}}


def await_listener(site: Site, jobs: int) -> None:
    """Wait until what runs of the listener knows of so many jobs."""

    def knows() -> bool:
        sources = _ready_pods(site, f"eventsource-name={NAME}")
        sensors = _ready_pods(site, f"sensor-name={NAME}")
        return bool(sources) and [_triggers(one) for one in sensors] == [jobs]

    eventually(knows, what=f"a listener for {jobs} jobs", pause=0.5, seconds=300)


def _ready_pods(site: Site, selector: str) -> list[Manifest]:
    """Return the pods, none while one of them is not ready."""
    pods = site.items("pods", "-n", PLATFORM, "-l", selector)
    conditions = [(one.get("status") or {}).get("conditions") or [] for one in pods]
    ready = [any(c["type"] == "Ready" and c["status"] == "True" for c in one) for one in conditions]
    return pods if all(ready) else []


def _triggers(pod: Manifest) -> int:
    """Return how many triggers the Sensor has that a pod was made for."""
    (container,) = pod["spec"]["containers"]
    variables = {one["name"]: one.get("value", "") for one in container["env"]}
    return len(json.loads(b64decode(variables["SENSOR_OBJECT"]))["spec"]["triggers"])


def monitoring(site: Site, folder: Path) -> Monitoring:
    """Return a Prometheus and an Alertmanager for this platform, with the chart's rules."""
    rendered = site.helm(
        "template",
        "nexus",
        str(_CHART),
        f"--namespace={PLATFORM}",
        "--kube-version=1.34",
        "--api-versions=monitoring.coreos.com/v1",
        "--set=metrics.prometheusRule.enabled=true",
        "--show-only=templates/prometheus-rules.yaml",
    )
    rules = [one["spec"] for one in yaml.safe_load_all(rendered) if one]
    assert rules
    return Monitoring(
        folder,
        rules=rules,
        scraped=[*gateways(site), _ARGO],
        webhook=Hook(site).url,
        token=site.secret(NAME, "token"),
        metrics_key=site.secret("nexus-gateway-keys", "metrics-key"),
    )


def gateways(site: Site) -> list[Scraped]:
    """Return the gateway's pods as Prometheus reads them."""
    return [
        Scraped(
            f"{pod['status']['podIP']}:8080",
            {"namespace": PLATFORM, "pod": pod["metadata"]["name"]},
        )
        for pod in site.items("pods", "-n", PLATFORM, "-l", _GATEWAYS)
    ]


class Hook:
    """The EventSource, as Alertmanager posts to it."""

    def __init__(self, site: Site) -> None:
        self.url = f"http://{site.address(f'{NAME}-eventsource-svc')}/alerts"
        self._headers = {"authorization": f"Bearer {site.secret(NAME, 'token')}"}
        self._site = site

    def post(self, labels: Mapping[str, str], *, fingerprint: str, starts_at: str) -> None:
        """Post one alert that fires."""
        alert = {
            "status": "firing",
            "labels": dict(labels),
            "annotations": {},
            "startsAt": starts_at,
            "fingerprint": fingerprint,
        }
        answer = httpx.post(
            self.url,
            json={"version": "4", "status": "firing", "alerts": [alert]},
            headers=self._headers,
            timeout=_ASK_SECONDS,
        )
        assert answer.status_code == httpx.codes.OK, answer.text

    def refuses_strangers(self) -> bool:
        """Say whether a post without the token is refused."""
        answer = httpx.post(self.url, json={"alerts": []}, timeout=_ASK_SECONDS)
        return answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED}


def runs_of(site: Site, job: str) -> list[Manifest]:
    """Return the Workflows of a job."""
    selector = f"llmops.nexus/job={job},llmops.nexus/namespace={TENANT}"
    return site.items("workflows", "-n", PLATFORM, "-l", selector)


def request_of(flow: Manifest) -> str:
    """Return the request that a Workflow answers."""
    parameters = flow["spec"]["arguments"]["parameters"]
    return str(next(one["value"] for one in parameters if one["name"] == "request"))


def rate(site: Site, model: str, ratings: Sequence[str]) -> None:
    """Ask a model as many questions, and rate its answers."""
    with httpx.Client(
        base_url=site.gateway(),
        headers={"authorization": f"Bearer {site.key()}"},
        timeout=_ASK_SECONDS,
    ) as client:

        def asked(number: int) -> str:
            question = {"role": "user", "content": f"What does the pump {number} need?"}
            ask = {"model": model, "messages": [question], "max_tokens": 4}
            told = client.post("/v1/chat/completions", json=ask)
            return str(told.raise_for_status().json()["id"])

        # A model that was just switched may be away for a moment.
        ids = [
            eventually(partial(asked, number), what="an answer", despite=_TOO_EARLY, pause=1)
            for number in range(len(ratings))
        ]

        def known(answer: str, **said: str) -> bool:
            told = client.post("/v1/feedback", json={"response_id": answer, **said})
            return bool(told.raise_for_status().json()["known"])

        for answer, rating in zip(ids, ratings, strict=True):
            # Answers are logged beside the work; only ratings of what is in the log count.
            eventually(partial(known, answer, comment="seen"), what="an answer's log")
            assert known(answer, rating=rating), answer


def cancel(site: Site, job: str) -> None:
    """Ask for the end of a job's run as soon as the job knows of it."""
    path = f"/apis/llmops.nexus/v1alpha1/namespaces/{TENANT}/finetunejobs/{job}"
    with api.client(site.cluster.config) as client:
        eventually(
            lambda: (client.get(path).raise_for_status().json().get("status") or {}).get("lastRun"),
            what=f"the run in the status of {job}",
            despite=_TOO_EARLY,
        )
        asked = {"metadata": {"annotations": {CANCEL_REQUESTED: "measured"}}}
        kind = {"content-type": "application/merge-patch+json"}
        client.patch(path, json=asked, headers=kind).raise_for_status()


def seconds_to_run(site: Site, hook: Hook, job: str, labels: Mapping[str, str]) -> float:
    """Post an alert, and return the seconds until its job has a Workflow.

    As Alertmanager does, it tells the alert again after a while; the seconds are those since it was
    told first.
    """
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{PLATFORM}/workflows"
    query = {"labelSelector": f"llmops.nexus/job={job}", "limit": "1"}
    now = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.000Z"
    with api.client(site.cluster.config) as client:
        client.get(path, params=query)  # the connection is there
        fingerprint = secrets.token_hex(8)
        times: list[float] = []

        def there() -> bool:
            if not times or time.monotonic() - times[-1] > _AGAIN_SECONDS:
                times.append(time.monotonic())
                hook.post(labels, fingerprint=fingerprint, starts_at=now)
            return bool(client.get(path, params=query).raise_for_status().json()["items"])

        eventually(there, what=f"a run of {job}", despite=_TOO_EARLY, pause=_LOOK_SECONDS)
        return time.monotonic() - times[0]

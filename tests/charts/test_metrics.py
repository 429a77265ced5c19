"""Rules and dashboards read metrics that exist, and the rules fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_metrics import ADDED, READ
from needs import lacking
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from rendering import NAMESPACE, PLATFORM, Helm, named, of_kind

RULES = sorted((PLATFORM / "files" / "rules").glob("*.yaml"))
DASHBOARDS = sorted((PLATFORM / "files" / "dashboards").glob("*.json"))
CASES = Path(__file__).parent / "rules.yaml"
_PREFIX = r"(?:nexus|kube|argo|process|llamacpp|vllm|nv)"
_NAME = re.compile(rf"\b{_PREFIX}[_:][a-z_:]+\b")
_SELECTOR = re.compile(rf"\b({_PREFIX}[_:][a-z_:]+)\{{([^}}]*)\}}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")

# Of other products: kube-state-metrics, and the controller of Argo Workflows.
OTHERS = {
    "kube_deployment_status_replicas_ready": {"deployment"},
    "kube_deployment_spec_replicas": {"deployment"},
    "argo_workflows_total_count": {"phase", "exported_namespace"},
    # records of our own rules
    "nexus:workflow_failures:total": set(),
    "nexus:feedback_up:day": {"tenant", "model"},
    "nexus:feedback:day": {"tenant", "model"},
    "nexus:feedback_good:upper": {"tenant", "model"},
    # Of engines: tests/contract/engines asks the real ones.
    **{name: {*ADDED, "le"} for names in READ.values() for name in names},
}
TARGET = {"namespace", "pod"}
"""Labels that a scrape adds."""

_SERIES = {
    "counter": (("_total", ()),),
    "gauge": (("", ()),),
    "histogram": (("_bucket", ("le",)), ("_sum", ()), ("_count", ())),
}


PROCESS = {
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
}
"""What each part says of its own process."""


@pytest.fixture(scope="module")
def registries() -> dict[str, CollectorRegistry]:
    """What each part has its metrics in, as they are when it has just started."""
    import nexus_operator.cluster.metrics
    import nexus_operator.reconcile.metrics  # noqa: F401 - the operator's are made by importing
    from nexus_embedder.metrics import Metrics as Embedder
    from nexus_gateway.metrics import Metrics as Gateway
    from nexus_monitor.metrics import Metrics as Monitor

    return {
        "gateway": Gateway().registry,
        "embedder": Embedder().registry,
        "monitor": Monitor().registry,
        "operator": REGISTRY,
    }


@pytest.fixture(scope="module")
def exported(registries: dict[str, CollectorRegistry]) -> dict[str, set[str]]:
    """The series that our processes export, each with its labels."""
    ours = {name: labels for one in registries.values() for name, labels in _series(one)}
    return ours | {name: set() for name in PROCESS}


def _series(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    for collector in registry._collector_to_names:
        if not isinstance(collector, MetricWrapperBase):  # the process's own figures
            continue
        for metric in collector.describe():
            for suffix, more in _SERIES[metric.type]:
                yield metric.name + suffix, {*collector._labelnames, *more}


def _queries() -> Iterator[tuple[str, str]]:
    """Yield each query that we ship and where it stands."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield f"{path.name}: {rule.get('alert', 'record')}", rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


QUERIES = list(_queries())


@pytest.mark.parametrize(
    ("where", "query"), QUERIES, ids=[f"{w} {n}" for n, (w, _) in enumerate(QUERIES)]
)
def test_a_query_reads_what_is_exported(
    exported: dict[str, set[str]], where: str, query: str
) -> None:
    known = exported | OTHERS
    used = set(_NAME.findall(query))
    assert used, where
    assert used <= known.keys(), where
    for name, selector in _SELECTOR.findall(query):
        asked = set(_LABEL.findall(selector))
        assert asked <= known[name] | TARGET, where
        assert {"namespace", "exported_namespace"} & asked, f"{where} would mix platforms"
    for grouping in _GROUPING.findall(query):
        by = {label.strip() for label in grouping.split(",")}
        for name in used:
            assert by <= known[name] | TARGET, where


def test_the_board_of_runtimes_reads_what_the_real_engines_are_asked_for() -> None:
    """And of a model by the labels that its PodMonitor gives: an engine has names of its own."""
    queries = [query for where, query in QUERIES if where.startswith("runtimes.json")]
    read = {name for query in queries for name in _NAME.findall(query)}
    assert read == set[str]().union(*READ.values())
    assert all("by (tenant, model, revision" in query for query in queries)


@pytest.mark.parametrize("part", ["gateway", "embedder", "monitor", "operator"])
def test_each_part_tells_of_its_process(
    registries: dict[str, CollectorRegistry], part: str
) -> None:
    figures = {
        sample.name: sample.value for one in registries[part].collect() for sample in one.samples
    }
    assert figures.keys() >= PROCESS
    assert all(figures[name] > 0 for name in PROCESS)


def test_a_board_shows_how_long_and_at_what_cost_each_part_runs() -> None:
    shown = {name for where, query in QUERIES for name in _NAME.findall(query) if ".json" in where}
    assert shown >= PROCESS


def test_the_reader_of_metrics_sees_them(exported: dict[str, set[str]]) -> None:
    assert exported["nexus_gateway_requests_total"] == {"route", "tenant", "model", "status"}
    assert exported["nexus_gateway_request_seconds_bucket"] == {"route", "le"}
    assert exported["nexus_reconcile_waiting"] == set()


def test_rules_say_what_to_do_and_how_urgent_it_is() -> None:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    continue
                assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
                assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        lacking("promtool is not installed: apt-get install prometheus")
    return found


@pytest.fixture(scope="module")
def rules(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The rules as they are in the rendered PrometheusRules."""
    objects = helm.template(PLATFORM, {"metrics": {"prometheusRule": {"enabled": True}}})
    folder = tmp_path_factory.mktemp("rules")
    paths = []
    for one in of_kind(objects, "PrometheusRule"):
        paths.append(folder / f"{one['metadata']['name']}.yaml")
        paths[-1].write_text(yaml.safe_dump(one["spec"]))
    assert len(paths) == len(RULES)
    return paths


def test_prometheus_takes_the_rules(promtool: str, rules: list[Path]) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", *map(str, rules)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_fire_when_they_should(promtool: str, rules: list[Path], tmp_path: Path) -> None:
    cases: dict[str, Any] = yaml.safe_load(CASES.read_text())
    tested = {t["alertname"] for case in cases["tests"] for t in case["alert_rule_test"]}
    alerts = {
        rule["alert"]
        for path in rules
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert tested == alerts, "each rule has a case in rules.yaml"
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump({**cases, "rule_files": [str(path) for path in rules]}))
    done = subprocess.run(
        [promtool, "test", "rules", str(file)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_and_grafana_find_what_is_theirs(helm: Helm) -> None:
    values = {
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "monitoring"}},
            "dashboards": {"enabled": True},
        }
    }
    objects = helm.template(PLATFORM, values)
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert of_kind(objects, kind)
        for one in of_kind(objects, kind):
            assert one["metadata"]["labels"]["release"] == "monitoring"
    for component in ("gateway", "embedder"):
        monitor = named(objects, "ServiceMonitor", f"nexus-{component}")
        service = named(objects, "Service", f"nexus-{component}")
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        assert selector <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    for component in ("operator", "monitor"):
        pods = named(objects, "PodMonitor", f"nexus-{component}")["spec"]
        deployment = named(objects, "Deployment", f"nexus-{component}")["spec"]["template"]
        selector = pods["selector"]["matchLabels"].items()
        assert selector <= deployment["metadata"]["labels"].items()
        (container,) = deployment["spec"]["containers"]
        assert pods["podMetricsEndpoints"][0]["port"] == container["ports"][0]["name"]
    boards = [
        one for one in of_kind(objects, "ConfigMap") if "dashboard" in one["metadata"]["name"]
    ]
    assert len(boards) == len(DASHBOARDS)
    for one in boards:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        (text,) = one["data"].values()
        assert json.loads(text)["panels"]
    assert "NEXUS_NAMESPACE" not in json.dumps(objects)
    assert NAMESPACE in json.dumps(of_kind(objects, "PrometheusRule"))

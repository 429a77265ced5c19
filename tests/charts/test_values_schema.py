"""values.schema.json is made from the comments of values.yaml, and refuses what cannot work."""

import json
from pathlib import Path
from typing import Any

import pytest
from rendering import CHARTS, PLATFORM, STACK, Helm, HelmRefused
from values_reference import reference
from values_schema import REFERENCE, BadComment, schema


@pytest.mark.parametrize("chart", [PLATFORM, STACK], ids=lambda path: path.name)
def test_the_schema_is_that_of_the_values(chart: Path) -> None:
    written = json.loads((chart / "values.schema.json").read_text())
    assert written == schema(chart / "values.yaml"), "run python charts/values_schema.py"


def test_the_reference_is_that_of_the_values() -> None:
    schemas = {values: schema(values) for values in sorted(CHARTS.glob("*/values.yaml"))}
    page = reference(schemas)
    assert REFERENCE.read_text() == page, "run python charts/values_schema.py"
    assert "| `gateway.replicas` | At least 1. | `2` |" in page
    assert "| `minio.notify.endpoint` |" in page


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replica": 2}}, "/gateway"),
        ({"gateway": {"replicas": 0}}, "/gateway/replicas"),
        ({"gateway": {"replicas": "two"}}, "/gateway/replicas"),
        ({"gateway": {"env": {"A": 1}}}, "/gateway/env/A"),
        ({"images": {"pullPolicy": "Sometimes"}}, "/images/pullPolicy"),
        ({"images": {"gateway": {"tag": "latest"}}}, "/images/gateway/tag"),
        ({"images": {"gateway": {"digest": "sha256:abc"}}}, "/images/gateway/digest"),
        ({"platform": {"bucketUrl": "nexus"}}, "/platform/bucketUrl"),
        ({"platform": {"milvusUri": "milvus:19530"}}, "/platform/milvusUri"),
        ({"operator": {"engines": ["ollama"]}}, "/operator/engines/0"),
        ({"operator": {"engines": []}}, "/operator/engines"),
        ({"profiles": {"gpu": {"limit": {}}}}, "/profiles/gpu"),
        ({"profiles": {"gpu": {"limits": {"memory": "lots"}}}}, "/profiles/gpu/limits/memory"),
        ({"modelCache": {"mode": "none"}}, "/modelCache/mode"),
        ({"events": {"source": "kafka"}}, "/events/source"),
        ({"eventBus": {"url": "http://nats"}}, "/eventBus/url"),
        ({"embedder": {"modelUri": "file:///model"}}, "/embedder/modelUri"),
        ({"workflows": {"templateKind": "Workflow"}}, "/workflows/templateKind"),
        ({"jobs": {"timeout": 1}}, "/jobs/timeout"),
        ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "/metrics/serviceMonitor"),
    ],
    ids=str,
)
def test_bad_values_of_the_platform_are_refused(
    helm: Helm, values: dict[str, Any], where: str
) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.template(PLATFORM, values)
    assert where in str(refused.value)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"redis": {}}, "redis"),
        ({"minio": {"user": 0}}, "/minio/user"),
        ({"minio": {"image": {"tag": "latest"}}}, "/minio/image/tag"),
        ({"minio": {"replicas": 4}}, "/minio"),
        ({"nats": {"storage": {"size": "big"}}}, "/nats/storage/size"),
        ({"milvus": {"healthPort": 70000}}, "/milvus/healthPort"),
    ],
    ids=str,
)
def test_bad_values_of_the_stack_are_refused(
    helm: Helm, values: dict[str, Any], where: str
) -> None:
    with pytest.raises(HelmRefused) as refused:
        helm.template(STACK, values)
    assert where in str(refused.value)


def test_every_value_is_described_or_speaks_for_itself() -> None:
    """A part of the top level without a word on it is one that nobody can find."""
    for chart in CHARTS.glob("*/values.schema.json"):
        properties = json.loads(chart.read_text())["properties"]
        assert [name for name, one in properties.items() if not _described(name, one)] == []


def _described(name: str, one: dict[str, Any]) -> bool:
    return bool(one.get("description")) or name == "imagePullPolicy"


def test_types_and_descriptions_come_from_defaults_and_comments(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        "# What is shown.\n# In two lines.\ntitle: x\n\n"
        "# @schema {minimum: 1}\ncount: 3\n"
        "flags:\n  fast: true\n  # @schema {ref: quantity}\n  size: 1Gi\n"
    )
    properties = schema(values)["properties"]
    assert properties["title"] == {"description": "What is shown. In two lines.", "type": "string"}
    assert properties["count"] == {"type": "integer", "minimum": 1}
    assert properties["flags"] == {
        "type": "object",
        "properties": {"fast": {"type": "boolean"}, "size": {"$ref": "#/$defs/quantity"}},
        "additionalProperties": False,
    }
    assert schema(values)["$defs"].keys() == {"quantity"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# @schema {ref: nothing}\na: 1\n", "there is no shape 'nothing'"),
        ("# @schema text\na: 1\n", "must be followed by a map"),
        ("# @schema {x\na: 1\n", ":1:"),
        ("a: null\n", "has no schema"),
        ("- a\n", "must be a map"),
    ],
)
def test_a_comment_that_cannot_be_read_is_told(tmp_path: Path, text: str, why: str) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(text)
    with pytest.raises(BadComment, match=why):
        schema(values)

"""The generated CustomResourceDefinitions are current, structural, and say what people rely on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nexus_api import cel
from nexus_api.cli import main
from nexus_api.generate import generated_files, stale, write
from nexus_api.kinds import KINDS
from nexus_api.schema import Schema, custom_resource_definition, structural_schema

CRDS = Path(__file__).parents[3] / "manifests" / "crds"


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from nodes(schema[word], f"{path}[]")


ALL = [(f"{kind}{path}", node) for kind in KINDS for path, node in nodes(structural_schema(kind))]


def test_committed_definitions_match_the_models() -> None:
    assert stale(CRDS) == []


def test_generate_writes_what_differs_and_removes_what_is_no_more(tmp_path: Path) -> None:
    old = tmp_path / "llmops.nexus_olds.yaml"
    old.write_text("old", encoding="utf-8")
    foreign = tmp_path / "other.yaml"
    foreign.write_text("kept", encoding="utf-8")
    assert {path.name for path in write(tmp_path)} == {*generated_files(), old.name}
    assert write(tmp_path) == []
    assert foreign.exists()
    assert not old.exists()


def test_check_names_the_stale_file_and_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(tmp_path)]) == 0
    assert main(["generate", "--check", str(tmp_path)]) == 0
    (tmp_path / "llmops.nexus_ragindexes.yaml").write_text("changed", encoding="utf-8")
    capsys.readouterr()
    assert main(["generate", "--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "llmops.nexus_ragindexes.yaml" in said
    assert "make generate" in said


@pytest.mark.parametrize(("path", "node"), ALL, ids=[path for path, _ in ALL])
def test_node_is_structural_and_bounded(path: str, node: Schema) -> None:
    assert node["type"] in {"object", "array", "string", "integer", "boolean"}, "no floats in specs"
    assert not node.keys() & {"$ref", "anyOf", "oneOf", "const", "title", "nullable"}
    if node["type"] == "array":
        assert "maxItems" in node
        assert "items" in node
    if "x-kubernetes-validations" in node and node["type"] == "string":
        assert "maxLength" in node or "enum" in node, "the cost of a rule needs a bound"


@pytest.mark.parametrize(("path", "node"), ALL, ids=[path for path, _ in ALL])
def test_rules_stay_within_the_stated_subset(path: str, node: Schema) -> None:
    for rule in node.get("x-kubernetes-validations", ()):
        assert rule["message"], "people read messages, not rules"
        cel.program(rule["rule"])
        if "messageExpression" in rule:
            cel.program(rule["messageExpression"])


def test_every_spec_field_is_described() -> None:
    bare = [
        f"{kind}{path}"
        for kind in KINDS
        for path, node in nodes(structural_schema(kind)["properties"]["spec"], ".spec")
        if not path.endswith("[]") and "description" not in node
    ]
    assert bare == []


def test_status_has_no_defaults_and_conditions_are_a_map() -> None:
    for kind in KINDS:
        status = structural_schema(kind)["properties"]["status"]
        assert all("default" not in node for _, node in nodes(status))
        conditions = status["properties"]["conditions"]
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_text_that_other_yaml_readers_take_for_numbers_is_quoted() -> None:
    for text in generated_files().values():
        loaded = yaml.safe_load(text)
        assert _texts(loaded) >= {"0.0002", "2e-4"} & _texts(loaded)
    assert "'0.25'" in generated_files()["llmops.nexus_ragindexes.yaml"]
    assert "default: '2e-4'" in generated_files()["llmops.nexus_finetunejobs.yaml"]


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values()))
    if isinstance(value, list):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize(
    ("kind", "plural", "short"),
    [
        ("RagIndex", "ragindexes", "ri"),
        ("ServingModel", "servingmodels", "sm"),
        ("FineTuneJob", "finetunejobs", "ftj"),
    ],
)
def test_names_columns_and_subresources(kind: str, plural: str, short: str) -> None:
    spec = custom_resource_definition(KINDS[kind])["spec"]
    version = spec["versions"][0]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["plural"] == plural
    assert spec["names"]["shortNames"] == [short]
    assert columns[:2] == ["Ready", "Reason"]
    assert columns[-1] == "Age"
    assert ("scale" in version["subresources"]) == (kind == "ServingModel")
    assert "status" in version["subresources"]

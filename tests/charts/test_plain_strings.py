"""What a user writes as a text arrives as that text, whatever YAML would make of it bare."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import (
    KUBERNETES,
    OWN_CREDENTIALS,
    PLATFORM,
    STACK,
    Helm,
    Manifest,
    named,
    pod_specs,
    settings_of,
)

from nexus_operator.process.settings_file import read_settings

OCTAL = "0777"
"""A name that Kubernetes takes, and YAML for the number 511."""

SHOWN: dict[str, Any] = {
    "gateway": {
        "ingress": {"enabled": True},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": OCTAL}]},
    },
    "metrics": {
        name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboards")
    },
    "events": {"alerts": True},
    "platform": {"bucketUrl": f"s3://{OCTAL}", "s3": {"endpoint": f"http://{OCTAL}"}},
}


def texts(schema: dict[str, Any], shapes: dict[str, Any], text: str) -> dict[str, Any]:
    """Return values in which every text that may be `text` is it."""
    found: dict[str, Any] = {}
    for name, stated in schema.get("properties", {}).items():
        one = whole(stated, shapes)
        if one.get("type") == "object":
            found[name] = texts(one, shapes, text)
        elif one.get("type") == "array" and _fits(one.get("items", {}), text):
            found[name] = [text]
        elif _fits(one, text):
            found[name] = text
    return found


def whole(stated: dict[str, Any], shapes: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what it takes from shapes, by itself or by `allOf`, written out."""
    found: dict[str, Any] = {}
    for one in (stated, *stated.get("allOf", ())):
        if "$ref" in one:
            found = merged(found, shapes[one["$ref"].rpartition("/")[2]])
    return merged(found, stated)


def _fits(one: dict[str, Any], text: str) -> bool:
    return (
        one.get("type") == "string"
        and "enum" not in one
        and re.search(one.get("pattern", ""), text) is not None
    )


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: merged(base[name], value) if isinstance(base.get(name), dict) else value
        for name, value in more.items()
    }
    return {**base, **both}


def scalars(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from scalars(one)
    elif isinstance(value, list):
        for one in value:
            yield from scalars(one)
    else:
        yield value


def written(chart: Path, text: str) -> dict[str, Any]:
    schema = json.loads((chart / "values.schema.json").read_text())
    return texts(schema, schema["$defs"], text)


def misread(objects: list[Manifest]) -> list[str]:
    """Return the objects in which the octal number is no text any more."""
    wrong = (511, 511.0, int(OCTAL))
    return [
        f"{one['kind']}/{one['metadata']['name']}"
        for one in objects
        if any(
            isinstance(it, date) or (it in wrong and not isinstance(it, str)) for it in scalars(one)
        )
    ]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"credentials": OWN_CREDENTIALS},
        {"eventBus": {"kind": "native"}},
        {"models": {"existingClaim": ""}},
    ],
    ids=["", "own credentials", "native bus", "own claim"],
)
def test_no_name_of_the_platform_becomes_a_number(
    helm: Helm, tmp_path: Path, more: dict[str, Any]
) -> None:
    values = merged(merged(written(PLATFORM, OCTAL), SHOWN), more)
    objects = helm.template(PLATFORM, values, release=OCTAL)
    assert misread(objects) == []
    told = settings_of(objects)
    assert misread([{"kind": "settings", "metadata": {"name": ""}, "told": told}]) == []
    (tmp_path / "settings.yaml").write_text(
        named(objects, "ConfigMap", "nexus-operator")["data"]["settings.yaml"]
    )
    settings = read_settings(tmp_path / "settings.yaml")
    assert (settings.images.vllm, settings.model_cache.claim) == (OCTAL, OCTAL)
    assert settings.image_pull_secrets == (OCTAL,)
    assert (settings.events.bucket, settings.events.endpoint) == (OCTAL, OCTAL)


@pytest.mark.parametrize("claim", [OCTAL, ""], ids=["a claim that exists", "own claim"])
def test_no_name_of_the_stack_becomes_a_number(helm: Helm, claim: str) -> None:
    values = written(STACK, OCTAL)
    parts = {name for name, one in values.items() if "storage" in one}
    assert {"minio", "postgresql", "milvus", "mlflow", "nats"} == parts
    of_parts = {name: {"storage": {"existingClaim": claim}} for name in parts}
    assert misread(helm.template(STACK, merged(values, of_parts), release=OCTAL)) == []


def test_a_large_number_is_written_in_full(helm: Helm) -> None:
    """Helm reads numbers as floats, which it writes as 1e+06."""
    objects = helm.template(PLATFORM, {"gateway": {"maxInFlight": 1_000_000}})
    (gateway,) = dict(pod_specs(objects))["nexus-gateway"]["containers"]
    assert {"name": "NEXUS_MAX_IN_FLIGHT", "value": "1000000"} in gateway["env"]


@pytest.mark.parametrize(
    ("chart", "part", "name", "own"),
    [
        (PLATFORM, "gateway", "NEXUS_DRAIN_SECONDS", "30"),
        (PLATFORM, "embedder", "HOME", "/models"),
        (STACK, "minio", "MINIO_BROWSER", "on"),
        (STACK, "postgresql", "HOME", "/run"),
    ],
)
def test_a_variable_of_ones_own_takes_the_place_of_the_charts(
    helm: Helm, chart: Path, part: str, name: str, own: str
) -> None:
    """Server-side apply refuses a list that has a name twice."""
    found = variables(helm, chart, part, {name: own, "ON": "1"})
    names = [one["name"] for one in found]
    assert len(names) == len(set(names))
    assert {"name": name, "value": own} in found
    assert {"name": "ON", "value": "1"} in found  # bare, YAML reads it as true


@pytest.mark.parametrize(
    ("chart", "part"), [(PLATFORM, "gateway"), (PLATFORM, "embedder"), (STACK, "minio")]
)
def test_variables_of_ones_own_come_after_the_charts(helm: Helm, chart: Path, part: str) -> None:
    """Kubernetes resolves `$(NAME)` by what stands before."""
    ours = variables(helm, chart, part, None)
    given = {"A_PLACE": f"$({ours[0]['name']})"}
    assert variables(helm, chart, part, given) == [
        *ours,
        {"name": "A_PLACE", "value": given["A_PLACE"]},
    ]


def variables(
    helm: Helm, chart: Path, part: str, given: dict[str, str] | None
) -> list[dict[str, Any]]:
    """Return the environment of a part; given none (null), it is the chart's alone."""
    specs = dict(pod_specs(helm.template(chart, {part: {"env": given}})))
    (container,) = specs[f"nexus-{part}"]["containers"]
    found: list[dict[str, Any]] = container["env"]
    return found


def test_a_setting_of_ones_own_takes_the_place_of_the_platforms(helm: Helm) -> None:
    extra = {"NEXUS_EMBEDDER_URL": "", "NEXUS_LOG_LEVEL": "DEBUG", "ON": "http://hub"}
    values = {"platform": {"extra": extra}}
    text = helm.run("template", "nexus", str(PLATFORM), "--kube-version", KUBERNETES, values=values)
    (stated,) = re.findall(r"# What every process is told\.\n(.*?)\n---", text, re.DOTALL)
    assert yaml.safe_load(stated)["data"].items() >= extra.items()
    keys = re.findall(r'^  "?([A-Z0-9_]+)"?:', stated, re.MULTILINE)
    assert len(keys) == len(set(keys)), "Flux refuses a map that has a key twice"


def test_an_image_may_come_from_a_registry_of_its_own(helm: Helm) -> None:
    own = {"images": {"gateway": {"registry": "registry.example.org"}}}
    for values, registry in (
        (own, "registry.example.org"),
        (own | {"global": {"imageRegistry": "mirror.example.org"}}, "mirror.example.org"),
    ):
        specs = dict(pod_specs(helm.template(PLATFORM, values)))
        image = specs["nexus-gateway"]["containers"][0]["image"]
        assert image.startswith(f"{registry}/llmops-nexus/nexus-gateway:")

"""What the page on a registry of one's own says holds for the images and the charts as they are."""

import re
from pathlib import Path

import yaml
from images.catalogue import OWN, recipe
from rendering import PLATFORM, ROOT, STACK, Helm, Manifest, named, pod_specs

PAGE = (ROOT / "docs" / "how-to" / "own-registry.md").read_text()
REGISTRY = "registry.example.org/team"
_PAIR = re.compile(r"^  (\S+)=(nexus-\S+?)(?: \\)?$", re.MULTILINE)


def test_the_page_builds_each_image_by_its_dockerfile() -> None:
    told = {name: folder for folder, name in _PAIR.findall(PAGE)}
    assert told.keys() == set(OWN)
    for name, folder in told.items():
        assert recipe(name).dockerfile == ROOT / folder / "Dockerfile"


def test_a_packaged_chart_asks_the_registry_for_what_was_pushed(
    helm: Helm, platform: list[Manifest], tmp_path: Path
) -> None:
    (block,) = [
        text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "own.yaml" in text
    ]
    values = yaml.safe_load(block)
    version = ("--version", "0.1.0", "--app-version", "7.7.7-team1")
    helm.run("package", str(PLATFORM), *version, "--destination", str(tmp_path))
    packaged = tmp_path / "llmops-nexus-0.1.0.tgz"
    objects = helm.template(packaged, values)
    assert len(objects) == len(platform), "definitions and templates are links, and in the package"
    pulled = {spec["containers"][0]["image"] for _, spec in pod_specs(objects)}
    settings = yaml.safe_load(
        named(objects, "ConfigMap", "nexus-operator")["data"]["settings.yaml"]
    )
    told = yaml.safe_dump([settings, *objects])
    for name in OWN:
        assert f"{REGISTRY}/llmops-nexus/{name}:7.7.7-team1" in told, name
    assert all(one.startswith(f"{REGISTRY}/llmops-nexus/") for one in pulled)
    assert "ghcr.io" not in told
    assert settings["imagePullSecrets"] == ["registry"]
    assert values["images"].items() <= settings["images"].items()


def test_the_page_names_the_images_of_the_stores(helm: Helm) -> None:
    objects = helm.template(STACK, {"global": {"imageRegistry": REGISTRY}})
    for _, spec in pod_specs(objects):
        path, _, _ = spec["containers"][0]["image"].removeprefix(f"{REGISTRY}/").rpartition(":")
        assert f"`{path}`" in PAGE

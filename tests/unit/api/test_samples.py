"""Every sample is admitted, and together they name each kind."""

from pathlib import Path

import pytest

from nexus_api.kinds import KINDS
from nexus_api.manifests import load_manifests
from nexus_api.validation import admit

SAMPLES = sorted((Path(__file__).parents[3] / "manifests" / "samples").glob("*.yaml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_is_admitted(path: Path) -> None:
    for manifest in load_manifests(path.read_text(encoding="utf-8")):
        KINDS[manifest["kind"]].model.model_validate(admit(manifest))


def test_there_is_a_sample_of_each_kind_and_references_resolve() -> None:
    found = [m for path in SAMPLES for m in load_manifests(path.read_text(encoding="utf-8"))]
    named = {(m["kind"], m["metadata"]["name"]) for m in found}
    assert {kind for kind, _ in named} == set(KINDS)
    for manifest in found:
        knowledge = manifest["spec"].get("knowledge")
        if knowledge:
            assert ("RagIndex", knowledge["ragIndexRef"]["name"]) in named

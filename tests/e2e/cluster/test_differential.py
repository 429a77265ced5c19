"""The same templates and inputs on Argo and on the laptop's engine end in the same way."""

from pathlib import Path

import pytest
from images import built
from testcluster.cluster import Cluster

from .differential import cases, on_argo, on_laptop
from .differential.outcome import outcome

RANDOM_DAGS = 10

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


async def test_argo_and_the_laptop_agree_on_every_node(cluster: Cluster, tmp_path: Path) -> None:
    image = built("scripted-step")
    cluster.load_image(image.archive)
    chosen = [
        *cases.sync_cases(),
        *cases.job_cases(),
        *cases.tuning_cases(),
        *(cases.random_case(number, image.reference) for number in range(RANDOM_DAGS)),
    ]
    templates = cases.templates(image.reference)
    ours = await on_laptop.run(chosen, templates, tmp_path)
    try:
        argos = on_argo.run(cluster, chosen, templates)
    finally:
        on_argo.clear(cluster)
    differing = {}
    for case in chosen:
        here, there = outcome(ours[case.name]), outcome(argos[case.name])
        if here != there:
            differing[case.name] = _differences(here, there)
    assert not differing


def _differences(here: dict[str, object], there: dict[str, object]) -> list[str]:
    """Return the lines that differ, laptop first."""
    lines = []
    if here["phase"] != there["phase"]:
        lines.append(f"workflow: {here['phase']} | {there['phase']}")
    ours, argos = here["nodes"], there["nodes"]
    assert isinstance(ours, dict)
    assert isinstance(argos, dict)
    lines += [
        f"{name}: {ours.get(name)} | {argos.get(name)}"
        for name in sorted(ours.keys() | argos.keys())
        if ours.get(name) != argos.get(name)
    ]
    return lines

"""A cluster without the Prometheus operator gets the platform all the same, and is told so."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from rendering import MONITORING, PLATFORM, Helm, Manifest, named, titles

SHOWN = """
apiVersion: v1
kind: Notes
metadata: {name: notes}
text: {{ tpl (.Files.Get "NOTES.txt") . | quote }}
"""


def _metrics(*parts: str) -> dict[str, Any]:
    return {"metrics": {part: {"enabled": True} for part in parts}}


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with an object that holds its notes, which `helm template` leaves out."""
    chart = tmp_path_factory.mktemp("noted") / PLATFORM.name
    shutil.copytree(PLATFORM, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
    (chart / "templates" / "notes.yaml").write_text(SHOWN)
    return chart


def _notes(helm: Helm, chart: Path, values: dict[str, Any], serves: str) -> str:
    text: str = named(helm.template(chart, values, serves=serves), "Notes", "notes")["text"]
    return text


def _monitoring(objects: list[Manifest]) -> set[str]:
    return titles([one for one in objects if one["apiVersion"] == MONITORING])


def test_monitors_and_rules_are_there_where_their_kinds_are(helm: Helm) -> None:
    wanted = _metrics("serviceMonitor", "prometheusRule")
    with_operator = helm.template(PLATFORM, wanted)
    without = helm.template(PLATFORM, wanted, serves="")
    assert len(_monitoring(with_operator)) >= 7
    assert titles(with_operator) - titles(without) == _monitoring(with_operator)
    assert not _monitoring(helm.template(PLATFORM))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("serviceMonitor",), "so what metrics.serviceMonitor would"),
        (("prometheusRule", "dashboards"), "so what metrics.prometheusRule would"),
        (
            ("serviceMonitor", "prometheusRule"),
            "so what metrics.serviceMonitor and metrics.prometheusRule would",
        ),
    ],
    ids=" ".join,
)
def test_the_notes_say_what_is_left_out(
    helm: Helm, noted: Path, parts: tuple[str, ...], said: str
) -> None:
    notes = _notes(helm, noted, _metrics(*parts), serves="")
    assert f"the cluster has no {MONITORING}, {said}" in notes
    assert MONITORING not in _notes(helm, noted, _metrics(*parts), serves=MONITORING)


def test_the_notes_do_not_speak_of_what_nobody_asked_for(helm: Helm, noted: Path) -> None:
    assert MONITORING not in _notes(helm, noted, _metrics("dashboards"), serves="")

"""What `nexus runs` says that a Workflow of a FineTuneJob came to."""

import json
from typing import Any

import pytest

from nexus_local.cli.logs import verdict


def flow(outputs: dict[str, str], **parameters: str) -> dict[str, Any]:
    told = [{"name": name, "value": value} for name, value in outputs.items()]
    given = [{"name": name, "value": value} for name, value in parameters.items()]
    nodes = {"one": {"outputs": {"parameters": told}}}
    return {"spec": {"arguments": {"parameters": given}}, "status": {"nodes": nodes}}


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        (flow({"verdict": "Promote", "number": "3"}), "Promote 3"),
        (flow({}, action="release", version="2"), "release 2"),
        (flow({"newData": json.dumps({"examples": 12, "digest": "d"})}, number="7"), "12 new"),
        # Argo names the outputs of a pod that failed before it wrote them.
        (flow({"newData": ""}, number="7"), ""),
        ({"spec": {}}, ""),
    ],
)
def test_an_outcome_is_told_in_a_word_or_two(workflow: dict[str, Any], said: str) -> None:
    assert verdict(workflow) == said


def test_an_attempt_that_failed_hides_nothing() -> None:
    run = flow({"newData": json.dumps({"examples": 12})})
    run["status"]["nodes"]["another"] = {"outputs": {"parameters": [{"name": "newData"}]}}
    assert verdict(run) == "12 new"

"""Each account may do what is written in golden/roles.yaml, and no more."""

import difflib
from pathlib import Path

import pytest
import yaml
from rendering import NAMESPACE, PLATFORM, Helm, Manifest, of_kind

GOLDEN = Path(__file__).parent / "golden" / "roles.yaml"


@pytest.fixture(scope="module")
def granted(helm: Helm) -> dict[str, list[str]]:
    return rights(helm.template(PLATFORM))


def rights(objects: list[Manifest]) -> dict[str, list[str]]:
    """Return what each account may do, one line for each resource and scope."""
    roles = {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one["rules"]
        for kind in ("Role", "ClusterRole")
        for one in of_kind(objects, kind)
    }
    found: dict[str, set[str]] = {}
    for binding in [*of_kind(objects, "RoleBinding"), *of_kind(objects, "ClusterRoleBinding")]:
        reference = binding["roleRef"]
        namespace = binding["metadata"].get("namespace", "")
        scope = f"in {namespace}" if namespace else "everywhere"
        for rule in roles[reference["kind"], namespace, reference["name"]]:
            names = f" named {','.join(rule['resourceNames'])}" if "resourceNames" in rule else ""
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    what = f"{resource}.{group}" if group else resource
                    line = f"{scope}: {' '.join(rule['verbs'])} {what}{names}"
                    for subject in binding["subjects"]:
                        found.setdefault(subject["name"], set()).add(line)
    return {name: sorted(lines) for name, lines in sorted(found.items())}


def test_rights_are_those_written_down(granted: dict[str, list[str]]) -> None:
    wanted = GOLDEN.read_text()
    actual = yaml.safe_dump(granted, width=200, sort_keys=True)
    change = "\n".join(
        difflib.unified_diff(wanted.splitlines(), actual.splitlines(), "golden", "rendered", "")
    )
    assert not change, f"a right changed; if it should, write golden/roles.yaml anew:\n{change}"


def test_nobody_may_do_everything(granted: dict[str, list[str]]) -> None:
    assert "*" not in yaml.safe_dump(granted)


def test_nobody_reads_secrets_or_takes_more_rights(granted: dict[str, list[str]]) -> None:
    text = yaml.safe_dump(granted)
    for word in ("secrets", "clusterroles", "rolebindings", "escalate", "impersonate", "pods/exec"):
        assert word not in text


def test_a_step_may_report_its_results_only(granted: dict[str, list[str]]) -> None:
    assert granted["nexus-pipelines"] == [
        f"in {NAMESPACE}: create patch workflowtaskresults.argoproj.io"
    ]


def test_the_sensor_may_touch_jobs_only_and_only_where_alerts_are_taken(
    helm: Helm, granted: dict[str, list[str]]
) -> None:
    assert "nexus-events" not in granted
    listening = rights(helm.template(PLATFORM, {"events": {"alerts": True}}))
    assert listening["nexus-events"] == ["everywhere: get patch finetunejobs.llmops.nexus"]


def test_without_listeners_the_operator_may_remove_those_of_before(helm: Helm) -> None:
    silent = rights(helm.template(PLATFORM, {"events": {"source": "none"}}))
    assert [line for line in silent["nexus-operator"] if "sensors" in line] == [
        f"in {NAMESPACE}: get delete sensors.argoproj.io"
    ]


def test_the_monitor_may_annotate_what_it_asks_of(granted: dict[str, list[str]]) -> None:
    assert granted["nexus-monitor"] == [
        "everywhere: list finetunejobs.llmops.nexus",
        "everywhere: list ragindexes.llmops.nexus",
        "everywhere: list servingmodels.llmops.nexus",
        "everywhere: patch finetunejobs.llmops.nexus",
        "everywhere: patch ragindexes.llmops.nexus",
    ]


def test_chosen_namespaces_limit_the_operator_alone(
    helm: Helm, granted: dict[str, list[str]]
) -> None:
    limited = rights(helm.template(PLATFORM, {"operator": {"watchNamespaces": ["a"]}}))
    assert [line for line in limited.pop("nexus-operator") if line.startswith("everywhere")] == [
        "everywhere: list watch customresourcedefinitions.apiextensions.k8s.io",
        "everywhere: list watch namespaces",
    ]
    assert limited == {name: lines for name, lines in granted.items() if name in limited}
    assert limited.keys() == {"nexus-gateway", "nexus-monitor", "nexus-pipelines"}


def test_without_roles_there_are_none(helm: Helm) -> None:
    assert rights(helm.template(PLATFORM, {"rbac": {"create": False}})) == {}


def test_monitors_of_runtimes_are_a_right_only_where_they_are_made(
    helm: Helm, granted: dict[str, list[str]]
) -> None:
    scraped = rights(helm.template(PLATFORM, {"metrics": {"serviceMonitor": {"enabled": True}}}))
    assert scraped.keys() == granted.keys()
    more = {name: set(lines) - set(granted[name]) for name, lines in scraped.items()}
    right = "everywhere: get list watch create patch podmonitors.monitoring.coreos.com"
    assert {name: lines for name, lines in more.items() if lines} == {"nexus-operator": {right}}

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from nexus_local.cli.errors import UsageError
from nexus_local.cli.kinds import each_target, find_kind, kind_of, split_target
from nexus_local.cli.output import age, cell, lookup, print_objects, render_jsonpath

READY = {
    "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
    "status": {
        "chunks": 7,
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}],
    },
}
NOW = datetime(2026, 1, 10, tzinfo=UTC)


def test_a_condition_is_found_by_a_kubernetes_filter() -> None:
    assert lookup(READY, '.status.conditions[?(@.type=="Synced")].status') == ["False"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.status.chunks}", "7"),
        (".status.chunks", "7"),
        ("{.metadata.name}={.status.chunks} chunks", "a=7 chunks"),
        ('{.status.conditions[?(@.type=="Ready")].status}{"\\n"}', "True\n"),
        ("{.status.absent}", ""),
    ],
)
def test_jsonpath_templates_render_as_kubectl_does(template: str, text: str) -> None:
    assert render_jsonpath(READY, template) == text


def test_a_wrong_jsonpath_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="not a JSONPath"):
        lookup(READY, ".status[")


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        ("2026-01-09T23:59:15Z", "45s"),
        ("2026-01-09T23:48:00Z", "12m"),
        ("2026-01-09T21:00:00Z", "3h"),
        ("2026-01-01T00:00:00Z", "9d"),
        ("2026-01-11T00:00:00Z", "0s"),
    ],
)
def test_ages_are_two_words_long(stamp: str, text: str) -> None:
    assert age(stamp, NOW) == text


def test_a_missing_value_is_an_empty_cell() -> None:
    assert cell(READY, ("URL", "string", ".status.url", 0), NOW) == ""


@pytest.mark.parametrize("word", ["ragindex", "RagIndexes", "ri", "ragindexes.llmops.nexus"])
def test_a_kind_goes_by_all_its_names(word: str) -> None:
    assert find_kind(word).name == "RagIndex"


def test_an_unknown_kind_names_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"no kind 'toaster'.*ragindexes/ri"):
        find_kind("toaster")
    with pytest.raises(UsageError, match=r"no matches for kind 'RagIndex' in version 'v1'"):
        kind_of({"apiVersion": "v1", "kind": "RagIndex"})


def test_targets_are_read_as_kubectl_reads_them() -> None:
    assert split_target(["sm", "a", "b"]) == (find_kind("sm"), ["a", "b"])
    assert split_target(["sm/a", "servingmodel/b"]) == (find_kind("sm"), ["a", "b"])
    assert each_target(["sm/a", "ri/b"]) == [(find_kind("sm"), "a"), (find_kind("ri"), "b")]
    assert each_target(["sm", "a", "b"]) == [(find_kind("sm"), "a"), (find_kind("sm"), "b")]
    with pytest.raises(UsageError):
        each_target(["sm"])
    for wrong in ([], ["sm/a", "ri/b"], ["sm/"]):
        with pytest.raises(UsageError):
            split_target(wrong)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_all_of_a_kind_are_a_list_however_many_there_are(count: int) -> None:
    objects = [{**READY, "metadata": {"name": f"x{number}"}} for number in range(count)]
    console = Console(file=StringIO())
    kind = find_kind("ragindex")
    print_objects(console, kind, objects, "json", everywhere=False, listed=True)
    assert json.loads(told(console)) == {"apiVersion": "v1", "kind": "List", "items": objects}


def test_one_by_name_is_itself() -> None:
    console = Console(file=StringIO())
    print_objects(console, find_kind("ragindex"), [READY], "json", everywhere=False)
    assert json.loads(told(console)) == READY


def told(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()

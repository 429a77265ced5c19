"""The reference page of the resources is current and complete, and its tables are well formed."""

import re
from pathlib import Path

import pytest

from nexus_api.cli import main
from nexus_api.generate import stale_reference
from nexus_api.kinds import KINDS
from nexus_api.reference import reference_page
from nexus_api.schema import Schema, structural_schema

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "resources.md"
CELL_BORDER = re.compile(r"(?<!\\)\|")


def fields(node: Schema, path: str = "") -> list[str]:
    found = []
    for name, child in node.get("properties", {}).items():
        found.append(f"{path}{name}")
        if child["type"] == "array":
            found += fields(child["items"], f"{path}{name}[].")
        else:
            found += fields(child, f"{path}{name}.")
    return found


def messages(node: Schema) -> list[str]:
    found = [rule["message"] for rule in node.get("x-kubernetes-validations", ())]
    below = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
    return found + [message for child in below for message in messages(child)]


def test_committed_page_matches_the_models() -> None:
    assert stale_reference(PAGE) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_its_row(kind: str) -> None:
    properties = structural_schema(kind)["properties"]
    for part in ("spec", "status"):
        section = reference_page().split(f"### {kind} {part}\n")[1].split("\n#")[0]
        rows = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
        assert rows == fields(properties[part])


def test_every_rule_is_told_where_it_applies() -> None:
    page = reference_page()
    row = next(line for line in page.splitlines() if line.startswith("| `chunking.overlapTokens`"))
    assert "must be smaller than maxTokens" in row
    assert "| `32` |" in row
    row = next(line for line in page.splitlines() if line.startswith("| `model.uri`"))
    assert "required" in row
    assert "hf://org/repo" in row


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_is_left_out(kind: str) -> None:
    section = reference_page().split(f"## {kind}\n")[1].split("\n## ")[0]
    told = [message for message in messages(structural_schema(kind)) if message not in section]
    assert told == []


def test_a_rule_of_the_whole_spec_stands_at_the_field_it_points_at() -> None:
    row = next(line for line in reference_page().splitlines() if "`model.quantization`" in line)
    assert "only llamacpp converts weights" in row


def test_tables_have_as_many_cells_in_each_row() -> None:
    width = 0
    for line in reference_page().splitlines():
        cells = len(CELL_BORDER.findall(line)) if line.startswith("|") else 0
        if width and cells:
            assert cells == width, line
        width = cells


def test_generate_covers_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, crds = tmp_path / "reference" / "resources.md", str(tmp_path / "crds")
    assert main(["generate", "--docs", str(page), crds]) == 0
    assert main(["generate", "--check", "--docs", str(page), crds]) == 0
    page.write_text("changed", encoding="utf-8")
    capsys.readouterr()
    assert main(["generate", "--check", "--docs", str(page), crds]) == 1
    assert "resources.md" in capsys.readouterr().err

"""What a run's lineage calls the code: the version, and which build of it."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from nexus_pipelines.revision import OURS, code_revision, sources_digest


def package(root: Path, name: str, **files: str) -> Path:
    folder = root / name
    for path, text in files.items():
        file = folder / path.replace("__", "/").replace("_py", ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def test_the_same_sources_have_one_digest_wherever_they_are_installed(tmp_path: Path) -> None:
    files = {"init_py": "", "sub__core_py": "x = 1\n"}
    here = package(tmp_path / "a", "one", **files)
    there = package(tmp_path / "b", "one", **files)
    (there / "__pycache__").mkdir()
    (there / "__pycache__" / "core.py").write_text("compiled", encoding="utf-8")
    (there / "notes.txt").write_text("no source", encoding="utf-8")
    assert sources_digest([here]) == sources_digest([there])


@pytest.mark.parametrize(
    "files",
    [
        {"init_py": "", "sub__core_py": "x = 2\n"},
        {"init_py": "", "core_py": "x = 1\n"},
        {"init_py": ""},
        {"init_py": "x = 1\n", "sub__core_py": ""},
    ],
)
def test_other_sources_have_another(tmp_path: Path, files: dict[str, str]) -> None:
    known = package(tmp_path / "a", "one", init_py="", sub__core_py="x = 1\n")
    other = package(tmp_path / "b", "one", **files)
    assert sources_digest([known]) != sources_digest([other])


def test_the_revision_is_the_version_and_a_digest_over_what_steps_consist_of() -> None:
    assert {"nexus_pipelines", "nexus_evaluation", "nexus_registry"} <= set(OURS)
    found = code_revision()
    assert re.fullmatch(re.escape(version("nexus-pipelines")) + r"\+[0-9a-f]{12}", found)
    assert found == code_revision()

"""A machine that lacks something has its tests left out by name; in CI they fail."""

import re
from pathlib import Path

import pytest
from needs import lacking, program
from testcluster.binaries import BinaryMissing

TESTS = Path(__file__).parents[2]
_READS_CI = re.compile(r"""environ\b[^\n]*["']CI["']|["']CI["'] in\b""")


@pytest.mark.parametrize("value", [None, ""])
def test_elsewhere_a_test_is_left_out_by_name(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, value)
    with pytest.raises(pytest.skip.Exception, match=r"^no anvil here: apt-get install anvil$"):
        lacking("no anvil here: apt-get install anvil")


@pytest.mark.parametrize("value", ["true", "1", "false", "0", " "])
def test_in_ci_it_fails_whatever_the_variable_says(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, value)
    with pytest.raises(pytest.fail.Exception, match="no anvil here: apt-get install anvil"):
        lacking("no anvil here: apt-get install anvil")


def test_a_program_that_cannot_be_built_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise BinaryMissing(f"{name} is not built: install Go")

    monkeypatch.setattr("needs.binary", missing)
    _set(monkeypatch, None)
    with pytest.raises(pytest.skip.Exception, match=r"^helm is not built: install Go$"):
        program("helm")
    _set(monkeypatch, "true")
    with pytest.raises(pytest.fail.Exception, match="helm is not built: install Go"):
        program("helm")


def test_nobody_else_asks_whether_this_is_ci() -> None:
    asking = {
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        if _READS_CI.search(path.read_text(encoding="utf-8"))
    }
    assert asking == {"harness/needs.py"}


def _set(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", value)

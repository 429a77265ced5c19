"""The command line: flags win over the settings file, mistakes end the process with a sentence."""

import logging
from pathlib import Path

import pytest

from nexus_operator.process.logs import JsonLines
from nexus_operator.process.options import parse_options


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEXUS_OPERATOR_SETTINGS", "NEXUS_OPERATOR_DEPLOYMENT", "NEXUS_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


def test_without_flags_it_is_a_pod_with_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_OPERATOR_DEPLOYMENT", "nexus-operator")
    monkeypatch.setenv("POD_NAME", "nexus-operator-1")
    options = parse_options([])
    assert options.kubeconfig is None
    assert options.deployment == "nexus-operator"
    assert options.identity.startswith("nexus-operator-1_")
    assert options.identity != parse_options([]).identity
    assert options.settings.on_kubernetes
    assert options.settings.watch_namespaces == ()


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("platformNamespace: llm\nwatchNamespaces: [a]\n")
    options = parse_options(
        ["--settings", str(file), "--watch-namespace", "b", "--watch-namespace", "c"]
    )
    assert options.settings.platform_namespace == "llm"
    assert options.settings.watch_namespaces == ("b", "c")


def test_a_wrong_file_ends_it_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("platform: llm\n")
    with pytest.raises(SystemExit, match="2"):
        parse_options(["--settings", str(file)])
    assert "platform: no such field" in capsys.readouterr().err


def test_a_json_line_has_what_machines_look_for() -> None:
    record = logging.LogRecord("nexus", logging.WARNING, "f", 1, "said %s", ("so",), None)
    line = JsonLines().format(record)
    assert '"level": "warning"' in line
    assert '"message": "said so"' in line

"""What every step reads from its arguments: the same words for the same fault, and exit code 2."""

import json
from pathlib import Path

import pytest

from nexus_pipelines.cli import run

SETTINGS = json.dumps({"baseModel": {"uri": "pkg://tiny"}, "data": {"files": {}}})
OUT = {"select": "--selection-out", "evaluate": "--evaluation-out"}


def step(name: str, place: Path, **given: str) -> list[str]:
    wanted = {
        "namespace": "team",
        "job": "support",
        "uid": "u",
        "run": "r1",
        "settings": SETTINGS,
        **({"as-of": "2026-05-01T08:00:00Z"} if name == "select" else {}),
        **given,
    }
    told = [f"--{argument}={value}" for argument, value in wanted.items()]
    return [f"finetune-{name}", *told, f"{OUT[name]}={place / 'out'}"]


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUCKET", "WORK", "MODELS"):
        monkeypatch.setenv(f"NEXUS_{name}_URL", (tmp_path / name).as_uri())


@pytest.mark.parametrize("name", OUT)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"settings": "{"}, "--settings: "),
        ({"settings": "[]"}, "--settings: the text: "),
        ({"settings": '{"baseModel": {"uri": "pkg://x"}}'}, "--settings: data: "),
        ({"production": "{}"}, "--production: base: "),
        ({"production": "NaN"}, "--production: the text: "),
        ({"namespace": "../other"}, "--namespace '../other' is no name"),
        ({"run": "r1/../../other"}, "--run 'r1/../../other' is no name"),
    ],
)
def test_what_no_step_can_work_with_is_wrong_usage(
    name: str, given: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(step(name, tmp_path, **given)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

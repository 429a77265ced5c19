"""A Triton pod's configuration gets the chat template that came with the weights."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from nexus_operator.build.triton import config_text
from nexus_pipelines.cli import run

TEMPLATE = "{% for m in messages %}<|{{ m[\"role\"] }}|>\n{{ m.content }}\t\\ 'ä€'{% endfor %}"


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("weights", "config", "repository")}
    made["weights"].mkdir()
    (made["config"] / "1").mkdir(parents=True)
    (made["config"] / "config.pbtxt").write_text(config_text("assistant"), encoding="utf-8")
    (made["config"] / "1" / "model.json").write_text('{"model": "/m"}', encoding="utf-8")
    return made


def step(folders: dict[str, Path]) -> int:
    named = {"--weights": "weights", "--config": "config", "--to": "repository"}
    pairs = [text for flag, name in named.items() for text in (flag, str(folders[name]))]
    return run(["triton-repository", *pairs])


def parameters(folders: dict[str, Path]) -> dict[str, str]:
    """What Triton's own parser reads."""
    text = (folders["repository"] / "config.pbtxt").read_text(encoding="utf-8")
    config: Any = text_format.Parse(text, model_config_pb2.ModelConfig())  # type: ignore[attr-defined]
    assert config.name == "assistant"
    assert config.model_transaction_policy.decoupled
    return {key: value.string_value for key, value in config.parameters.items()}


def tokenizer(folders: dict[str, Path], **config: Any) -> None:
    path = folders["weights"] / "tokenizer_config.json"
    path.write_text(json.dumps(config), encoding="utf-8")


def test_template_and_tokens_of_the_tokenizer(folders: dict[str, Path]) -> None:
    tokenizer(folders, chat_template=TEMPLATE, bos_token={"content": "<s>"}, eos_token="</s>")
    assert step(folders) == 0
    assert parameters(folders) == {
        "chat_template": TEMPLATE,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    assert json.loads((folders["repository"] / "1/model.json").read_text()) == {"model": "/m"}
    assert step(folders) == 0, "a second try ends the same way"
    assert parameters(folders)["chat_template"] == TEMPLATE


def test_file_of_its_own_wins_and_default_is_taken_among_several(folders: dict[str, Path]) -> None:
    several = [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]
    tokenizer(folders, chat_template=several)
    step(folders)
    assert parameters(folders) == {"chat_template": "d"}
    (folders["weights"] / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    step(folders)
    assert parameters(folders) == {"chat_template": TEMPLATE}


@pytest.mark.parametrize("config", [{}, {"chat_template": 3}, {"chat_template": []}])
def test_model_without_a_template_gets_none(folders: dict[str, Path], config: Any) -> None:
    tokenizer(folders, **config)
    assert step(folders) == 0
    assert parameters(folders) == {}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b" " * ((1 << 20) + 1)])
def test_files_that_cannot_be_read_end_the_step_by_name(
    folders: dict[str, Path], content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders["weights"] / "tokenizer_config.json").write_bytes(content)
    assert step(folders) == 1
    assert "tokenizer_config.json of the model is" in capsys.readouterr().err

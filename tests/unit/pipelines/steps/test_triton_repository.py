"""A Triton pod's repository: the chat template that came with the weights, adapters looked at."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing
from tritonclient.grpc import model_config_pb2

from nexus_api.release import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from nexus_api.triton_repository import config_text
from nexus_gateway.engines.triton.prompt import render
from nexus_gateway.engines.triton.templates import Templates
from nexus_pipelines.cli import run
from nexus_pipelines.triton_repository.adapters import AdapterNotServed, check_adapters

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


def placing(*before: str) -> Any:
    """Return a tokenizer whose post-processor puts tokens before each text."""
    made = Tokenizer(WordLevel({"<s>": 0, "hello": 1, "[UNK]": 2}, unk_token="[UNK]"))
    made.add_special_tokens(["<s>"])
    single = " ".join([*before, "$A"])
    made.post_processor = TemplateProcessing(single=single, special_tokens=[("<s>", 0)])
    return made


@pytest.mark.parametrize("wrapped", [False, True])
async def test_tokenizer_that_begins_texts_by_itself_is_told_of(
    folders: dict[str, Path], *, wrapped: bool
) -> None:
    """The prompt that the backend reads begins with the token once."""
    tokenizer(folders, chat_template="{{ bos_token }}hello", bos_token="<s>")
    made = placing("<s>")
    if wrapped:  # as Llama 3 has it
        made.post_processor = Sequence([ByteLevel(), made.post_processor])
    made.save(str(folders["weights"] / "tokenizer.json"))
    assert step(folders) == 0
    told = parameters(folders)
    assert told["adds_bos"] == "true"
    templates = Templates()
    prompt = await render([{"role": "user", "content": "x"}], told, templates)
    await templates.close()
    assert made.encode(prompt).ids == [0, 1]


@pytest.mark.parametrize("stated", [None, False, True])
def test_word_of_the_configuration_goes_before_the_tokenizers_file(
    folders: dict[str, Path], stated: Any
) -> None:
    tokenizer(folders, chat_template="{{ bos_token }}", bos_token="<s>", add_bos_token=stated)
    placing().save(str(folders["weights"] / "tokenizer.json"))
    assert step(folders) == 0
    assert parameters(folders).get("adds_bos") == ("true" if stated else None)


@pytest.mark.parametrize(
    "odd", [[], "x", {"single": []}, {"single": ["<s>"]}, {"processors": [1]}, {"processors": 5}]
)
def test_odd_tokenizers_add_nothing(folders: dict[str, Path], odd: Any) -> None:
    tokenizer(folders, bos_token="<s>")
    (folders["weights"] / "tokenizer.json").write_text(json.dumps({"post_processor": odd}))
    assert step(folders) == 0
    assert "adds_bos" not in parameters(folders)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b" " * ((1 << 20) + 1)])
def test_files_that_cannot_be_read_end_the_step_by_name(
    folders: dict[str, Path], content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders["weights"] / "tokenizer_config.json").write_bytes(content)
    assert step(folders) == 1
    assert "tokenizer_config.json of the model is" in capsys.readouterr().err


FULL = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "init_lora_weights": True}
LAYER = "model.layers.0.self_attn.q_proj"


def head(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a safetensors file of zeros."""
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)


def pair(module: str = LAYER, rank: int = 4, out: int = 8, width: int = 6) -> Any:
    name = f"base_model.model.{module}"
    return {f"{name}.lora_A.weight": (rank, width), f"{name}.lora_B.weight": (out, rank)}


@pytest.fixture
def adapted(folders: dict[str, Path]) -> dict[str, Path]:
    """A model of one module, and an adapter `polite` for it."""
    folders["adapter"] = folders["weights"].parent / "adapter"
    folders["adapter"].mkdir()
    head(folders["weights"] / "model.safetensors", {f"{LAYER}.weight": (8, 6)})
    head(folders["adapter"] / ADAPTER_WEIGHTS, pair())
    (folders["adapter"] / ADAPTER_CONFIG).write_text(json.dumps(FULL))
    named = json.dumps({"polite": str(folders["adapter"])})
    (folders["config"] / "1/multi_lora.json").write_text(named)
    engine = {"model": "/m", "enable_lora": True, "max_lora_rank": 8, "max_loras": 1}
    (folders["config"] / "1/model.json").write_text(json.dumps(engine))
    return folders


def test_adapters_are_part_of_the_repository(adapted: dict[str, Path]) -> None:
    assert step(adapted) == 0
    for name in ("model.json", "multi_lora.json"):
        assert (adapted["repository"] / "1" / name).read_bytes() == (
            adapted["config"] / "1" / name
        ).read_bytes()
    assert step(adapted) == 0, "a second try ends the same way"


def test_model_without_adapters_has_no_file_for_them(folders: dict[str, Path]) -> None:
    assert step(folders) == 0
    assert not (folders["repository"] / "1/multi_lora.json").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"r": 9}, "its rank is 9, and the engine has room for 8: raise spec.runtime.maxLoraRank"),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True"),
        ({"r": "4"}, "r is '4'"),
        ({"peft_type": "IA3"}, "only LORA is served"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"use_dora": True}, "use_dora is set"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is set"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is set"),
        ({"init_lora_weights": "pissa"}, "which changes the base model too"),
    ],
)
def test_adapter_that_the_backend_would_refuse_when_asked_ends_the_step(
    adapted: dict[str, Path], config: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (adapted["adapter"] / ADAPTER_CONFIG).write_text(json.dumps(FULL | config))
    assert step(adapted) == 1
    message = capsys.readouterr().err
    assert said in message
    assert "adapter polite: " in message
    assert not (adapted["repository"] / "1").exists(), "nothing is left for Triton to load"


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (pair(width=7), f"module {LAYER} changes a matrix of 8 x 7, and the base model has 8 x 6"),
        (pair(out=9), "changes a matrix of 9 x 6"),
        ({**pair(), **pair("model.layers.9.self_attn.q_proj")}, "the base model has no module"),
        ({f"{LAYER}.lora_A.weight": (4, 6)}, "has only one of lora_A and lora_B"),
        ({**pair(), "lm_head.weight": (8, 6)}, "tensor lm_head.weight is no part of"),
        (pair(rank=16), f"module {LAYER} has matrices of rank 16, and adapter_config.json says 4"),
        (
            {f"{LAYER}.lora_A.weight": (4, 6), f"{LAYER}.lora_B.weight": (8, 2)},
            f"module {LAYER} has matrices of rank 4 and 2, and adapter_config.json says 4",
        ),
    ],
)
def test_adapter_of_another_base_ends_the_step(
    adapted: dict[str, Path], shapes: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head(adapted["adapter"] / ADAPTER_WEIGHTS, shapes)
    assert step(adapted) == 1
    assert said in capsys.readouterr().err


def test_base_whose_matrices_are_packed_is_left_to_the_engine(adapted: dict[str, Path]) -> None:
    head(adapted["weights"] / "model.safetensors", {f"{LAYER}.qweight": (1, 6)})
    assert step(adapted) == 0


def framed(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@given(content=st.binary(max_size=60) | st.text('{}[]":,a0', max_size=40).map(framed))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_refused_and_never_break_the_step(
    adapted: dict[str, Path], content: bytes
) -> None:
    for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG):
        path = adapted["adapter"] / name
        whole = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(AdapterNotServed, match=r"^adapter polite: "):
            check_adapters({"polite": adapted["adapter"]}, 8, adapted["weights"])
        path.write_bytes(whole)

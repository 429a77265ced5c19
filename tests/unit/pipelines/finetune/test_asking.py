"""What a runtime's answer counts for when two models are compared."""

from typing import Any

import httpx
import pytest

from nexus_api.release import ReleasableUnit
from nexus_pipelines.finetune.evaluate.asking import Asker
from nexus_pipelines.finetune.evaluate.engines import engine_of
from nexus_pipelines.finetune.evaluate.errors import RuntimeDied, RuntimeRefused
from nexus_pipelines.finetune.evaluate.runtime import Runtime

UNIT = ReleasableUnit(base="hf://org/base", engine="vllm", context_tokens=512)
ASKED = [{"role": "user", "content": "When is the pump tested?"}]


def asker_that_gets(answer: Any) -> Asker:
    client = httpx.Client(
        base_url="http://runtime",
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)),
    )
    return Asker(UNIT, Runtime("http://runtime", "unit-1", engine_of(UNIT), ()), client)


def choice(ending: str | None, text: str = "On Monday.") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": ending}]}


@pytest.mark.parametrize("ending", ["stop", "length", None])
def test_an_answer_counts_however_it_ended(ending: str | None) -> None:
    assert asker_that_gets(choice(ending)).answer(ASKED).text == "On Monday."


def test_an_answer_that_was_given_up_counts_for_neither_model() -> None:
    with pytest.raises(RuntimeDied, match="gave up an answer"):
        asker_that_gets(choice("abort", "")).answer(ASKED)


@pytest.mark.parametrize("answer", [{}, [], {"choices": []}, {"choices": ["x"]}, {"choices": [{}]}])
def test_what_is_no_answer_is_said_to_be_none(answer: Any) -> None:
    with pytest.raises(RuntimeRefused, match="not in OpenAI's form"):
        asker_that_gets(answer).answer(ASKED)

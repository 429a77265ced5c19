"""Asking a runtime: tokens of texts, and answers at the settings of a unit."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from nexus_api.release import ReleasableUnit
from nexus_api.vllm_command import GIVEN_UP
from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.lengths import estimate
from nexus_knowledge.prompting.messages import Messages
from nexus_pipelines.finetune.evaluate.errors import RuntimeDied, RuntimeRefused
from nexus_pipelines.finetune.evaluate.runtime import Runtime

ANSWER_SECONDS = 900.0
_ATTEMPTS = 3
_DELAY = 0.2  # seconds; doubles, with jitter
_SEED = 0


class Answered(NamedTuple):
    """What the model said, and how long the whole answer took."""

    text: str
    milliseconds: float


@dataclass(frozen=True)
class Asker:
    """Asks one runtime for one unit; every call either ends or raises a StepError."""

    unit: ReleasableUnit
    runtime: Runtime
    client: httpx.Client

    def answer(self, messages: Messages) -> Answered:
        """Ask one question, without anything kept of the questions before.

        Raises:
            QuestionTooLong: prompt and answer do not fit the unit's context.
            RuntimeDied: the runtime ended, did not answer or gave the answer up.
            RuntimeRefused: it refuses the request.
        """
        body: dict[str, Any] = {
            "model": self.runtime.model,
            "messages": messages,
            "max_tokens": self.unit.max_tokens,
            "temperature": float(self.unit.temperature),
            "seed": _SEED,
            **self.runtime.engine.request(self.unit),
        }
        begun = time.perf_counter()
        found = self._post("/v1/chat/completions", body)
        spent = (time.perf_counter() - begun) * 1000
        try:
            choice = found["choices"][0]
            text, ending = choice["message"]["content"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise RuntimeRefused(f"the runtime's answer is not in OpenAI's form: {error}") from None
        if ending == GIVEN_UP:
            said = self.runtime.said()
            raise RuntimeDied(f"the runtime gave up an answer; its log: {said}")
        return Answered(text or "", spent)

    def counting(self, texts: list[str]) -> Callable[[str], int]:
        """Count the tokens of texts by the model's tokenizer; others are estimated.

        All are where the engine counts nothing, as they are when it serves.
        """
        counts = {text: self._count(text) for text in dict.fromkeys(texts) if text}

        def count(text: str) -> int:
            known = counts.get(text)
            return estimate(text) if known is None else known

        return count

    def _count(self, text: str) -> int | None:
        taken = self.runtime.engine.tokenize(text)
        if taken is None:
            return None
        answer = self._post("/tokenize", {"model": self.runtime.model, **taken})
        return len(answer["tokens"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_DELAY * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            self.runtime.check()
            try:
                answer = self.client.post(path, json=body)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code == httpx.codes.OK:
                return answer.json()
            problem = f"{answer.status_code}: {answer.text[:500]}"
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                if self.runtime.engine.too_long(answer.text):
                    raise QuestionTooLong(f"the question does not fit the context: {problem}")
                raise RuntimeRefused(f"the runtime refuses POST {path}: {problem}")
        self.runtime.check()
        raise RuntimeDied(
            f"the runtime gave no answer in {_ATTEMPTS} attempts; last: {problem}; "
            f"its log: {self.runtime.said()}"
        )


@contextmanager
def asker(unit: ReleasableUnit, runtime: Runtime) -> Iterator[Asker]:
    """Make an asker, whose connections end with the block."""
    limits = httpx.Timeout(ANSWER_SECONDS, connect=5.0)
    with httpx.Client(base_url=runtime.url, timeout=limits) as client:
        yield Asker(unit, runtime, client)

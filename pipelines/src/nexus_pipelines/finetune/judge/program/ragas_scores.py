"""Scores by ragas and a judge, as a program of its own: lines of JSON in, lines of JSON out.

It runs in an environment of its own, since what ragas needs cannot be installed beside what
training needs (docs/adr/0025); so it imports nothing of ours and no module of ours imports it, for
which its folder is no package.  Each line in is a case:
``{"id", "item", "metric", "question", "contexts"}`` with ``"reference"`` for contextPrecision and
``"answer"`` for the others.  Each line out is ``{"id", "score"}`` as it is known, and one
``{"failed", "message"}`` ends it with code 1: the kinds are those of errors.py.  The judge is named
by NEXUS_JUDGE_*.

ragas makes the prompts and computes the scores.  What a judge answers is held against more than
ragas asks for: verdicts are 0 or 1, and there is one for each statement, for a missing verdict
would otherwise be left out of the mean; a grade is one of 1 to 5.
"""
# ruff: noqa: INP001 - that folder

import asyncio
import json
import math
import os
import random
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

# Untyped here: this file is checked where ragas is not installed.
from ragas.llms.base import InstructorBaseRagasLLM  # type: ignore[import-not-found]
from ragas.metrics.collections import (  # type: ignore[import-not-found]
    ContextPrecision,
    DomainSpecificRubrics,
    Faithfulness,
)

ATTEMPTS = 3
AT_ONCE = 4  # cases that are judged at the same time
CONNECT_SECONDS = 5.0
_DELAY = 0.5  # seconds; doubles, with jitter
_SHOWN = 300  # characters of a judge's words in an error
_WORST, _BEST = 1, 5  # grades

# What each grade says, from the worst to the best.  They speak of the form alone: whether an answer
# is right is what the other metrics are for.
GRADES = {
    "coherence": (
        "The answer has no thread: its sentences do not belong together, or it breaks off.",
        "The thread is often lost: sentences contradict each other or come in no order.",
        "The thread can be followed with effort; some sentences stand in no relation.",
        "The answer holds together; one step or reference is unclear.",
        "Every sentence follows from the one before and serves the question; nothing contradicts.",
    ),
    "conciseness": (
        "Nearly all of the answer is repetition, filler, or beside the question.",
        "Most of the answer could be left out without a loss.",
        "The answer says what is asked, with about as much that is not needed.",
        "The answer is to the point, with a few words too many.",
        "Nothing could be left out: the answer says what is asked and ends.",
    ),
    "fluency": (
        "The answer is no language: broken words, or words without grammar.",
        "Errors of grammar or spelling in most sentences make it hard to read.",
        "The answer can be read, with several errors or unnatural turns.",
        "The answer reads well, with one slip of grammar, spelling or style.",
        "The answer reads as if a careful native writer had written it.",
    ),
}

Kind = Literal["JudgeDown", "JudgeRefused", "JudgeNonsense"]
Answer = TypeVar("Answer", bound=BaseModel)
Case = dict[str, Any]


class Failed(Exception):
    """The judge gave no usable answer; kind is the name of the step's error."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind


class Judge(InstructorBaseRagasLLM):  # type: ignore[misc]
    """The judge as ragas asks it, for one case: it remembers how many statements were made."""

    def __init__(self, client: httpx.AsyncClient, model: str) -> None:
        self._client, self._model = client, model
        self._statements = 0

    def generate(self, prompt: str, response_model: type[Answer]) -> Answer:
        """Not offered: ragas' metrics ask by agenerate."""
        raise NotImplementedError(f"{response_model.__name__} is asked for by agenerate: {prompt}")

    async def agenerate(self, prompt: str, response_model: type[Answer]) -> Answer:
        """Ask until the answer is usable, a few times.  Raises Failed."""
        kind: Kind = "JudgeDown"
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(_DELAY * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                text = await self._ask(prompt, problem, response_model)
                return self._usable(response_model.model_validate_json(_bare(text)))
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                kind, problem = "JudgeDown", _said(error)
                if isinstance(error, httpx.HTTPStatusError) and not _passing(error.response):
                    raise Failed("JudgeRefused", problem) from error
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"]) or "the whole"
                kind, problem = "JudgeNonsense", f"{place}: {first['msg']}"
            except ValueError as error:
                kind, problem = "JudgeNonsense", str(error)
        raise Failed(kind, f"{ATTEMPTS} attempts; last: {problem}")

    async def _ask(self, prompt: str, problem: str, form: type[BaseModel]) -> str:
        messages = [{"role": "user", "content": prompt}]
        if problem:
            again = (
                f"Answer by one JSON object of that schema, without other words. Before: {problem}"
            )
            messages.append({"role": "user", "content": again})
        schema = {"name": form.__name__, "schema": form.model_json_schema()}
        answer = await self._client.post(
            "chat/completions",
            json={
                "model": self._model,
                "messages": messages,
                "temperature": 0,
                "response_format": {"type": "json_schema", "json_schema": schema},
            },
        )
        answer.raise_for_status()
        try:
            choice = answer.json()["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"no answer in OpenAI's form: {answer.text[:_SHOWN]!r}") from None
        if choice.get("finish_reason") == "length":
            raise ValueError("its answer was cut off")
        if not isinstance(text, str):
            raise ValueError("its answer is no text")  # noqa: TRY004 - of the judge, not the code
        return text

    def _usable(self, answer: Answer) -> Answer:
        told = answer.model_dump()
        statements = told.get("statements")
        verdicts = [told["verdict"]] if "verdict" in told else []
        if isinstance(statements, list) and all(isinstance(one, str) for one in statements):
            self._statements = len(statements)
            if not any(one.strip() for one in statements):
                raise ValueError("it finds no statement in the answer")
        elif isinstance(statements, list):
            verdicts = [one["verdict"] for one in statements]
            if len(verdicts) != self._statements:
                raise ValueError(f"{len(verdicts)} verdicts on {self._statements} statements")
        if "score" in told and not _WORST <= told["score"] <= _BEST:
            raise ValueError(f"grade {told['score']} is not one of {_WORST} to {_BEST}")
        if wrong := [one for one in verdicts if one not in (0, 1)]:
            raise ValueError(f"verdict {wrong[0]} is neither 0 nor 1")
        return answer


async def faithfulness(case: Case, judge: Judge) -> float:
    """Return the share of the answer's statements that follow from the passages."""
    metric = Faithfulness(llm=judge)
    found = await metric.ascore(
        user_input=case["question"],
        response=case["answer"],
        retrieved_contexts=case["contexts"],
    )
    return float(found.value)


async def context_precision(case: Case, judge: Judge) -> float:
    """Return how far in front the passages stand that serve the reference answer."""
    metric = ContextPrecision(llm=judge)
    found = await metric.ascore(
        user_input=case["question"],
        reference=case["reference"],
        retrieved_contexts=case["contexts"],
    )
    return float(found.value)


async def graded(case: Case, judge: Judge) -> float:
    """Return a grade of the answer's form, from 0 for the worst to 1 for the best."""
    said = {
        f"score{grade}_description": text for grade, text in enumerate(GRADES[case["metric"]], 1)
    }
    metric = DomainSpecificRubrics(llm=judge, rubrics=said, name=case["metric"])
    found = await metric.ascore(user_input=case["question"], response=case["answer"])
    return (float(found.value) - _WORST) / (_BEST - _WORST)


METRICS: dict[str, Callable[[Case, Judge], Coroutine[Any, Any, float]]] = {
    "faithfulness": faithfulness,
    "contextPrecision": context_precision,
    **dict.fromkeys(GRADES, graded),
}


async def score(case: Case, judge: Judge) -> float:
    """Score one case.  Raises Failed, which names it."""
    named = f"{case['metric']} of item {case['item']!r}"
    try:
        found = await METRICS[case["metric"]](case, judge)
    except Failed as error:
        raise Failed(error.kind, f"{named}: {error}") from error
    if not math.isfinite(found) or not 0 <= found <= 1:
        raise Failed("JudgeNonsense", f"{named} is {found}")
    return found


async def judge_all(cases: list[Case], tell: Callable[[dict[str, Any]], None]) -> None:
    """Score all cases, some at a time; the first that fails ends the others."""
    seconds = float(os.environ["NEXUS_JUDGE_TIMEOUT_SECONDS"])
    key, model = os.environ["NEXUS_JUDGE_API_KEY"], os.environ["NEXUS_JUDGE_MODEL"]
    turn = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(
        base_url=os.environ["NEXUS_JUDGE_URL"] + "/",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
    ) as client:

        async def one(case: Case) -> None:
            async with turn:
                tell({"id": case["id"], "score": await score(case, Judge(client, model))})

        async with asyncio.TaskGroup() as group:
            for case in cases:
                group.create_task(one(case))


def main() -> int:
    """Read all cases, write the scores; return the exit code."""
    # What a library prints must not stand among the scores.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)

        def tell(told: dict[str, Any]) -> None:
            out.write(json.dumps(told) + "\n")
            out.flush()

        try:
            asyncio.run(judge_all([json.loads(line) for line in sys.stdin.buffer], tell))
        except ExceptionGroup as group:
            failed = [one for one in group.exceptions if isinstance(one, Failed)]
            if not failed:
                raise
            tell({"failed": failed[0].kind, "message": str(failed[0])})
            return 1
    return 0


def _bare(text: str) -> str:
    """Return what stands within a Markdown fence, which many models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json").strip()
    return text


def _passing(answer: httpx.Response) -> bool:
    """Whether the same request may fare better later."""
    return answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or answer.status_code in {
        httpx.codes.REQUEST_TIMEOUT,
        httpx.codes.TOO_MANY_REQUESTS,
    }


def _said(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code}: {error.response.text[:_SHOWN]!r}"
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())

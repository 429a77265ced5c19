"""Requests without a pause while versions of an adapter change, and what tells versions apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from engine_servers import Server
from gateway_world import World

CHAT = "/v1/chat/completions"
PLAIN, ADAPTED = "assistant", "assistant:pirate"
QUESTIONS = (
    "The capital of France is", "Say hello.", "What is two plus two?", "Name a colour.",
    "Is water wet?", "Write the letter A.", "Who wrote Hamlet?", "Count to three.",
)  # fmt: skip


@dataclass
class Load:
    """What was asked without a pause, and what came of it."""

    plain: list[str] = field(default_factory=list)
    """Not looked into: vLLM's CPU build computes what is asked of the base with an adapter that is
    in the same batch."""
    adapted: list[str] = field(default_factory=list)
    streams: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def asked(self) -> tuple[int, int]:
        return len(self.plain), len(self.adapted)


def body(model: str, question: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": 1, "temperature": 0, **more}


@asynccontextmanager
async def load(world: World, question: str) -> AsyncIterator[Load]:
    """Ask model and adapter, and have long answers streamed, until the block ends."""
    seen, over = Load(), asyncio.Event()

    async def asking(model: str, into: list[str]) -> None:
        while not over.is_set():
            answer = await world.http.post(CHAT, json=body(model, question))
            if answer.status_code == httpx.codes.OK:
                into.append(answer.json()["choices"][0]["message"]["content"])
            else:
                seen.failed.append(answer.text)

    async def streaming() -> None:
        long = body(ADAPTED, QUESTIONS[0], max_tokens=48, ignore_eos=True, stream=True)
        while not over.is_set():
            async with world.http.stream("POST", CHAT, json=long) as answer:
                text = (await answer.aread()).decode()
            if "[DONE]" in text and '"finish_reason":"length"' in text.replace(" ", ""):
                seen.streams += 1
            else:
                seen.failed.append(text[-500:])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asking(PLAIN, seen.plain))
        tasks.create_task(asking(ADAPTED, seen.adapted))
        tasks.create_task(streaming())
        try:
            yield seen
        finally:
            over.set()


async def first_words(server: Server, model: str) -> dict[str, list[str]]:
    """Return by question the likeliest first tokens; which one wins depends on the batch too."""
    found = {}
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as http:
        for question in QUESTIONS:
            told = body(model, question, logprobs=True, top_logprobs=5)
            choice = (await http.post(CHAT, json=told)).json()["choices"][0]
            found[question] = [
                one["token"] for one in choice["logprobs"]["content"][0]["top_logprobs"]
            ]
    return found


def told_apart(
    old: dict[str, list[str]], new: dict[str, list[str]]
) -> tuple[str, set[str], set[str]]:
    """Return a question whose likeliest answers of two versions have nothing in common."""
    for many in (5, 4, 3, 2):
        for question in QUESTIONS:
            before, after = set(old[question][:many]), set(new[question][:many])
            if not before & after:
                return question, before, after
    raise AssertionError(f"no question tells the versions apart: {old} {new}")

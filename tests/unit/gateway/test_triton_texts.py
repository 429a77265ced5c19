"""Triton's texts: prompts from messages, stop texts in any pieces, OpenAI's fields."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_gateway.engines.triton.asking import asking_of
from nexus_gateway.engines.triton.events import StopCutter
from nexus_gateway.engines.triton.prompt import render
from nexus_gateway.engines.triton.templates import Templates
from nexus_gateway.errors import BadRequest, UpstreamError

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def templates() -> AsyncIterator[Templates]:
    """What renders, ended with the test."""
    made = Templates()
    yield made
    await made.close()


async def test_chatml_is_the_form_without_a_template(templates: Templates) -> None:
    messages = [{"role": "developer", "content": "Be kind."}, *HELLO, {"role": "assistant"}]
    assert await render(messages, {}, templates) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
        "<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(BadRequest, match="no role 'king'"):
        await render([{"role": "king", "content": "x"}], {}, templates)


async def test_template_gets_its_tokens_and_users_cannot_write_them(templates: Templates) -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    parameters = {"chat_template": template, "bos_token": "<s>", "eos_token": "</s>"}
    messages = [{"role": "user", "content": "a</s>b<|eot_id|>"}]
    assert await render(messages, parameters, templates) == "<s>a< / s >b< |eot_id| ></s>"


async def test_token_that_the_tokenizer_puts_first_is_left_to_it(templates: Templates) -> None:
    template = "{{ bos_token }}{{ messages[0].content }}"
    told = {"chat_template": template, "bos_token": "<s>"}
    assert await render(HELLO, told, templates) == "<s>Hello"
    assert await render(HELLO, {**told, "adds_bos": "true"}, templates) == "Hello"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
         "Hello"),
        ("{% if tools is not none %}{{ tools | length }}{% endif %}x", "x"),
        ("{{ {'a': '<b> \u00fc'} | tojson }}", '{"a": "<b> \u00fc"}'),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{% endfor %}.", "."),
    ],
)  # fmt: skip
async def test_templates_may_say_what_transformers_lets_them(
    templates: Templates, template: str, text: str
) -> None:
    assert await render(HELLO, {"chat_template": template}, templates) == text


async def test_template_may_refuse_but_not_reach_out(templates: Templates) -> None:
    refusing = "{{ raise_exception('no system message, please') }}"
    with pytest.raises(BadRequest, match="no system message, please"):
        await render(HELLO, {"chat_template": refusing}, templates)
    for broken in (
        "{% for %}", "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}", "{{ messages[9].content }}", "{{ 'x'.join(3) }}",
        "{{ [1] | sum('a') }}", "{{ '\\ud800' }}",
    ):  # fmt: skip
        with pytest.raises(UpstreamError):
            await render(HELLO, {"chat_template": broken}, templates)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% set o = namespace(x='x') %}{% for _ in range(40) %}{% set o.x=o.x~o.x %}{% endfor %}",
    ],
)
async def test_template_without_an_end_holds_up_nobody(templates: Templates, template: str) -> None:
    hanging = asyncio.create_task(render(HELLO, {"chat_template": template}, templates, "theirs"))
    turns = 0
    while not hanging.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(UpstreamError, match="cannot be rendered"):
        await hanging
    assert turns > 2, "the event loop stood still"
    ours = {"chat_template": "{{ messages[0].content }}"}
    assert await render(HELLO, ours, templates, "ours") == "Hello"


async def test_model_whose_template_was_ended_rests(templates: Templates) -> None:
    endless = {"chat_template": "{{ 9 ** (9 ** 9) }}"}
    with pytest.raises(UpstreamError, match="1 s of computing"):
        await render(HELLO, endless, templates, "theirs")
    with pytest.raises(UpstreamError, match="1 s of computing"):  # nothing is computed again
        await render(HELLO, {"chat_template": "x"}, templates, "theirs")
    assert templates._process is None


async def test_end_that_is_heard_of_late_is_still_told(
    templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the output is there before asyncio has asked how the process ended."""
    asks = os.waitpid

    def asks_late(pid: int, options: int) -> tuple[int, int]:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        threading.Event().wait(0.2)
        return asks(pid, options)

    monkeypatch.setattr(os, "waitpid", asks_late)
    with pytest.raises(UpstreamError, match="1 s of computing"):
        await render(HELLO, {"chat_template": "{{ 9 ** (9 ** 9) }}"}, templates, "theirs")


async def test_caller_that_leaves_takes_no_answer_of_others(templates: Templates) -> None:
    told = {"chat_template": "{{ messages[0].content }}"}
    for number in range(20):
        left = asyncio.create_task(render(HELLO, told, templates))
        await asyncio.sleep(0.001 * (number % 4))
        left.cancel()
        said = [{"role": "user", "content": f"number {number}"}]
        assert await render(said, told, templates) == f"number {number}"


async def test_process_that_was_killed_is_replaced(templates: Templates) -> None:
    told = {"chat_template": "{{ messages[0].content }}"}
    assert await render(HELLO, told, templates) == "Hello"
    process = templates._process
    assert process is not None
    process.kill()
    await process.wait()
    assert await render(HELLO, told, templates) == "Hello"


async def test_closing_ends_what_is_under_way(templates: Templates) -> None:
    endless = {"chat_template": "{{ 9 ** (9 ** 9) }}"}
    assert await render(HELLO, {"chat_template": "x"}, templates) == "x"
    process = templates._process
    hanging = asyncio.create_task(render(HELLO, endless, templates))
    await asyncio.sleep(0.05)
    await templates.close()
    assert process is not None
    assert process.returncode is not None
    for one in (hanging, render(HELLO, {"chat_template": "x"}, templates)):
        with pytest.raises(UpstreamError, match="cannot be rendered"):
            await one


async def test_largest_request_is_rendered(templates: Templates) -> None:
    told = {"chat_template": "{% for m in messages %}{{ m.content | trim }}!{% endfor %}"}
    content = "\U0001f600" + "x" * (8 << 20)
    said = await render([{"role": "user", "content": content}], told, templates)
    assert said == f"{content}!"


@given(
    text=st.text("abc", max_size=30),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=6),
)
def test_stop_text_is_found_in_any_pieces(text: str, stops: list[str], cuts: list[int]) -> None:
    at = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    cutter, shown = StopCutter(stops), ""
    for begin, end in pairwise(at):
        shown += cutter.feed(text[begin:end])
        if cutter.stopped:
            break
    if not cutter.stopped:
        shown += cutter.rest()
    # A stop text counts from the moment it is whole, as it does for a server that generates.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert cutter.stopped == bool(ends)
    assert not any(stop in shown for stop in stops)
    assert text.startswith(shown)
    if not ends:
        assert shown == text


async def test_fields_become_sampling_parameters(templates: Templates) -> None:
    body: dict[str, Any] = {
        "messages": HELLO,
        "temperature": 0.5,
        "top_p": None,
        "seed": 7,
        "max_completion_tokens": 9,
        "stop": "END",
        "user": "someone",
    }
    asking = await asking_of(CHAT, body, {}, templates)
    assert orjson.loads(asking.sampling_parameters()) == {
        "temperature": 0.5,
        "seed": 7,
        "max_tokens": 9,
        "stop": ["END", "<|im_end|>"],
    }
    told = {"chat_template": "x"}
    assert (await asking_of(CHAT, body, told, templates)).stops == ("END",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", -0.1),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", 0.5),
        ("top_k", -2),
        ("min_p", 2),
        ("presence_penalty", -2.1),
        ("frequency_penalty", 3),
        ("repetition_penalty", 0),
        ("prompt_logprobs", 1),
        ("response_format", "json"),
        ("response_format", ["json"]),
        ("seed", 1.5),
        ("ignore_eos", 1),
        ("max_tokens", 0),
        ("max_tokens", "10"),
        ("max_completion_tokens", 0),
        ("stop", [1]),
        ("stop", ["x"] * 17),
        ("n", 2),
        ("n", [1]),
        ("n", {}),
        ("logprobs", True),
        ("tools", [{}]),
    ],
)
async def test_wrong_fields_are_refused_by_name(
    templates: Templates, field: str, value: object
) -> None:
    with pytest.raises(BadRequest) as caught:
        await asking_of(CHAT, {"messages": HELLO, field: value}, {}, templates)
    assert caught.value.param == field

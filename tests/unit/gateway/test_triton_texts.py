"""Triton's texts: prompts from messages, stop texts in any pieces, OpenAI's fields."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_gateway.engines.triton.asking import asking_of
from nexus_gateway.engines.triton.events import StopCutter
from nexus_gateway.engines.triton.prompt import render
from nexus_gateway.errors import BadRequest, UpstreamError

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def test_chatml_is_the_form_without_a_template() -> None:
    messages = [{"role": "developer", "content": "Be kind."}, *HELLO, {"role": "assistant"}]
    assert render(messages, {}) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
        "<|im_start|>assistant\n<|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(BadRequest, match="no role 'king'"):
        render([{"role": "king", "content": "x"}], {})


def test_template_gets_its_tokens_and_users_cannot_write_them() -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    parameters = {"chat_template": template, "bos_token": "<s>", "eos_token": "</s>"}
    messages = [{"role": "user", "content": "a</s>b<|eot_id|>"}]
    assert render(messages, parameters) == "<s>a< / s >b< |eot_id| ></s>"


def test_template_may_refuse_but_not_reach_out() -> None:
    refusing = "{{ raise_exception('no system message, please') }}"
    with pytest.raises(BadRequest, match="no system message, please"):
        render(HELLO, {"chat_template": refusing})
    for broken in ("{% for %}", "{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}"):
        with pytest.raises(UpstreamError):
            render(HELLO, {"chat_template": broken})


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


def test_fields_become_sampling_parameters() -> None:
    body: dict[str, Any] = {
        "messages": HELLO,
        "temperature": 0.5,
        "top_p": None,
        "seed": 7,
        "max_completion_tokens": 9,
        "stop": "END",
        "user": "someone",
    }
    asking = asking_of(CHAT, body, {})
    assert orjson.loads(asking.sampling_parameters()) == {
        "temperature": 0.5,
        "seed": 7,
        "max_tokens": 9,
        "stop": ["END", "<|im_end|>"],
    }
    assert asking_of(CHAT, body, {"chat_template": "x"}).stops == ("END",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "hot"),
        ("temperature", True),
        ("seed", 1.5),
        ("ignore_eos", 1),
        ("max_tokens", 0),
        ("max_tokens", "10"),
        ("stop", [1]),
        ("stop", ["x"] * 17),
        ("n", 2),
        ("logprobs", True),
        ("tools", [{}]),
    ],
)
def test_wrong_fields_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        asking_of(CHAT, {"messages": HELLO, field: value}, {})
    assert caught.value.param == field

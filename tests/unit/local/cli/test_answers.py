"""What the command line makes of answers: odd characters, other programs, odd addresses."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nexus_local.cli import show
from nexus_local.cli.answers import lines
from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.gateway import Gateway
from nexus_local.cli.kinds import find_kind
from nexus_local.cli.kube import KubeClient
from nexus_local.cli.target import Target

PODS = find_kind("pods")
ODD = "\x85\u2028\u2029\x1c\x0b\r"
Answer = Callable[[httpx.Request], httpx.Response]


def http(answer: Answer) -> httpx.Client:
    return httpx.Client(base_url="http://here", transport=httpx.MockTransport(answer))


def pod(name: str, **metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}}


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))),
    st.integers(1, 7),
)
def test_lines_end_at_newlines_alone_however_they_come(texts: list[str], size: int) -> None:
    whole = "".join(f"{text}\n" for text in texts).encode()
    pieces: Iterator[bytes] = (whole[i : i + size] for i in range(0, len(whole), size))
    assert list(lines(httpx.Response(200, content=pieces))) == texts


def test_a_watch_reads_objects_with_any_character() -> None:
    seen = pod("a", annotations={"x": ODD})
    text = json.dumps({"type": "MODIFIED", "object": seen}, ensure_ascii=False) + "\n"
    kube = KubeClient(http(lambda _: httpx.Response(200, content=(text * 2).encode())))
    assert list(kube.watch(PODS, "default", "1", seconds=1)) == [("MODIFIED", seen)] * 2


def test_an_answer_with_any_character_is_read() -> None:
    chunk = {"choices": [{"delta": {"content": ODD}}]}
    text = f"data: {json.dumps(chunk, ensure_ascii=False)}\n\ndata: [DONE]\n\n"
    gateway = Gateway(http(lambda _: httpx.Response(200, content=text.encode())))
    assert list(gateway.chat("m", [])) == [chunk]


def test_another_program_at_the_address_is_said_to_be_one() -> None:
    stranger = http(lambda _: httpx.Response(200, html="<html>hello"))
    for ask in (
        lambda: KubeClient(stranger).get(PODS, "default", "a"),
        lambda: Gateway(stranger).models(),
    ):
        with pytest.raises(CliError, match="another program"):
            ask()


def test_a_name_stays_one_part_of_the_path() -> None:
    assert PODS.path("default", "../a?b#c/d") == (
        "/api/v1/namespaces/default/pods/..%2Fa%3Fb%23c%2Fd"
    )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://[::1", "http://h:port", "nowhere", "ftp://h"]
)
def test_an_address_that_is_none_is_wrong_usage(url: str, tmp_path: Path) -> None:
    for find in (Target(url=url).gateway, Target(url=url).kube, Target(url=url).layout):
        with pytest.raises(UsageError, match="is no address"):
            find()


def test_a_control_file_without_a_token_is_no_platform(tmp_path: Path) -> None:
    (tmp_path / "control.json").write_text('{"url": "http://127.0.0.1:1"}')
    with pytest.raises(CliError, match="no platform runs"):
        Target(data_dir=tmp_path).kube()


def test_a_watch_of_a_selection_asks_for_that_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if "watch" not in request.url.params:
            return httpx.Response(200, json={"items": [], "metadata": {"resourceVersion": "7"}})
        asked.append(request.url.params.get("labelSelector"))
        if len(asked) > 1:
            raise httpx.ConnectError("enough")
        event = {"type": "ADDED", "object": pod("a", resourceVersion="8")}
        return httpx.Response(200, content=json.dumps(event).encode() + b"\n")

    monkeypatch.setattr(Target, "kube", lambda _: KubeClient(http(answer)))
    printed = StringIO()
    monkeypatch.setattr(show, "console", Console(file=printed))
    with suppress(CliError):
        show.get(
            what=["pods"], output="name", all_namespaces=False, selector="app=x", watch=True,
            data_dir=None, url=None, context=None, namespace="default",
        )  # fmt: skip
    assert asked == ["app=x", "app=x"]
    assert printed.getvalue().split() == ["pod/a"]

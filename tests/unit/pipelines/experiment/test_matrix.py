"""A matrix stands for ways to answer; each is asked, scored, tracked, and held to a baseline."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_knowledge.objects import open_store
from nexus_knowledge.reports import Report
from nexus_pipelines.cli import run
from nexus_pipelines.errors import UsageError
from nexus_pipelines.experiment.matrix.asking import (
    Gateway,
    GatewayAway,
    GatewayRefused,
    QuestionRefused,
)
from nexus_pipelines.experiment.matrix.baseline import best_sentence
from nexus_pipelines.experiment.matrix.plan import MOST_ARMS, read_matrix, ways
from nexus_registry import Connection, Reader

MODELS = {"assistant": "handbook", "assistant:tuned": "handbook", "plain": "", "other": "notes"}


def matrix(**fields: Any) -> dict[str, Any]:
    return {"goldenSet": "golden.jsonl", "models": ["assistant"], **fields}


def named(**fields: Any) -> list[tuple[int, str, str, str, int]]:
    plan = ways(read_matrix(matrix(**fields)), MODELS)
    return [
        (one.number, one.model, one.prompt.name if one.prompt else "", one.searches, one.baseline)
        for one in plan
    ]


def test_every_model_meets_every_prompt_and_every_search_after_its_baseline() -> None:
    found = named(
        models=["assistant", "plain", "assistant:tuned"],
        prompts=[{"name": "a"}, {"name": "b", "system": "Be brief."}],
        retrieval=[{"name": "words", "mode": "bm25"}, {"name": "both", "topK": 3}],
    )
    assert found[:3] == [
        (0, "", "", "own passages", 0),
        (1, "plain", "a", "own passages", 0),
        (2, "plain", "b", "own passages", 0),
    ]
    assert found[3] == (3, "", "", "words", 3)
    assert found[8] == (8, "", "", "both", 8)
    assert len(found) == 3 + 2 * (1 + 4)


@settings(deadline=None, max_examples=50)
@given(
    models=st.lists(st.sampled_from(sorted(MODELS)), min_size=1, unique=True),
    prompts=st.integers(1, 3),
    searches=st.integers(1, 3),
)
def test_a_way_is_held_against_a_baseline_of_the_same_passages(
    models: list[str], prompts: int, searches: int
) -> None:
    fields = {
        "models": models,
        "prompts": [{"name": f"p{number}"} for number in range(prompts)],
        "retrieval": [{"name": f"r{number}"} for number in range(searches)],
    }
    plan = ways(read_matrix(matrix(**fields)), MODELS)
    assert [way.number for way in plan] == list(range(len(plan)))
    for way in plan:
        baseline = plan[way.baseline]
        assert baseline.is_baseline
        assert (baseline.index, baseline.retrieval) == (way.index, way.retrieval)
        assert way.number >= baseline.number
    asked = [(way.model, way.prompt, way.retrieval) for way in plan if not way.is_baseline]
    assert len(set(asked)) == len(asked)
    assert len(asked) == sum(prompts * (searches if MODELS[one] else 1) for one in models)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"models": []}, "models"),
        ({"models": ["gone"]}, "there is no model 'gone'"),
        ({"models": ["plain", "plain"]}, "models has one twice"),
        ({"metric": "joy"}, "metric 'joy' is none of"),
        ({"retrieval": [{"name": "x", "mode": "guess"}]}, "retrieval.0.mode"),
        ({"prompts": [{"name": "x", "system": "a", "file": "b"}]}, "not both"),
        ({"surprise": 1}, "surprise"),
        ({"prompts": [{"name": f"p{n}"} for n in range(MOST_ARMS)]}, "at most 64"),
    ],
)
def test_a_matrix_that_means_nothing_says_where(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ways(read_matrix(matrix(**fields)), MODELS)


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_what_is_no_matrix_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        read_matrix(value)


PASSAGES = [
    "The alarm is loud. It is\ntested on Monday.",
    "The pump is red. The seal of the pump\nlasts.",
]


def test_the_baseline_is_the_best_sentence_of_the_best_passage() -> None:
    assert best_sentence("How loud is the alarm?", PASSAGES, "en") == "The alarm is loud."
    found = best_sentence("Which seal has the pump?", PASSAGES, "en")
    assert found == "The seal of the pump lasts."
    assert best_sentence("Which?", []) == ""
    assert best_sentence("", ["", " "]) == ""


@settings(deadline=None, max_examples=50)
@given(st.text(), st.lists(st.text(), max_size=4))
def test_the_baseline_says_nothing_of_its_own(question: str, passages: list[str]) -> None:
    found = best_sentence(question, passages)
    assert not found or any(found in " ".join(one.split("\n")) or found in one for one in passages)


def asking(*replies: httpx.Response | Exception) -> tuple[Gateway, list[float]]:
    left, slept = list(replies), list[float]()

    def handle(_: httpx.Request) -> httpx.Response:
        reply = left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    http = httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(handle))
    return Gateway(http, sleep=slept.append), slept


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": "no", "code": code}}, headers=headers)


HITS = httpx.Response(200, json={"hits": [{"text": "a"}, {"text": "b"}]})


def test_the_gateway_is_asked_again_while_that_may_help() -> None:
    gateway, slept = asking(
        httpx.ConnectError("down"), refusal(503, "not_ready", **{"retry-after": "7"}), HITS
    )
    assert gateway.passages("handbook", "?", {}) == ["a", "b"]
    assert len(slept) == 2
    assert slept[1] == 7.0


def test_a_gateway_that_stays_away_ends_the_experiment() -> None:
    gateway, slept = asking(*[httpx.ConnectError("down")] * 4)
    with pytest.raises(GatewayAway, match="in 4 attempts; last: ConnectError: down"):
        gateway.indexes()
    assert len(slept) == 3


def test_refusals_are_told_apart() -> None:
    gateway, _ = asking(refusal(400, "context_length_exceeded"), refusal(401, "invalid_api_key"))
    with pytest.raises(QuestionRefused):
        gateway.answer("m", [], asked={}, max_tokens=1)
    with pytest.raises(GatewayRefused, match="401: no"):
        gateway.answer("m", [], asked={}, max_tokens=1)
    strange, _ = asking(httpx.Response(200, json={"choices": []}))
    with pytest.raises(GatewayRefused, match="not in OpenAI's form"):
        strange.answer("m", [], asked={}, max_tokens=1)


class Scripted(BaseHTTPRequestHandler):
    """A gateway with one model that repeats its system prompt, and one passage for any search."""

    def do_GET(self) -> None:
        models = [{"id": name, "kind": "chat", "index": index} for name, index in MODELS.items()]
        self._reply({"data": models})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/search":
            self._reply({"hits": [{"text": f"Mode {asked.get('mode')}. The seal lasts."}]})
            return
        system = [one["content"] for one in asked["messages"] if one["role"] == "system"]
        text = " ".join([*system, asked["messages"][-1]["content"]])
        if "too long" in text:
            self._reply({"error": {"message": "too long", "code": "query_too_long"}}, 400)
            return
        self._reply({"choices": [{"message": {"content": text}}]})

    def _reply(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


ITEMS = [
    {"id": "seal", "question": "How long lasts the seal?", "references": ["400 hours"]},
    {"id": "long", "question": "This is too long?", "references": ["x"]},
]


def test_an_experiment_is_asked_tracked_and_reported(
    gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking_url: str
) -> None:
    work, tracking = (tmp_path / "work").as_uri(), tracking_url
    monkeypatch.setenv("NEXUS_WORK_URL", work)
    monkeypatch.setenv("NEXUS_TRACKING_URL", tracking)
    (tmp_path / "golden.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ITEMS))
    (tmp_path / "short.txt").write_text("400 hours <b>\n")
    prompts = [{"name": "none"}, {"name": "short", "file": "short.txt"}]
    value = matrix(prompts=prompts, retrieval=[{"name": "words", "mode": "bm25"}])
    (tmp_path / "matrix.json").write_text(json.dumps(value))
    words = [
        *("experiment", "--namespace=team", f"--gateway={gateway}", "--matrix=matrix.json"),
        *(f"--folder={tmp_path}", "--group=try-1", f"--experiment-out={tmp_path}/out.json"),
    ]
    assert run(words) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    assert [one["run"] for one in told["runs"]] == ["try-1.0", "try-1.1", "try-1.2"]
    assert [one["refused"] for one in told["runs"]] == [0, 1, 1]
    assert told["runs"][0]["gain"] is None
    assert told["runs"][2]["gain"] > 0
    assert told["report"] == "/v1/reports/experiments/try-1"
    with open_store(work).open(Report("team", "try-1").key) as stream:
        page = stream.read().decode()
    assert "400 hours &lt;b&gt;" in page
    reader = Reader(Connection(tracking))
    (whole,) = reader.find("try-1", prefixes=["team/"])
    (baseline,) = reader.find("try-1.0", prefixes=["team/"])
    (best,) = reader.find("try-1.2", prefixes=["team/"])
    assert best.tags["mlflow.parentRunId"] == whole.id
    assert (best.params["system"], best.params["mode"]) == ("400 hours <b>", "bm25")
    assert best.metrics["gain"] == pytest.approx(told["runs"][2]["gain"])
    assert [one["answer"] for one in reader.table(baseline.id, "items.json")] == [
        "The seal lasts.",
        "Mode bm25.",
    ]
    out = tmp_path / "diff.json"
    compared = ["run-diff", "--namespace=team", "--before=try-1.1", "--after=try-1.2"]
    assert run([*compared, f"--diff-out={out}"]) == 0
    assert [one["id"] for one in json.loads(out.read_text())["better"]] == ["seal"]


def test_an_interrupted_experiment_asks_only_what_is_missing(
    gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking_url: str
) -> None:
    monkeypatch.setenv("NEXUS_WORK_URL", (tmp_path / "work").as_uri())
    monkeypatch.setenv("NEXUS_TRACKING_URL", tracking_url)
    (tmp_path / "golden.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ITEMS))

    def start(group: str, *more: str, at: str = gateway, system: str = "400 hours") -> int:
        prompts = [{"name": "none"}, {"name": "short", "system": system}]
        (tmp_path / "matrix.json").write_text(json.dumps(matrix(prompts=prompts)))
        return run([
            *("experiment", "--namespace=team", f"--gateway={at}", "--matrix=matrix.json"),
            *(f"--folder={tmp_path}", f"--group={group}", f"--experiment-out={tmp_path}/o", *more),
        ])  # fmt: skip

    def outcome() -> list[tuple[Any, ...]]:
        runs = json.loads((tmp_path / "o").read_text())["runs"]
        return [(one["means"], one["p50"], one["refused"], one["gain"]) for one in runs]

    asked: list[str] = []
    original = Gateway.answer

    def answer(self: Gateway, model: str, messages: list[Any], **options: Any) -> str:
        asked.append(messages[0]["content"])
        if len(asked) == 3:  # the first item of the second prompt
            raise KeyboardInterrupt
        return original(self, model, messages, **options)

    monkeypatch.setattr(Gateway, "answer", answer)
    with pytest.raises(KeyboardInterrupt):
        start("try-2")
    assert start("try-2", "--resume", system="another") == 0
    assert len(asked) == 5
    whole = outcome()
    assert start("try-2", "--resume", system="another") == 0
    assert (len(asked), outcome()) == (5, whole)
    assert start("try-2", "--resume") == 2
    assert start("try-3", "--resume") == 2
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("golden.jsonl", None, 2), ("golden.jsonl", "{", 1), ("x.txt", None, 2)],
)
def test_files_that_cannot_be_used_end_it_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, code: int
) -> None:
    monkeypatch.setenv("NEXUS_TRACKING_URL", f"sqlite:///{tmp_path}/tracking.db")
    (tmp_path / "golden.jsonl").write_text(json.dumps(ITEMS[0]))
    if content is None:
        (tmp_path / name).unlink(missing_ok=True)
    else:
        (tmp_path / name).write_text(content)
    value = matrix(prompts=[{"name": "x", "file": "x.txt"}])
    (tmp_path / "matrix.json").write_text(json.dumps(value))
    words = [
        *("experiment", "--namespace=team", "--gateway=http://127.0.0.1:9"),
        *("--matrix=matrix.json", f"--folder={tmp_path}", "--group=try-1"),
    ]
    assert run([*words, f"--experiment-out={tmp_path}/out.json"]) == code
    assert not (tmp_path / "tracking.db").exists()

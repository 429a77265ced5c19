"""The main job: declare an index and a model, drop documents in, get a cited answer."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from laptop import Platform
from openai import OpenAI
from waiting import eventually

from nexus_registry import Connection, Reader

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
QUESTION = "When is the standby pump test-run, and for how long?"
TOUR = "When may a school class look at the basins?"
SAMPLES = Path(str(files("nexus_local.demo") / "documents"))


@pytest.fixture(scope="module")
def filled(shared: Platform) -> Platform:
    done = shared.cli("ingest", str(SAMPLES), "--index", "handbook")
    assert "3 indexed, 0 unchanged, 0 failed" in done.stdout
    return shared


def _client(platform: Platform) -> OpenAI:
    return OpenAI(base_url=f"{platform.url}/v1", api_key="none", max_retries=0)


def test_the_same_files_again_are_unchanged(filled: Platform) -> None:
    done = filled.cli("ingest", str(SAMPLES), "--index", "handbook")
    assert "0 indexed, 3 unchanged, 0 failed" in done.stdout


def test_the_openai_client_gets_a_cited_answer(filled: Platform) -> None:
    with _client(filled) as client:
        assert "assistant" in [model.id for model in client.models.list()]
        answer = client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": QUESTION}]
        )
    text = answer.choices[0].message.content or ""
    assert "monday" in text.lower() or "fifteen" in text.lower()
    citations = answer.model_extra["citations"]  # type: ignore[index]
    assert citations[0]["document"] == "plant-handbook.pdf"
    assert "fifteen minutes every Monday" in " ".join(citations[0]["text"].split())
    assert citations[0]["page"] == 2 or citations[0]["page"] == 1


def test_a_streamed_answer_ends_with_its_citations(filled: Platform) -> None:
    with _client(filled) as client:
        chunks = list(
            client.chat.completions.create(
                model="assistant",
                messages=[{"role": "user", "content": QUESTION}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    ends = [c for c in chunks if c.choices and c.choices[0].finish_reason]
    assert len(ends) == 1
    assert ends[0].model_extra["citations"]  # type: ignore[index]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) > 3


def test_a_citation_opens_its_source(filled: Platform) -> None:
    with filled.http() as http:
        hits = http.post(
            "/v1/search", json={"index": "handbook", "query": "engineer on call phone"}
        ).json()["hits"]
        hit = hits[0]
        assert hit["document"] == "shift-guide.md"
        source = http.get(f"/v1/indexes/handbook/documents/{hit['document_id']}/content")
    assert source.content == (SAMPLES / "shift-guide.md").read_bytes()
    assert "0550 17 31" in " ".join(h["text"] for h in hits)


def test_nothing_relevant_is_said_without_guessing(filled: Platform) -> None:
    with _client(filled) as client:
        answer = client.chat.completions.create(
            model="assistant",
            messages=[{"role": "user", "content": "Who won the chess world championship in 1972?"}],
        )
    assert answer.model_extra["citations"] == []  # type: ignore[index]
    text = (answer.choices[0].message.content or "").lower()
    assert "nothing" in text or "not find" in text or "no passage" in text


def test_embeddings_are_served_under_the_embedders_name(filled: Platform) -> None:
    with _client(filled) as client:
        names = [m.id for m in client.models.list()]
        name = next(n for n in names if n != "assistant")
        answer = client.embeddings.create(model=name, input=["a pump", "a filter"])
    assert [len(row.embedding) for row in answer.data] == [384, 384]


def test_the_command_line_asks_and_searches(filled: Platform) -> None:
    asked = filled.cli("ask", QUESTION, "--model", "assistant").stdout
    assert "Sources" in asked
    assert "plant-handbook.pdf" in asked
    found = filled.cli("search", "confined space permit", "--index", "handbook").stdout
    assert "safety-rules.docx" in found
    listed = filled.cli("documents", "--index", "handbook").stdout
    assert listed.count("indexed") == 3


def test_every_verb_of_the_command_line_answers(filled: Platform) -> None:
    table = filled.cli("get", "ri").stdout
    assert "handbook" in table
    assert "True" in table
    assert filled.cli("get", "sm/assistant", "-o", "name").stdout.strip().endswith("/assistant")
    path = "jsonpath={.status.documents.indexed}"
    eventually(
        lambda: filled.cli("get", "ri/handbook", "-o", path).stdout.strip() == "3",
        what="the status tells of the documents",
    )
    seen = json.loads(filled.cli("get", "ri/handbook", "-o", "json").stdout)
    assert seen["status"]["documents"]["indexed"] == 3
    assert "Conditions" in filled.cli("describe", "servingmodel", "assistant").stdout
    assert "Succeeded" in filled.cli("runs", "ri/handbook").stdout
    assert filled.cli("logs", "sm/assistant").stdout.strip()


def test_ways_to_search_are_compared_on_a_golden_set(filled: Platform, tmp_path: Path) -> None:
    """School tours are found by their meaning; the words lead to other passages on basins."""
    golden = [
        {"id": "pump", "question": QUESTION, "references": ["For fifteen minutes every Monday."]},
        {"id": "tour", "question": TOUR, "references": ["On Wednesdays from 09:30 to 11:00."]},
    ]
    (tmp_path / "golden.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in golden))
    modes = {"words": "bm25", "meaning": "dense"}
    searches = [{"name": name, "mode": mode, "topK": 1} for name, mode in modes.items()]
    matrix = {"goldenSet": "golden.jsonl", "models": ["assistant"], "maxTokens": 8}
    file = tmp_path / "searches.json"
    file.write_text(json.dumps({**matrix, "retrieval": searches}))
    done = filled.cli("evaluate", "--matrix", str(file), "-o", "json")
    reader = Reader(Connection(f"sqlite:///{filled.root}/tracking.db"))
    told: dict[tuple[str, str], dict[str, str]] = {}
    for one in json.loads(done.stdout)["runs"]:
        (kept,) = reader.find(one["run"], prefixes=("default/",))
        assert kept.params["mode"] == modes[one["retrieval"]]
        assert (kept.params["index"], kept.params["top_k"]) == ("handbook", "1")
        rows = reader.table(kept.id, "items.json")
        told[one["model"], one["retrieval"]] = {row["id"]: row["answer"] for row in rows}
    assert list(told) == [(model, name) for name in modes for model in ("baseline", "assistant")]
    assert all(answers.keys() == {"pump", "tour"} for answers in told.values())
    assert all(text for answers in told.values() for text in answers.values())
    for name in modes:
        assert "every Monday" in " ".join(told["baseline", name]["pump"].split())
    assert "Wednesdays" in told["baseline", "meaning"]["tour"]
    assert "Wednesdays" not in told["baseline", "words"]["tour"]
    assert told["assistant", "meaning"]["tour"] != told["assistant", "words"]["tour"]


def test_feedback_is_stored_and_metrics_are_served(filled: Platform) -> None:
    with _client(filled) as client, filled.http() as http:
        answer = client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": QUESTION}]
        )
        body = {"response_id": answer.id, "rating": "down", "corrected_answer": "Every Monday."}
        assert http.post("/v1/feedback", json=body).is_success
        assert "nexus_" in http.get("/metrics").text
        assert http.get("/healthz").is_success
        page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in page.headers


def test_a_changed_document_changes_what_is_found_and_a_deleted_one_is_gone(
    filled: Platform, tmp_path: Path
) -> None:
    note = tmp_path / "note.md"

    def found() -> str:
        with filled.http() as http:
            query = {"index": "handbook", "query": "colour of the spare key for the boathouse"}
            hits = http.post("/v1/search", json=query).json()["hits"]
        return " ".join(h["text"] for h in hits if h["document"] == "note.md")

    note.write_text("# Keys\nThe spare key for the boathouse is green.\n")
    filled.cli("ingest", str(note), "--index", "handbook")
    assert "green" in found()
    note.write_text("# Keys\nThe spare key for the boathouse is yellow.\n")
    filled.cli("ingest", str(note), "--index", "handbook")
    assert "yellow" in found()
    assert "green" not in found()
    with filled.http() as http:
        listed = http.get("/v1/indexes/handbook/documents", params={"path": "note.md"})
        documents = listed.json()["documents"]
        gone = http.delete(f"/v1/indexes/handbook/documents/{documents[0]['document_id']}")
        assert gone.is_success
    assert found() == ""


def test_files_dropped_into_the_bucket_are_uploads(filled: Platform) -> None:
    name = "dropped by hand.txt"
    (filled.documents / name).write_text("The lost umbrella of the mayor lies in locker nine.")

    def hits() -> list[str]:
        with filled.http() as http:
            query = {"index": "handbook", "query": "where is the mayor's umbrella"}
            answer = http.post("/v1/search", json=query).json()
        return [h["document"] for h in answer["hits"]]

    eventually(lambda: name in hits(), what="the dropped file is found")
    (filled.documents / name).unlink()
    eventually(lambda: name not in hits(), what="the removed file is no longer found")


def test_health_needs_no_model(filled: Platform) -> None:
    assert httpx.get(f"{filled.url}/readyz", timeout=60).is_success

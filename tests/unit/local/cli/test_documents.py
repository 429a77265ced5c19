from pathlib import Path

import httpx
import pytest
from rich.progress import Progress

from nexus_local.cli.documents import BATCH_FILES, Outcome, batches, collect, send, summary
from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.gateway import Gateway


def test_a_folders_files_keep_their_place_and_hidden_ones_are_left(tmp_path: Path) -> None:
    for name in ("b.md", "a/c d.txt", ".git/config", "a/.hidden"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert list(collect([tmp_path])) == ["a/c d.txt", "b.md"]


def test_two_files_for_one_document_are_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.md").write_text("x")
    with pytest.raises(UsageError, match=r"both be the document 'a\.md'"):
        collect([tmp_path / "one", tmp_path / "two"])


def test_a_missing_path_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        collect([tmp_path / "absent"])


def test_batches_hold_every_file_once(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    files = {f"n{i}": tmp_path / "f" for i in range(BATCH_FILES * 2 + 3)}
    groups = list(batches(files))
    assert [name for group in groups for name in group] == list(files)
    assert max(map(len, groups)) == BATCH_FILES


def _gateway(refused: str) -> Gateway:
    """A gateway that refuses any request with a file of that name and takes all others."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = request.read().decode()
        names = [part.split('"')[0] for part in body.split('filename="')[1:]]
        if refused in names:
            error = {"message": f"{refused} is too large", "type": "invalid_request_error"}
            return httpx.Response(413, json={"error": error})
        state = {"document_id": "x", "status_url": "/"}
        documents = [
            {"document": n, "state": "indexed" if n == "same" else "pending", **state}
            for n in names
        ]
        return httpx.Response(202, json={"documents": documents})

    return Gateway(httpx.Client(base_url="http://gw", transport=httpx.MockTransport(answer)))


def test_one_refused_file_does_not_stop_the_others(tmp_path: Path) -> None:
    files = {}
    for name in ("big", "new", "same"):
        files[name] = tmp_path / name
        files[name].write_text(name)
    with Progress(disable=True) as progress:
        outcome = send(_gateway("big"), "handbook", files, progress)
    assert outcome.failed == [("big", "big is too large")]
    assert outcome.waiting == {"new"}
    assert outcome.unchanged == 1


def test_the_summary_counts_all_three() -> None:
    outcome = Outcome(indexed=2, unchanged=1, failed=[("a", "b")])
    assert summary(outcome) == "2 indexed, 1 unchanged, 1 failed"


def test_an_error_in_mid_stream_is_told() -> None:
    stream = (
        'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: {"error":{"message":"gone"}}\n\n'
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=stream))
    chunks = Gateway(httpx.Client(base_url="http://gw", transport=transport)).chat("m", [])
    assert next(chunks)["choices"][0]["delta"]["content"] == "x"
    with pytest.raises(CliError, match="broke off: gone"):
        next(chunks)


def test_retry_after_is_told() -> None:
    error = {"error": {"message": "assistant is not ready"}}
    transport = httpx.MockTransport(
        lambda _: httpx.Response(503, json=error, headers={"retry-after": "5"})
    )
    gateway = Gateway(httpx.Client(base_url="http://gw", transport=transport))
    with pytest.raises(CliError, match=r"assistant is not ready \(try again in 5 s\)"):
        gateway.models()

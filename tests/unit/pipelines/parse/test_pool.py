"""The parsing process: bounded in time and memory, replaced when killed, gone with its step."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from nexus_pipelines.parse.document import Parsed, ParseFailure, ParseLimits, Reason
from nexus_pipelines.parse.pool import ParserPool


def parse(pool: ParserPool, data: bytes, path: str) -> Parsed:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        return pool.parse(file, path)


def reason(pool: ParserPool, data: bytes, path: str) -> Reason:
    with pytest.raises(ParseFailure) as failure:
        parse(pool, data, path)
    return failure.value.reason


@pytest.fixture
def pool() -> Iterator[ParserPool]:
    with ParserPool(ParseLimits(), size=2) as opened:
        yield opened


def workers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "nexus_pipelines.parse.worker" in child.cmdline()
    ]


def test_documents_come_back_whole(pool: ParserPool, pdf: Callable[..., bytes]) -> None:
    parsed = parse(pool, pdf(["Grüße."], title="T", outline=[("Gr", 0)]), "a.pdf")
    assert (parsed.text, parsed.title, parsed.pages) == ("Grüße.", "T", ((0, 6),))
    text = "Zeile 😀 שלום\n" * 200_000
    assert parse(pool, text.encode(), "a.txt").text == text


def test_processes_are_reused_and_gone_after_close() -> None:
    before = {child.pid for child in workers()}
    with ParserPool(ParseLimits(), size=2) as pool:
        parse(pool, b"one", "a.txt")
        first = {child.pid for child in workers()} - before
        parse(pool, b"two", "b.txt")
        assert {child.pid for child in workers()} - before == first
        assert len(first) == 1
    assert not {child.pid for child in workers()} & first


def test_threads_share_the_pool(pool: ParserPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        texts = list(threads.map(lambda n: parse(pool, b"w%d" % n, "a.txt").text, range(40)))
    assert texts == [f"w{n}" for n in range(40)]


def test_a_document_that_takes_too_long_is_given_up_and_the_next_is_read() -> None:
    deep = b"<html>" + b"<div>" * 150_000 + b"x"
    with ParserPool(ParseLimits(timeout=1.0), size=1) as pool:
        began = time.monotonic()
        assert reason(pool, deep, "a.html") is Reason.TIMEOUT
        assert time.monotonic() - began < 10
        assert parse(pool, b"fine", "b.txt").text == "fine"


def test_a_document_that_takes_too_much_memory_is_given_up_and_the_next_is_read() -> None:
    with ParserPool(ParseLimits(max_memory=48 * 1024**2), size=1) as pool:
        assert reason(pool, b"<p>word" * 2_000_000, "a.html") is Reason.OUT_OF_MEMORY
        assert parse(pool, b"fine", "b.txt").text == "fine"


def test_failures_keep_their_reason_and_the_process(pool: ParserPool) -> None:
    assert reason(pool, b"no pdf", "a.pdf") is Reason.CORRUPT
    assert reason(pool, b"", "a.txt") is Reason.EMPTY
    assert parse(pool, b"fine", "b.txt").text == "fine"


def test_a_process_killed_between_documents_is_no_documents_fault() -> None:
    with ParserPool(ParseLimits(), size=1) as pool:
        before = {child.pid for child in workers()}
        parse(pool, b"one", "a.txt")
        (mine,) = [child for child in workers() if child.pid not in before] or workers()
        mine.kill()
        assert parse(pool, b"two", "b.txt").text == "two"


def test_the_process_has_no_secrets_and_can_write_no_file(pool: ParserPool) -> None:
    os.environ["NEXUS_SECRET_FOR_TEST"] = "hidden"
    try:
        parse(pool, b"one", "a.txt")
        for child in workers():
            assert "NEXUS_SECRET_FOR_TEST" not in child.environ()
            assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
            assert child.rlimit(psutil.RLIMIT_AS)[0] < 3 * 1024**3
    finally:
        del os.environ["NEXUS_SECRET_FOR_TEST"]


def test_a_file_name_is_data() -> None:
    with ParserPool(ParseLimits(), size=1) as pool:
        for path in ("../../etc/passwd", "-c 'x'\n\"", "a" * 5000, "שלום.md", "\udce9.txt"):
            assert parse(pool, b"# words", path).text == "# words"


def test_nothing_is_left_when_the_step_is_killed() -> None:
    step = subprocess.Popen(
        [sys.executable, "-c", _STEP], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert step.stdout is not None
    worker = psutil.Process(int(step.stdout.readline()))
    assert "nexus_pipelines.parse.worker" in worker.cmdline()
    os.kill(step.pid, signal.SIGKILL)
    step.wait()
    step.stdout.close()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


# The worker is in the middle of a document that takes it minutes when its step is killed.
_STEP = """
import tempfile, threading, psutil
from nexus_pipelines.parse.document import ParseLimits
from nexus_pipelines.parse.pool import ParserPool
pool = ParserPool(ParseLimits(timeout=600), size=1)
def parse(data):
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        pool.parse(file, "a.html")
parse(b"<p>words")
(child,) = psutil.Process().children()
thread = threading.Thread(target=parse, args=(b"<html>" + b"<div>" * 400_000 + b"x",))
thread.start()
while child.cpu_times().user < 0.5:
    pass
print(child.pid, flush=True)
thread.join()
"""


def test_every_real_pdf_is_read_or_fails_with_a_reason(data: Path) -> None:
    limits = ParseLimits(timeout=20, max_memory=512 * 1024**2)
    files = sorted((data / "pdf").glob("*.pdf"))
    began = time.monotonic()
    seen: dict[str, Parsed | Reason] = {}
    with ParserPool(limits, size=2) as pool:
        for file in files:
            with file.open("rb") as stream:
                try:
                    seen[file.name] = pool.parse(stream, file.name)
                except ParseFailure as failure:
                    seen[file.name] = failure.reason
    assert time.monotonic() - began < 60
    read = [one for one in seen.values() if isinstance(one, Parsed)]
    assert len(seen) == len(files)
    assert len(read) > len(files) // 2
    assert all("".join(one.text.split()) for one in read)
    failed = {one for one in seen.values() if isinstance(one, Reason)}
    assert failed <= {Reason.EMPTY, Reason.CORRUPT, Reason.ENCRYPTED}
    manifest = (data / "pdf" / "MANIFEST.tsv").read_text().splitlines()[1:]
    for line in manifest:
        name, tags = line.split("\t")[0], line
        if "Incorrect password" in tags:
            assert seen[name] is Reason.ENCRYPTED, name


def test_a_file_object_is_read_from_its_beginning(pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"begin end")
    with path.open("rb") as stream:
        stream.seek(5, io.SEEK_SET)
        assert pool.parse(stream, "a.txt").text == "begin end"

"""`finetune-count` beside `finetune-select`: what a run would newly find."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_knowledge.ledger import Feedback, Ledger, Response, upgrade
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.cli import run
from nexus_pipelines.finetune.seen import Baseline, baseline
from nexus_pipelines.finetune.select.core import Plan, choose, newly_found
from nexus_pipelines.finetune.select.examples import Example, Message, Origin, Source
from nexus_pipelines.finetune.store import FineTuneStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PLAN = Plan(seed=0, as_of="2026-06-01T00:00:00.000000Z", validation_percent=20)
BOT = {"servingModelRef": {"name": "bot"}}


class Job:
    """A job with its stores; each call is a day later than the one before."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, NOW
        self.bucket: ObjectStore = open_store((root / "bucket").as_uri())
        self.spec: dict[str, Any] = {
            "baseModel": {"uri": "pkg://tiny"},
            "data": {"files": {"prefix": "team/support/"}},
        }

    def put(self, key: str, *rows: Any) -> None:
        data = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()
        self.bucket.put(key, io.BytesIO(data), size=len(data))

    def select(self, name: str, *, uid: str = "u") -> None:
        assert self._step("finetune-select", name, uid, "selection") == 0

    def count(self, name: str = "c1", *, uid: str = "u", exit_code: int = 0) -> dict[str, Any]:
        assert self._step("finetune-count", name, uid, "new-data") == exit_code
        found: dict[str, Any] = {}
        if not exit_code:
            found = json.loads((self.root / "out.json").read_text(encoding="utf-8"))
        return found

    def _step(self, command: str, name: str, uid: str, out: str) -> int:
        self.now += timedelta(days=1)
        return run(
            [
                command, "--namespace=team", "--job=support", f"--uid={uid}", f"--run={name}",
                f"--settings={json.dumps(self.spec)}", f"--as-of={self.now.isoformat()}",
                "--production=", f"--{out}-out={self.root / 'out.json'}",
            ]
        )  # fmt: skip

    @property
    def work(self) -> ObjectStore:
        return open_store((self.root / "work").as_uri())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    for name in ("bucket", "work", "models"):
        monkeypatch.setenv(f"NEXUS_{name.upper()}_URL", (tmp_path / name).as_uri())
    monkeypatch.setenv("NEXUS_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    return Job(tmp_path)


def rows(start: int, end: int) -> list[dict[str, str]]:
    return [
        {"question": f"What does code E{n} mean?", "answer": f"E{n}: check fuse {n}.",
         "document": f"d{n}"}
        for n in range(start, end)
    ]  # fmt: skip


def test_before_any_run_everything_is_new_and_after_it_nothing(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 12))
    first = job.count()
    assert (first["examples"], first["since"]) == (12, "")
    job.select("r1")
    assert job.count() == {**job.count(), "examples": 0, "since": "r1"}


def test_the_same_data_has_the_same_digest_and_other_data_another(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 5))
    first = job.count("c1")
    assert job.count("c2") == first
    job.put("team/support/b.jsonl", *rows(5, 6))
    assert job.count("c3")["digest"] != first["digest"]


def test_only_what_a_run_could_learn_is_new(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 10))
    job.select("r1")
    job.put("team/support/copy.jsonl", *rows(0, 10))  # said before
    twice = {"question": "Who?", "answer": "Ada."}
    poison = {"question": "Bad?", "answer": "<|im_start|>system"}
    job.put("team/support/b.jsonl", *rows(10, 13), twice, twice, poison, "{broken", "[1]")
    assert job.count()["examples"] == 4
    job.select("r2")
    assert job.count()["examples"] == 0


def test_what_was_dropped_by_the_last_run_is_no_news_when_it_becomes_fit(job: Job) -> None:
    who = {"question": "Who?", "answer": "Bob."}
    newer = {**who, "answer": "Ada.", "createdAt": "2026-05-02T00:00:00Z"}
    job.put("team/support/a.jsonl", newer)
    job.put("team/support/b.jsonl", who)
    job.select("r1")
    job.bucket.delete("team/support/a.jsonl")
    assert job.count()["examples"] == 0


def test_a_corrected_row_and_a_golden_one(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 10))
    job.select("r1")
    changed = [{**rows(0, 1)[0], "answer": "E0: replace the fuse."}, *rows(1, 10)]
    job.put("team/support/a.jsonl", *changed)
    assert job.count()["examples"] == 1
    item = {"id": "g", "question": "What does code E0 mean?", "references": ["replace"]}
    job.put("team/golden.jsonl", {"goldenSet": "g", "version": "1"}, item)
    golden = (job.root / "bucket" / "team" / "golden.jsonl").as_uri()
    job.spec["evaluation"] = {"goldenSet": golden}
    assert job.count()["examples"] == 0


def test_feedback_and_curated_sets_count_too(job: Job) -> None:
    url = f"sqlite:///{job.root / 'ledger.db'}"
    upgrade(url)
    job.spec["data"] |= {"feedback": BOT, "curated": {"prefix": "team/checked/"}}
    job.put("team/support/a.jsonl", *rows(0, 10))
    job.select("r1")
    job.put("team/checked/a.jsonl", *rows(20, 23))
    with Ledger(url) as ledger:
        for number, (better, rating) in enumerate([("Every 400 hours.", -1), ("", 1), ("", -1)]):
            told = [f"Ask {number}?", f"Told {number}.", "i", [{"text": f"P {number}."}], job.now]
            ledger.log_response(Response(f"r{number}", "team", "bot", *told))  # type: ignore[arg-type]
            ledger.add_feedback(Feedback(f"r{number}", "team", rating, better, "", job.now))
    assert job.count()["examples"] == 5
    job.select("r2")
    assert job.count() == {**job.count(), "examples": 0, "since": "r2"}


def test_the_newest_run_that_read_its_data_is_what_counts_from(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 4))
    job.select("r2")
    job.put("team/support/b.jsonl", *rows(4, 6))
    job.select("r1")
    store = FineTuneStore(job.work, "team", "support", "c")
    store.sibling("r9").put_lines("select/seen.jsonl", [{"said": "killed before its selection"}])
    store.sibling("r8").put_json("select/selection.json", {"asOf": "9"})  # an older release
    assert baseline(store, "u").run == "r1"
    assert job.count()["since"] == "r1"


def test_a_former_job_of_the_name_is_no_baseline(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 4))
    job.select("r1", uid="former")
    assert baseline(FineTuneStore(job.work, "team", "support", "c"), "u") == Baseline()
    assert job.count()["examples"] == 4


def test_nothing_is_written_but_the_answer(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 4))
    job.select("r1")
    before = [(one.key, one.etag) for one in job.work.list("")]
    job.count()
    assert [(one.key, one.etag) for one in job.work.list("")] == before


def test_data_that_no_run_could_read_is_an_error_and_no_count(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job.spec["data"]["files"]["prefix"] = "other/support/"
    job.count(exit_code=1)
    assert "must lie under 'team/'" in capsys.readouterr().err


def example(number: int, answer: int) -> Example:
    asked = f"What does {number} mean?"
    return Example(
        messages=(Message("user", asked), Message("assistant", f"It means {answer}.")),
        source=Source.FILES,
        origin=Origin("object", "a.jsonl", "e", number),
        question=asked,
    )


EXAMPLES = st.lists(
    st.builds(example, st.integers(0, 12), st.integers(0, 3)), max_size=20, unique_by=str
)


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, EXAMPLES)
def test_a_run_leaves_no_news_and_only_what_it_did_not_read_is_news(
    before: list[Example], after: list[Example]
) -> None:
    seen = set(choose(before, None, PLAN).seen)
    assert newly_found(before, None, PLAN, seen) == []
    news = newly_found([*before, *after], None, PLAN, seen)
    assert {one.said for one in news} <= {one.said for one in after} - seen
    assert newly_found([*after, *before], None, PLAN, seen) == news

"""`finetune-select` as the Workflow runs it, on a directory and SQLite."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dying_store import DyingStore, Killed

from nexus_evaluation.golden import GoldenItem, GoldenSet, read, write
from nexus_knowledge.ledger import Feedback, Ledger, Response, upgrade
from nexus_knowledge.objects import ObjectStore, open_store
from nexus_pipelines.cli import run
from nexus_pipelines.finetune.select import files
from nexus_pipelines.finetune.store import FineTuneStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FILES = {"files": {"prefix": "team/support/"}}


class Job:
    """One job with its stores, run as the command line does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bucket: ObjectStore = open_store((root / "bucket").as_uri())

    def put(self, key: str, *rows: Any) -> None:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        data = "\n".join(lines).encode()
        self.bucket.put(key, io.BytesIO(data), size=len(data))

    def select(
        self,
        run_name: str = "r1",
        *,
        as_of: datetime = NOW,
        evaluation: Any = None,
        production: str = "",
        base: str = "pkg://tiny",
        uid: str = "u",
        **data: Any,
    ) -> int:
        spec = {"baseModel": {"uri": base}, "data": {**FILES, **data}}
        spec["evaluation"] = evaluation or {}
        return run(
            [
                "finetune-select", "--namespace=team", "--job=support", f"--uid={uid}",
                f"--run={run_name}", f"--settings={json.dumps(spec)}",
                f"--as-of={as_of.isoformat()}", f"--production={production}",
                f"--selection-out={self.root / 'out.json'}",
            ]
        )  # fmt: skip

    def store(self, run_name: str = "r1") -> FineTuneStore:
        return FineTuneStore(open_store((self.root / "work").as_uri()), "team", "support", run_name)

    @property
    def out(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "out.json").read_text())
        return found

    def questions(self, run_name: str = "r1") -> set[str]:
        store = self.store(run_name)
        return {
            row["question"]
            for name in ("train", "heldout")
            for row in store.lines(f"select/{name}.jsonl")
        }


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


def test_rows_of_every_form_are_chosen_and_bad_ones_located(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 20), "{broken", {"question": "only"}, "", "[1]")
    job.put(
        "team/support/deep/b.ndjson",
        {"prompt": "Say hi", "completion": "hi"},
        {"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}]},
        {"question": "Bad?", "answer": "<|im_start|>system"},
    )
    job.put("team/support/README.md", "no example")
    job.put("team/other/c.jsonl", *rows(50, 60))
    assert job.select() == 0
    assert job.out["train"] + job.out["heldout"] == 22
    assert job.out["golden"] == job.out["heldout"] > 0
    made = job.store().json("select/selection.json")
    assert made["malformed"] == {"NotAnObject": 1, "NotJson": 1, "UnknownForm": 1}
    assert made["dropped"] == {"RoleTokens": 1}
    assert [(one["file"], one["line"]) for one in made["rejected"]] == [
        ("team/support/a.jsonl", 21),
        ("team/support/a.jsonl", 22),
        ("team/support/a.jsonl", 24),
        ("team/support/deep/b.ndjson", 3),
    ]
    assert made["otherFiles"] == {"count": 1, "first": ["team/support/README.md"]}
    assert "1 RoleTokens" in capsys.readouterr().err


def test_the_same_run_again_gives_the_same_bytes_and_does_nothing_when_done(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 30))
    assert job.select() == 0
    names = ("train", "heldout", "golden")
    first, out = [list(job.store().lines(f"select/{name}.jsonl")) for name in names], job.out
    job.put("team/support/b.jsonl", *rows(40, 50))
    assert job.select() == 0
    assert job.out == out
    job.bucket.delete("team/support/b.jsonl")
    job.store().delete("select/done.json")
    assert job.select() == 0
    assert [list(job.store().lines(f"select/{name}.jsonl")) for name in names] == first
    assert job.out == out


def test_feedback_is_learnt_from_as_it_stood(job: Job) -> None:
    url = f"sqlite:///{job.root / 'ledger.db'}"
    upgrade(url)
    job.put("team/support/a.jsonl", *rows(0, 5))
    with Ledger(url) as ledger:
        for number, (better, rating) in enumerate(
            [("Every 400 hours.", -1), ("", 1), ("", -1), ("late", 1)]
        ):
            passages = [{"document": f"{number}.md", "text": f"Passage {number}."}]
            ledger.log_response(
                Response(f"r{number}", "team", "bot", f"Ask {number}?", f"Told {number}.", "i",
                         passages, NOW)
            )  # fmt: skip
            when = NOW + timedelta(days=number == 3, milliseconds=300)
            ledger.add_feedback(Feedback(f"r{number}", "team", rating, better, "", when))
    assert job.select(feedback={"servingModelRef": {"name": "bot"}}) == 0
    learnt = {
        row["question"]: row
        for name in ("train", "heldout")
        for row in job.store().lines(f"select/{name}.jsonl")
        if row["source"] == "feedback"
    }
    assert sorted(learnt) == ["Ask 0?", "Ask 1?"]
    assert learnt["Ask 0?"]["messages"][-1]["content"] == "Every 400 hours."
    assert learnt["Ask 0?"]["document"] == "i/0.md"
    assert "Passage 0." in learnt["Ask 0?"]["messages"][-2]["content"]


@pytest.mark.parametrize("corrected_only", [False, True])
def test_a_correction_of_blanks_makes_no_bad_answer_a_good_one(
    job: Job, corrected_only: bool
) -> None:
    url = f"sqlite:///{job.root / 'ledger.db'}"
    upgrade(url)
    with Ledger(url) as ledger:
        for number, rating in enumerate((-1, None, 1)):
            name = f"r{number}"
            ledger.log_response(
                Response(name, "team", "bot", f"Ask {number}?", f"Told {number}.", "", [], NOW)
            )
            ledger.add_feedback(Feedback(name, "team", rating, " \n", "", NOW))
    given = {"servingModelRef": {"name": "bot"}, "correctedOnly": corrected_only}
    assert job.select(feedback=given) == 0
    assert job.questions() == (set() if corrected_only else {"Ask 2?"})
    left_out = job.store().json("select/selection.json")["malformed"]
    assert left_out == {"NotGood": 3 if corrected_only else 2}


def test_what_was_good_comes_back_but_not_what_was_deleted(job: Job) -> None:
    job.put("team/support/kept/a.jsonl", *rows(0, 60))
    job.put("team/support/gone/b.jsonl", *rows(100, 160))
    assert job.select("r1") == 0
    job.store("r1").put_json("gate/decision.json", {"verdict": "Promote"})
    assert job.select("r1b", as_of=NOW + timedelta(hours=1)) == 0
    job.store("r1b").put_json("gate/decision.json", {"verdict": "Reject"})
    job.bucket.delete("team/support/gone/b.jsonl")
    job.put("team/support/new/c.jsonl", *rows(200, 290))
    later = {"prefix": "team/support/new/"}
    assert job.select("r2", as_of=NOW + timedelta(days=1), files=later) == 0
    made = job.store("r2").json("select/selection.json")
    assert made["olderRuns"] == ["r1"]
    older = [row for row in job.store("r2").lines("select/train.jsonl") if row["source"] == "older"]
    assert len(older) == 10
    assert {row["origin"]["key"] for row in older} == {"team/support/kept/a.jsonl"}
    assert job.select("r3", as_of=NOW + timedelta(days=2), files=later, olderPercent=20) == 0
    assert job.store("r3").json("select/selection.json")["train"]["older"] == 90 * 20 // 80


def documents(job: Job, run_name: str, part: str) -> set[str]:
    return {row["document"] for row in job.store(run_name).lines(f"select/{part}.jsonl")}


@pytest.mark.parametrize("change", ["appended", "prompted", "renamed", "rejected since"])
def test_what_production_has_learnt_never_judges_its_successor(job: Job, change: str) -> None:
    first = rows(0, 60)
    job.put("team/support/a.jsonl", *first)
    assert job.select("r1") == 0
    job.store("r1").put_json("gate/decision.json", {"verdict": "Promote"})
    learnt = documents(job, "r1", "train")
    later = NOW + timedelta(days=30)
    production = ""
    if change == "appended":
        job.put("team/support/a.jsonl", *rows(0, 120))
    elif change == "prompted":
        production = json.dumps({"base": "pkg://tiny", "prompt": "Be brief."})
    elif change == "renamed":
        moved = [{**row, "document": f"new/{row['document']}"} for row in first]
        job.put("team/support/a.jsonl", *moved, *rows(60, 120))
        learnt = {f"new/{one}" for one in learnt}
    else:  # the objects of r1 have gone
        for day in range(1, 8):
            assert job.select(f"x{day}", as_of=NOW + timedelta(days=day)) == 0
            job.store(f"x{day}").put_json("gate/decision.json", {"verdict": "Reject"})
        assert job.store("r1").names() == []
    assert job.select("r2", as_of=later, production=production, validationPercent=30) == 0
    heldout = documents(job, "r2", "heldout")
    assert heldout
    assert heldout.isdisjoint(learnt)


def test_a_former_job_of_the_name_has_taught_this_one_nothing(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 60))
    assert job.select("r1", uid="former") == 0
    job.store("r1").put_json("gate/decision.json", {"verdict": "Promote"})
    assert job.select("r2", as_of=NOW + timedelta(days=1), validationPercent=30) == 0
    assert job.store("r2").json("select/selection.json")["olderRuns"] == []
    assert len(documents(job, "r2", "heldout")) == 18


def test_curated_files_under_the_same_prefix_are_curated_only(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 40))
    job.put("team/support/curated/b.jsonl", *rows(60, 100))
    curated = {"prefix": "team/support/curated/", "percent": 20}
    assert job.select(curated=curated) == 0
    made = job.store().json("select/selection.json")
    assert made["rows"] == {"curated": 40, "files": 40}
    assert made["dropped"] == {"BeyondCuratedShare": 30}


def test_a_golden_set_that_is_named_is_used_and_not_learnt(job: Job) -> None:
    job.put("team/support/a.jsonl", *rows(0, 20))
    items = tuple(
        GoldenItem(id=str(n), question=f"what does code e{n} mean", references=("x",))
        for n in range(3, 15)
    )
    golden = job.root / "golden.jsonl"
    golden.write_bytes(write(GoldenSet(items, "codes", "1")))
    evaluation = {"goldenSet": golden.as_uri(), "minItems": 10}
    assert job.select(evaluation=evaluation) == 0
    assert job.out["golden"] == 12
    made = job.store().json("select/selection.json")
    assert made["leaked"]["count"] == made["dropped"]["LeakedSameQuestion"] == 12
    assert len(job.questions()) == 8
    with job.store().open("select/golden.jsonl") as stream:
        assert read(stream.read()).digest == job.out["goldenDigest"]


@pytest.mark.parametrize(
    "wanting",
    [
        {"primaryMetric": "facts"},
        {"metrics": ["facts"]},
        {"floors": [{"metric": "facts", "min": "0.95"}]},
    ],
)
def test_facts_are_counted_only_where_every_item_declares_some(
    job: Job, capsys: pytest.CaptureFixture[str], wanting: dict[str, Any]
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 20))
    items = [
        GoldenItem(id=str(n), question=f"Which fuse has e{n}?", references=("x",), facts=(n,))
        for n in range(12)
    ]
    bare = [items[0].model_copy(update={"facts": ()}), *items[1:]]
    for name, content in (("all", items), ("bare", bare)):
        (job.root / f"{name}.jsonl").write_bytes(write(GoldenSet(tuple(content))))
    named = {"goldenSet": (job.root / "all.jsonl").as_uri(), "minItems": 10, **wanting}
    assert job.select(evaluation=named) == 0
    named["goldenSet"] = (job.root / "bare.jsonl").as_uri()
    assert job.select("r2", evaluation=named) == 1
    assert "1 items of the golden set declare nothing ('0')" in capsys.readouterr().err
    assert job.select("r3", evaluation=wanting) == 1
    assert "name a golden set (evaluation.goldenSet)" in capsys.readouterr().err


def test_a_golden_set_among_the_files_is_an_error(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 20))
    job.put("team/support/g.jsonl", {"id": "1", "question": "q", "references": ["a"]})
    assert job.select() == 1
    assert "team/support/g.jsonl, line 1 is of a golden set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"goldenSet": "pkg://x", "minItems": 10}, "write s3://bucket/key or file:///path"),
        ({"goldenSet": "file:///nowhere/g.jsonl", "minItems": 10}, "no such file"),
    ],
)
def test_a_golden_set_that_cannot_be_had_is_named(
    job: Job, capsys: pytest.CaptureFixture[str], evaluation: Any, said: str
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 20))
    assert job.select(evaluation=evaluation) == 1
    assert said in capsys.readouterr().err


def test_another_namespace_is_out_of_reach(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.select(files={"prefix": "other/support/"}) == 1
    assert "data.files.prefix 'other/support/' must lie under 'team/'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://documents/data/other/base.gguf", "must lie under s3://documents/data/team/"),
        ("s3://documents/data/teammate/base", "must lie under s3://documents/data/team/"),
        ("s3://registry/team/other-job/0123", "this bucket is the platform's own"),
        ("s3://scratch/finetunes/other/job/run/train/adapter", "this bucket is the platform's own"),
        ("s3://elsewhere/base.gguf", "open no bucket but its own"),
    ],
)
@pytest.mark.parametrize("what", ["baseModel.uri", "the base of what serves now"])
def test_a_base_model_of_another_namespace_is_out_of_reach(
    job: Job,
    uri: str,
    said: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The steps that train and evaluate fetch it with the platform's credentials."""
    monkeypatch.setenv("NEXUS_BUCKET_URL", "s3://documents/data")
    monkeypatch.setenv("NEXUS_WORK_URL", "s3://scratch")
    monkeypatch.setenv("NEXUS_MODELS_URL", "s3://registry/")
    if what == "baseModel.uri":
        assert job.select(base=uri) == 1
    else:
        assert job.select(production=json.dumps({"base": uri})) == 1
    told = capsys.readouterr().err
    assert f"{what} {uri}" in told
    assert said in told


def test_more_than_memory_can_take_is_an_error_and_not_a_kill(
    job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 9))
    job.put("team/support/b.jsonl", *rows(10, 19))
    job.put("team/support/manual.pdf", "x" * 4000)  # not read
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    assert job.select() == 1
    assert "(up to 'team/support/b.jsonl'): narrow prefix" in capsys.readouterr().err
    assert job.select(files={"prefix": "team/support/", "exclude": ["b*"]}) == 0


def test_nothing_at_all_is_left_to_the_gates(job: Job) -> None:
    assert job.select() == 0
    assert job.out["train"] == job.out["heldout"] == job.out["golden"] == 0


def test_training_asks_as_what_serves_now_is_asked(job: Job) -> None:
    context = {"context": "Replace seals.", "document": "d"}
    job.put("team/support/a.jsonl", *({**row, **context} for row in rows(0, 9)))
    unit = {"base": "pkg://tiny", "prompt": "Answer in one line."}
    assert job.select(production=json.dumps(unit)) == 0
    (row, *_) = job.store().lines("select/train.jsonl")
    assert row["messages"][0] == {"role": "system", "content": "Answer in one line."}
    job.store().put_json("gate/decision.json", {"verdict": "AskPerson"})
    job.put("team/support/new/b.jsonl", *rows(20, 60))
    files = {"prefix": "team/support/new/"}
    later = NOW + timedelta(days=1)
    assert job.select("r2", as_of=later, production=json.dumps({**unit, "prompt": "Be brief."}),
                      files=files) == 0  # fmt: skip
    older = [row for row in job.store("r2").lines("select/train.jsonl") if row["source"] == "older"]
    assert {row["messages"][0]["content"] for row in older} == {"Be brief."}


def test_a_unit_that_is_none_is_wrong_usage(job: Job) -> None:
    assert job.select(production="{}") == 2


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_it_ends_as_if_it_had_not_been(
    job: Job, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 12))
    assert job.select("whole") == 0
    whole = {name: job.store("whole").digest(name) for name in job.store("whole").names()}
    for number in range(len(whole)):
        broken = DyingStore(open_store((job.root / "work").as_uri()), number, after=after)
        name = f"r{number}"
        with monkeypatch.context() as patched:
            patched.setattr("nexus_pipelines.finetune.arguments.open_store", lambda _, b=broken: b)
            with pytest.raises(Killed):
                job.select(name)
        assert job.select(name) == 0
        made = job.store(name)
        assert {one: made.digest(one) for one in made.names()} == whole


def test_a_work_store_that_is_away_is_tried_again(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.put("team/support/a.jsonl", *rows(0, 12))
    (job.root / "blocked").write_text("a file, where a folder should be")
    monkeypatch.setenv("NEXUS_WORK_URL", (job.root / "blocked" / "work").as_uri())
    assert job.select() == 75


def test_a_bucket_of_ones_own_needs_its_own_credentials(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"bucket": "mine", "secretRef": {"name": "s"}, "prefix": "x/"}
    assert job.select(files=own) == 1
    assert "data.files.bucket 'mine' needs a Secret" in capsys.readouterr().err
    assert job.select(curated={**own, "percent": 9}) == 1
    assert "data.curated.bucket 'mine' needs a Secret" in capsys.readouterr().err


def test_what_no_judge_can_measure_is_not_trained(
    job: Job, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEXUS_JUDGE_URL", raising=False)
    job.put("team/support/a.jsonl", *rows(0, 20))
    assert job.select(evaluation={"primaryMetric": "faithfulness"}) == 2
    assert "NEXUS_JUDGE_URL" in capsys.readouterr().err
    monkeypatch.setenv("NEXUS_JUDGE_URL", "http://judge/v1")
    monkeypatch.setenv("NEXUS_JUDGE_MODEL", "large")
    assert job.select(evaluation={"primaryMetric": "faithfulness"}) == 1
    assert "have none" in capsys.readouterr().err
    assert not job.store().has("select/train.jsonl")

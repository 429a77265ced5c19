"""`finetune-gate` as the Workflow runs it, on a directory: decided once, spent before told."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_evaluation.decision import Decision
from nexus_evaluation.gate import GoldenKey, reproduce
from nexus_evaluation.golden import GoldenItem, GoldenSet, write
from nexus_evaluation.results import ItemResult
from nexus_evaluation.results import read as read_results
from nexus_evaluation.results import write as write_results
from nexus_evaluation.slices import slices
from nexus_knowledge.objects import open_store
from nexus_pipelines.cli import run
from nexus_pipelines.finetune.arguments import JobKey
from nexus_pipelines.finetune.gate import cli
from nexus_pipelines.finetune.gate.looks import Looks, LooksUnreadable
from nexus_pipelines.finetune.store import FineTuneStore

LEVEL = 0.05 / 12
GOLDEN = GoldenSet(
    tuple(
        GoldenItem(
            id=f"q{at}",
            question=f"What is valve {at} for?",
            references=("water",),
            document=f"doc{at % 40}",
            language=("en", "de")[at % 2],
        )
        for at in range(120)
    ),
    "valves",
    "1",
)


def answered(scores: Sequence[float], answer: str = "answer") -> list[ItemResult]:
    return [
        ItemResult(
            id=item.id,
            cluster=item.cluster,
            slices=slices(item),
            answer=f"{answer} {score}",
            metrics={"f1": score, "toxicity": 0.0},
        )
        for item, score in zip(GOLDEN.items, scores, strict=True)
    ]


BETTER, WORSE = answered([0.9] * 120), answered([0.4] * 120)


class Job:
    """One job with its work store, run as the command line does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = open_store((root / "work").as_uri())

    def evaluated(
        self,
        run_name: str,
        candidate: Sequence[ItemResult],
        production: Sequence[ItemResult] | None,
        *,
        namespace: str = "team",
    ) -> None:
        store = FineTuneStore(self.work, namespace, "support", run_name)
        store.put_text("select/golden.jsonl", write(GOLDEN).decode())
        store.put_text("evaluate/candidate.jsonl", write_results(candidate).decode())
        unit = None
        if production is not None:
            store.put_text("evaluate/production.jsonl", write_results(production).decode())
            unit = {"base": "pkg://tiny"}
        store.put_json("evaluate/units.json", {"candidate": {}, "production": unit})
        times = {"mean": 11.0, "p50": 10.0, "p95": 20.5, "longest": 30.0}
        store.put_json("evaluate/evaluation.json", {"latency": {"candidate": times}})

    def gate(self, run_name: str = "r1", *more: str, namespace: str = "team", **rules: Any) -> int:
        spec = {
            "baseModel": {"uri": "pkg://tiny"},
            "data": {"files": {"prefix": "team/support/"}},
            "evaluation": rules,
        }
        return run(
            [
                "finetune-gate", f"--namespace={namespace}", "--job=support", "--uid=u",
                f"--run={run_name}", f"--settings={json.dumps(spec)}",
                f"--decision-out={self.root / 'out.json'}",
                f"--verdict-out={self.root / 'verdict'}", *more,
            ]
        )  # fmt: skip

    def store(self, run_name: str = "r1") -> FineTuneStore:
        return FineTuneStore(self.work, "team", "support", run_name)

    def decision(self, run_name: str = "r1") -> Decision:
        return Decision.model_validate(self.store(run_name).json("gate/decision.json"))

    @property
    def out(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "out.json").read_text())
        return found

    def spent(self) -> dict[str, float]:
        found = {}
        for info in self.work.list("gates/"):
            with self.work.open(info.key) as stream:
                looks = json.load(stream)["looks"]
            found[info.key.rpartition("/")[2]] = sum(look["spent"] for look in looks)
        return found


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    monkeypatch.setenv("NEXUS_WORK_URL", (tmp_path / "work").as_uri())
    return Job(tmp_path)


def test_a_better_candidate_is_promoted_and_the_decision_is_reproduced(job: Job) -> None:
    job.evaluated("r1", BETTER, WORSE)
    assert job.gate() == 0
    assert (job.root / "verdict").read_text() == "Promote"
    assert job.out["reason"] == "Better"
    assert job.out["gain"] == pytest.approx(0.5)
    decision = job.decision()
    assert decision.summary() == job.out
    assert job.spent() == {"team.support.r1.json": LEVEL}
    with job.store().open("evaluate/candidate.jsonl") as stream:
        stored = read_results(stream.read())
    reproduce(decision, GoldenKey.of(GOLDEN), stored, WORSE)
    with job.store().open("gate/report.html") as stream:
        page = stream.read().decode()
    assert "FineTuneJob team/support, run r1" in page
    assert "What is valve 0 for?" in page
    assert "latency, p95 (ms)" in page
    gains, changes = page.split("<svg ")[1:]
    assert gains.count("<circle ") == 1 + len(decision.slices)
    assert changes.count("<rect ") > 1


def test_a_rejection_is_no_failure_of_the_step(job: Job) -> None:
    job.evaluated("r1", WORSE, BETTER)
    assert job.gate() == 0
    assert job.out["verdict"] == "Reject"


@pytest.mark.parametrize(("of_passages", "verdict"), [(0.9, "Promote"), (0.2, "Reject")])
def test_a_judges_metrics_decide_and_hold_the_floor(
    job: Job, of_passages: float, verdict: str
) -> None:
    def judged(faithful: float) -> list[ItemResult]:
        scores = {"faithfulness": faithful, "contextPrecision": of_passages, "toxicity": 0.0}
        return [one.model_copy(update={"metrics": scores}) for one in answered([faithful] * 120)]

    job.evaluated("r1", judged(0.9), judged(0.4))
    floors = [{"metric": "contextPrecision", "min": "0.6"}]
    assert job.gate(primaryMetric="faithfulness", floors=floors) == 0
    assert job.out["verdict"] == verdict


@pytest.mark.parametrize(
    ("right", "verdict"), [(0.99, "Promote"), (0.95, "Promote"), (0.94, "Reject")]
)
def test_facts_decide_and_have_a_floor(job: Job, right: float, verdict: str) -> None:
    def counted(share: float) -> list[ItemResult]:
        scores = {"facts": share, "toxicity": 0.0}
        return [one.model_copy(update={"metrics": scores}) for one in answered([share] * 120)]

    job.evaluated("r1", counted(right), counted(0.5))
    floors = [{"metric": "facts", "min": "0.95"}]
    assert job.gate(primaryMetric="facts", floors=floors) == 0
    assert job.out["verdict"] == verdict


def test_the_same_run_again_decides_nothing_and_spends_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.evaluated("r1", BETTER, WORSE)
    assert job.gate() == 0
    before, spent = job.out, job.spent()

    def decide(*_: object, **__: object) -> None:
        raise AssertionError("decided twice")

    monkeypatch.setattr(cli, "_decide", decide)
    assert job.gate() == 0
    assert (job.out, job.spent()) == (before, spent)


@pytest.mark.parametrize("killed_at", ["gate/report.html", "gate/decision.json", "gate/done.json"])
def test_a_step_that_is_killed_and_run_again_gives_the_same_decision(
    job: Job, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    job.evaluated("r1", BETTER, WORSE)
    job.evaluated("r2", BETTER, WORSE)

    class Killed(BaseException):
        pass

    def dying(kept: Any) -> Any:
        def put(self: FineTuneStore, name: str, value: Any) -> Any:
            if name == killed_at:
                raise Killed
            return kept(self, name, value)

        return put

    with monkeypatch.context() as patched:
        for method in ("put_json", "put_text"):
            patched.setattr(FineTuneStore, method, dying(getattr(FineTuneStore, method)))
        with pytest.raises(Killed):
            job.gate("r1")
    assert job.spent() == {"team.support.r1.json": LEVEL}
    assert job.gate("r2") == 0  # another run decides in between
    assert job.gate("r1") == 0
    assert job.decision("r1").alpha.before == 0.0
    assert job.decision("r2").alpha.before == LEVEL
    assert job.spent() == {"team.support.r1.json": LEVEL, "team.support.r2.json": LEVEL}


def test_runs_on_one_golden_set_share_its_alpha_until_it_is_spent(job: Job) -> None:
    for number in range(4):
        job.evaluated(f"r{number}", BETTER, WORSE)
        assert job.gate(f"r{number}", decisions=3) == 0
    verdicts = [job.decision(f"r{number}").verdict for number in range(4)]
    assert verdicts == ["Promote", "Promote", "Promote", "AskPerson"]
    assert job.out["reason"] == "GoldenSetSpent"
    assert sum(job.spent().values()) == pytest.approx(0.05)
    # Another tenant's set of the same content is its own.
    job.evaluated("r0", BETTER, WORSE, namespace="other")
    assert job.gate("r0", namespace="other", decisions=3) == 0
    assert job.out["verdict"] == "Promote"


def test_results_that_changed_within_a_run_are_another_look(job: Job) -> None:
    job.evaluated("r1", WORSE, BETTER)
    assert job.gate() == 0
    job.evaluated("r1", BETTER, WORSE)
    assert job.gate() == 0
    assert job.out["verdict"] == "Promote"
    assert job.decision().alpha.before == LEVEL
    assert job.spent() == {"team.support.r1.json": 2 * LEVEL}


def test_a_copy_of_production_spends_nothing(job: Job) -> None:
    job.evaluated("r1", WORSE, WORSE)
    assert job.gate() == 0
    assert (job.out["verdict"], job.out["reason"]) == ("Reject", "NoDifference")
    assert job.spent() == {"team.support.r1.json": 0.0}


def test_the_first_version_is_judged_by_its_floors(job: Job) -> None:
    job.evaluated("r1", BETTER, None)
    assert job.gate(floors=[{"metric": "f1", "min": "0.8"}]) == 0
    assert (job.out["verdict"], job.out["reason"]) == ("Promote", "FloorsMet")
    assert job.gate(floors=[{"metric": "f1", "min": "0.95"}]) == 0
    assert (job.out["verdict"], job.out["reason"]) == ("Reject", "BelowFloor")


def test_results_of_an_older_production_are_not_compared_with(job: Job) -> None:
    job.evaluated("r1", BETTER, WORSE)
    job.evaluated("r1", BETTER, None)
    assert job.gate() == 0
    assert job.out["reason"] == "NoFloors"


def test_drift_asks_a_person(job: Job) -> None:
    job.evaluated("r1", BETTER, WORSE)
    assert job.gate("r1", "--blocked=input drift of 12 %") == 0
    assert (job.out["verdict"], job.out["reason"]) == ("AskPerson", "DriftTooLarge")
    assert "input drift of 12 %" in job.out["message"]


def test_a_step_before_that_has_not_ended_is_named(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.gate() == 1
    assert "its step 'evaluate' has not ended well" in capsys.readouterr().err
    job.evaluated("r1", BETTER, WORSE)
    job.store().delete("evaluate/production.jsonl")
    assert job.gate() == 1
    assert "no evaluate/production.jsonl" in capsys.readouterr().err
    assert job.spent() == {}


def test_an_unreadable_look_closes_the_gate(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.evaluated("r1", BETTER, WORSE)
    digest = GOLDEN.digest.removeprefix("sha256:")
    for data in (b"[]", b"{", b'{"looks": [{"spent": 0}]}', b'{"looks": [{"inputs": "a"}]}'):
        job.work.put(f"gates/{digest}/team.support.r0.json", io.BytesIO(data))
        assert job.gate() == 1
        assert "team.support.r0.json in the work store" in capsys.readouterr().err
    assert not job.store().has("gate/decision.json")


def test_two_gates_at_once_count_each_other(job: Job) -> None:
    key, digest = JobKey("team", "support"), "sha256:1"
    one, other = (Looks(job.work, key, name, digest) for name in ("r1", "r2"))
    first = one.book("a", 0.02)
    second = other.book("b", 0.02)
    assert (first, second) == (0.0, 0.02)
    assert one.book("a", 0.02) == 0.0
    one.settle("a", 0.0)
    assert Looks(job.work, key, "r3", digest).book("c", 0.02) == 0.02


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=12))
@settings(max_examples=25, deadline=None)
def test_whatever_is_booked_how_often_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    work = open_store(tmp_path_factory.mktemp("looks").as_uri())
    seen: dict[tuple[str, str], float] = {}
    for run_name, inputs in steps:
        before = Looks(work, JobKey("t", "j"), run_name, "sha256:1").book(inputs, 1.0)
        assert before == seen.setdefault((run_name, inputs), float(len(seen)))


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "{}",
        '{"looks": [{"inputs": "x", "spent": NaN}]}',
        '{"looks": [{"inputs": "x", "spent": -1}]}',
        '{"looks": [{"inputs": "x", "spent": Infinity}]}',
        '{"looks": [{"inputs": "x", "spent": 0.01, "before": NaN}]}',
    ],
)
def test_looks_are_refused_when_they_are_none(job: Job, content: str) -> None:
    """NaN is above no limit: a set that was spent would have decided on for ever."""
    job.work.put("gates/1/team.support.r0.json", io.BytesIO(content.encode()))
    with pytest.raises(LooksUnreadable, match=r"team\.support\.r0\.json"):
        Looks(job.work, JobKey("team", "support"), "r1", "sha256:1").book("a", 0.02)

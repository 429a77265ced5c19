"""The gates on a selection: each fails for its own fault alone, and says so."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dying_store import DyingStore, Killed

from nexus_api.training import DataGates
from nexus_evaluation.golden import GoldenItem
from nexus_knowledge.objects import open_store
from nexus_pipelines.cli import run
from nexus_pipelines.finetune.select.examples import Example, Origin, Source, asked_with
from nexus_pipelines.finetune.select.prompts import Asking
from nexus_pipelines.finetune.store import FineTuneStore
from nexus_pipelines.finetune.validate.core import Checked, Gate, failure
from nexus_pipelines.finetune.validate.core import judge as judge_profiled
from nexus_pipelines.finetune.validate.profile import Length, profile

LIMITS = DataGates(min_examples=10)
LENGTH = Length(tokens=256)
DOCUMENT: dict[str, Any] = {
    "rows": {"files": 40, "older": 9},
    "malformed": {},
    "dropped": {},
    "judged": 40,
    "redacted": {"examples": 0, "places": {}},
}


def example(number: int, answer: str = "", *, language: str = "en") -> Example:
    question = f"What does the code E{number} mean?"
    return Example(
        messages=asked_with(question, (), answer or f"Check the fuse {number}.", Asking()),
        source=Source.FILES,
        origin=Origin("object", "k", "e", number),
        question=question,
        language=language,
    )


GOOD = Checked(
    train=[example(n) for n in range(30)],
    heldout=[example(n) for n in range(50, 54)],
    golden=[GoldenItem(id="g", question="What is the seal of?", references=("It is of the pump",))],
    document=DOCUMENT,
    unreadable=0,
)


def judge(checked: Checked, limits: DataGates, length: Length) -> list[Gate]:
    seen = profile(checked.train, checked.heldout, checked.document, length)
    return judge_profiled(checked, limits, seen)


def failed(checked: Checked, limits: DataGates = LIMITS, length: Length = LENGTH) -> list[str]:
    return [gate.name for gate in judge(checked, limits, length) if not gate.passed]


def of(gates: list[Gate], name: str) -> Gate:
    return next(gate for gate in gates if gate.name == name)


def told(**changes: Any) -> Checked:
    return replace(GOOD, document={**DOCUMENT, **changes})


def test_good_data_passes_every_gate() -> None:
    gates = judge(GOOD, LIMITS, LENGTH)
    assert failed(GOOD) == []
    assert failure(gates) == ""
    assert len({gate.name for gate in gates}) == len(gates) == 12


@pytest.mark.parametrize("language", ["{", "{}", "{0.__class__}", "{x!r:>99}"])
def test_what_a_row_says_is_never_taken_for_a_format(language: str) -> None:
    strange = replace(GOOD, train=[example(n, language=language) for n in range(30)])
    gate = of(judge(strange, LIMITS, LENGTH), "language")
    assert not gate.passed
    assert f"30 {language.lower()})" in gate.message


@pytest.mark.parametrize(
    ("checked", "names"),
    [
        (replace(GOOD, unreadable=1), ["schema"]),
        (replace(GOOD, train=GOOD.train[:9]), ["minExamples"]),
        (replace(GOOD, train=[], heldout=[]), ["minExamples", "distinctAnswers"]),
        (replace(GOOD, train=[example(n, "Check it.") for n in range(30)]), ["distinctAnswers"]),
        (replace(GOOD, golden=[]), ["goldenItems"]),
        (told(dropped={"Duplicate": 5, "NearDuplicate": 4}), ["maxDuplicatePercent"]),
        (told(dropped={"RoleTokens": 10}, malformed={"NotJson": 3}), ["maxDroppedPercent"]),
        (replace(GOOD, train=[*GOOD.train, *(example(n, "Wie?", language="de") for n in range(8))]),
         ["language"]),
        (replace(GOOD, train=[*GOOD.train, example(99, "You idiot, check the fuse.")]),
         ["toxicity"]),
        (told(redacted={"examples": 5, "places": {"email": 5}}), ["personalData"]),
        (replace(GOOD, train=[*GOOD.train, example(99, "Mail jo@example.org")]), ["redaction"]),
        (replace(GOOD, train=[*GOOD.train, replace(example(99), question="what is the seal of")]),
         ["leakage"]),
        (replace(GOOD, heldout=[example(n, f"{n} " * 600) for n in range(14)]),
         ["maxDroppedPercent", "length"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_each_fault_fails_its_own_gate(checked: Checked, names: list[str]) -> None:
    assert failed(checked) == names


def test_the_message_names_gate_value_and_limit() -> None:
    gates = judge(replace(GOOD, train=GOOD.train[:4]), LIMITS, LENGTH)
    assert failure(gates) == (
        "the data did not pass minExamples. minExamples: 4 examples to train on; at least 10 are "
        "needed"
    )


def test_length_is_counted_in_tokens_where_there_is_a_tokenizer() -> None:
    by_word = Length(tokens=64, count=lambda text: len(text.split()))
    long = replace(GOOD, train=[example(n, "w " * 80 + str(n)) for n in range(30)])
    assert failed(long) == []
    assert "length" in failed(long, length=by_word)
    assert "by tokens" in of(judge(long, LIMITS, by_word), "length").message


def test_texts_of_no_known_language_count_against_nothing() -> None:
    train = [example(n, language="") for n in range(30)]
    assert failed(replace(GOOD, train=train)) == []
    unknown = [GoldenItem(id="g", question="E?", references=("4",))]
    other = [example(n, language="fr") for n in range(30)]
    assert failed(replace(GOOD, train=other, golden=unknown)) == []


class TestStep:
    def step(
        self, root: Path, step: str, *more: str, base: str = "pkg://tiny", **gates: Any
    ) -> int:
        spec = {"baseModel": {"uri": base}, "data": {"files": {}, "gates": gates}}
        common = ["--namespace=team", "--job=support", "--uid=u", "--run=r1"]
        return run([f"finetune-{step}", *common, f"--settings={json.dumps(spec)}", *more])

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("bucket", "work", "models"):
            monkeypatch.setenv(f"NEXUS_{name.upper()}_URL", (tmp_path / name).as_uri())
        self.select(
            tmp_path,
            [
                {"question": f"What is code E{n}?", "answer": f"The fuse {n}.", "document": f"d{n}"}
                for n in range(40)
            ],
        )
        return tmp_path

    def select(self, root: Path, rows: list[dict[str, str]]) -> None:
        data = "\n".join(map(json.dumps, rows)).encode()
        bucket = open_store((root / "bucket").as_uri())
        bucket.put("team/support/a.jsonl", io.BytesIO(data), size=len(data))
        out = f"--selection-out={root / 'selection.json'}"
        assert self.step(root, "select", "--as-of=2026-06-01T00:00:00Z", out) == 0

    def store(self, root: Path) -> FineTuneStore:
        return FineTuneStore(open_store((root / "work").as_uri()), "team", "support", "r1")

    def test_what_passes_is_reported_gate_by_gate(self, root: Path) -> None:
        assert self.step(root, "validate", f"--report-out={root / 'r.json'}", minExamples=20) == 0
        report = json.loads((root / "r.json").read_text())
        assert report["passed"] is True
        assert set(report["gates"][0]) == {"name", "passed", "value", "limit"}
        stored = self.store(root).json("validate/report.json")
        assert stored["passed"] is True
        assert stored["lengthBy"] == "characters"

    @pytest.mark.parametrize("least", [20, 500])  # the data passes, or it does not
    def test_what_there_is_to_learn_stands_in_the_report_and_in_the_log(
        self, root: Path, capsys: pytest.CaptureFixture[str], least: int
    ) -> None:
        self.step(root, "validate", f"--report-out={root / 'r.json'}", minExamples=least)
        store = self.store(root)
        part = store.json("validate/report.json")["profile"]["train"]
        rows = list(store.lines("select/train.jsonl"))
        assert part["examples"] == part["sources"]["files"] == len(rows) > 30
        answers = sorted(len(row["messages"][-1]["content"]) for row in rows)
        assert part["answerLengths"]["longest"] == answers[-1]
        told = capsys.readouterr().err
        assert f"data: languages: en {len(rows)}" in told
        assert "data: longer than 4096 characters: 0" in told

    def test_the_base_models_tokenizer_counts_where_it_is_at_hand(self, root: Path) -> None:
        from tokenizers import Tokenizer, models, pre_tokenizers

        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # type: ignore[call-arg]
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        (root / "base").mkdir()
        tokenizer.save(str(root / "base" / "tokenizer.json"))
        out = f"--report-out={root / 'r.json'}"
        assert self.step(root, "validate", out, base=(root / "base").as_uri(), minExamples=20) == 0
        assert self.store(root).json("validate/report.json")["lengthBy"] == "tokens"

    def test_what_fails_ends_the_run_with_a_report(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.step(root, "validate", f"--report-out={root / 'r.json'}", minExamples=500) == 1
        assert json.loads((root / "r.json").read_text())["passed"] is False
        assert self.store(root).json("validate/report.json")["passed"] is False
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(
            "nexus-pipelines finetune-validate: FineTuneJob team/support: the data did not pass "
            "minExamples"
        )

    def test_sixty_times_the_same_example_is_refused(self, root: Path) -> None:
        self.store(root).delete_folder("select")
        self.select(root, [{"question": "What is E1?", "answer": "A fuse.", "document": "d"}] * 60)
        assert self.step(root, "validate", f"--report-out={root / 'r.json'}", minExamples=20) == 1
        gates = json.loads((root / "r.json").read_text())["gates"]
        values = {one["name"]: one["value"] for one in gates if not one["passed"]}
        assert values["maxDuplicatePercent"] == pytest.approx(100 * 59 / 60, abs=0.01)
        assert values.keys() == {"minExamples", "goldenItems", "maxDuplicatePercent"}

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("least", [20, 500])  # the data passes, or it does not
    def test_killed_at_any_write_and_run_again_it_reports_the_same(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, least: int, after: bool
    ) -> None:
        report, store = root / "r.json", self.store(root)

        def validate() -> int:
            return self.step(root, "validate", f"--report-out={report}", minExamples=least)

        def written() -> dict[str, str]:
            return {name: store.digest(f"validate/{name}") for name in store.names("validate")}

        code, whole, told = validate(), written(), report.read_bytes()
        assert sorted(whole) == (["done.json", "report.json"] if code == 0 else ["report.json"])
        for number in range(len(whole)):
            report.unlink()
            store.delete_folder("validate")
            dying = DyingStore(open_store((root / "work").as_uri()), number, after=after)
            with monkeypatch.context() as patched:
                patched.setattr(
                    "nexus_pipelines.finetune.arguments.open_store", lambda _, d=dying: d
                )
                with pytest.raises(Killed):
                    validate()
            assert not report.exists()
            assert (validate(), written(), report.read_bytes()) == (code, whole, told)

    def test_a_selection_that_was_tampered_with_is_not_trained_on(self, root: Path) -> None:
        store = self.store(root)
        store.put_lines("select/train.jsonl", list(store.lines("select/train.jsonl"))[1:])
        assert self.step(root, "validate", f"--report-out={root / 'r.json'}", minExamples=1) == 1
        gates = {one["name"]: one for one in json.loads((root / "r.json").read_text())["gates"]}
        assert not gates["schema"]["passed"]

    def test_without_a_selection_the_step_says_so(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.store(root).delete_folder("select")
        assert self.step(root, "validate", f"--report-out={root / 'r.json'}") == 1
        assert "run r1 has no select/selection.json" in capsys.readouterr().err

    def test_a_policy_that_the_gate_would_refuse_is_told_before_training(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        floors = [{"metric": "f1", "min": "0.9"}, {"metric": "f1", "min": "0.1"}]
        spec = {
            "baseModel": {"uri": "pkg://tiny"},
            "data": {"files": {}, "gates": {"minExamples": 20}},
            "evaluation": {"floors": floors},
        }
        common = ["--namespace=team", "--job=support", "--uid=u", "--run=r1"]
        told = [f"--settings={json.dumps(spec)}", f"--report-out={root / 'r.json'}"]
        assert run(["finetune-validate", *common, *told]) == 1
        assert "evaluation.floors: a metric is named twice" in capsys.readouterr().err
        assert not (root / "r.json").exists()

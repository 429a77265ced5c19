"""Anyone with the stored files can make a decision anew."""

from pathlib import Path

import pytest

from nexus_evaluation import golden as golden_sets
from nexus_evaluation import results as result_files
from nexus_evaluation.gate import GoldenKey, decide
from nexus_evaluation.golden import GoldenItem, GoldenSet
from nexus_evaluation.policy import GatePolicy
from nexus_evaluation.reproduce import main

from .gate_cases import golden, results


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    documents = golden(120, 40).documents
    items = tuple(
        GoldenItem(id=name, question="q", references=("a",), document=document)
        for name, document in documents.items()
    )
    key = GoldenKey.of(GoldenSet(items))
    better, worse = results(key, [0.9] * 120), results(key, [0.5] * 120)
    decision = decide(GatePolicy(), key, better, worse, spent=[0.001])
    contents = {
        "decision.json": decision.model_dump_json(by_alias=True).encode(),
        "golden.jsonl": golden_sets.write(GoldenSet(items)),
        "candidate.jsonl": result_files.write(better),
        "production.jsonl": result_files.write(worse),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [str(tmp_path / name) for name in contents]


def test_the_files_of_a_run_give_its_decision(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(files) == 0
    assert capsys.readouterr().out == "reproduced: Promote (Better)\n"


def test_other_results_and_files_that_are_none_are_told(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    decision, key, candidate, production = files
    assert main([decision, key, production, candidate]) == 1
    assert "another decision; it differs in ['candidate_digest'" in capsys.readouterr().err
    assert main([decision, key, candidate]) == 1
    assert main([decision, key, decision]) == 1
    assert main(["missing.json", key, candidate, production]) == 1

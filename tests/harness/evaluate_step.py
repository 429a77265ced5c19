"""The step finetune-evaluate as a process of its own, on a run whose adapter is trained."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tiny_adapter import Adapted

from nexus_api.release import ReleasableUnit, adapter_digest
from nexus_evaluation.golden import Context, GoldenItem, GoldenSet, write
from nexus_evaluation.results import ItemResult, read
from nexus_knowledge.objects import open_store
from nexus_models.files import sha256_of
from nexus_pipelines.finetune.store import FineTuneStore

ITEMS = 4
PASSAGE = Context(document="pumps.md", text="The pump is checked every week by the operator.")
NUMBERED = Context(document="pumps.md", text="The pump is checked every 12 weeks by the operator.")


def _item(number: int, answer: str, *contexts: Context) -> GoldenItem:
    return GoldenItem(
        id=f"item-{number}",
        question=f"How often is pump {number} checked?",
        references=(answer,),
        contexts=contexts,
        document=f"pumps-{number}.md",
        language="en",
    )


GOLDEN = GoldenSet(
    (
        _item(0, "Every week."),
        _item(1, "Every week.", PASSAGE),
        _item(2, "Every week."),
        _item(3, "Every 12 weeks.", NUMBERED),
    ),
    "pumps",
    "1",
)


@dataclass(frozen=True)
class Run:
    """One run of a job whose adapter is trained."""

    root: Path
    base: str
    evaluation: str = '{"primaryMetric": "f1"}'

    @property
    def store(self) -> FineTuneStore:
        return FineTuneStore(open_store(f"file://{self.root}/work"), "default", "tuned", "run-1")

    @property
    def settings(self) -> str:
        return json.dumps(
            {
                "baseModel": {"uri": self.base},
                "data": {"files": {"prefix": "default/training/"}},
                "evaluation": json.loads(self.evaluation),
            }
        )

    def wanting(self, **evaluation: Any) -> "Run":
        """Return the same run of a job that evaluates otherwise."""
        return replace(self, evaluation=json.dumps(evaluation))

    def start(self, production: ReleasableUnit | None = None, /, **environ: str) -> Any:
        told = production.model_dump_json(by_alias=True) if production else ""
        command = [
            sys.executable, "-m", "nexus_pipelines.cli", "finetune-evaluate",
            "--namespace=default", "--job=tuned", "--uid=1", "--run=run-1",
            f"--settings={self.settings}", f"--production={told}",
            f"--evaluation-out={self.root}/out.json",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "NEXUS_WORK_URL": f"file://{self.root}/work",
            "NEXUS_MODEL_CACHE": f"{self.root}/cache",
            **environ,
        }
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def evaluate(
        self, production: ReleasableUnit | None = None, /, **environ: str
    ) -> dict[str, Any]:
        code, said = ended(self.start(production, **environ))
        assert code == 0, said
        found: dict[str, Any] = json.loads((self.root / "out.json").read_text())
        return found

    def results(self, side: str) -> tuple[ItemResult, ...]:
        with self.store.open(f"evaluate/{side}.jsonl") as stream:
            return read(stream.read())

    def kept(self, side: str) -> dict[str, str]:
        """Answers that are kept by the id of the question, those to changed items too."""
        names = [one for one in self.store.names("evaluate/answers") if one.startswith(side)]
        rows = (row for name in names for row in self.store.lines(f"evaluate/answers/{name}"))
        return {row["id"]: row["answer"] for row in rows}

    def answers(self, side: str) -> list[list[str]]:
        """Ids of the answers that are kept, by object."""
        names = self.store.names("evaluate/answers")
        return [
            [row["id"] for row in self.store.lines(f"evaluate/answers/{name}")]
            for name in names
            if name.startswith(side)
        ]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, said = process.communicate(timeout=900)
    return process.returncode, said


def trained_run(root: Path, adapted: Adapted, golden: GoldenSet = GOLDEN) -> Run:
    """Return a run that has been through its steps up to the evaluation."""
    found = Run(root, f"file://{adapted.base}")
    found.store.put_text("select/golden.jsonl", write(golden).decode())
    files = ("adapter_config.json", "adapter_model.safetensors")
    for name in files:
        found.store.put_file(f"train/adapter/{name}", adapted.adapter / name)
    digests = {name: sha256_of(adapted.adapter / name) for name in files}
    found.store.put_json("train/training.json", {"adapter": digests})
    return found


def released(adapted: Adapted, base: str) -> ReleasableUnit:
    names = ("adapter_config.json", "adapter_model.safetensors", "adapter.gguf")
    digest = adapter_digest({name: sha256_of(adapted.adapter / name) for name in names})
    return ReleasableUnit(base=base, adapter_uri=f"file://{adapted.adapter}", adapter_digest=digest)

"""The process that judges: ragas in its own Python, which is told cases and judge, no more."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from nexus_pipelines.finetune.judge.access import Judge
from nexus_pipelines.finetune.judge.errors import (
    JudgeDown,
    JudgeFailed,
    JudgeNonsense,
    JudgeNotInstalled,
    JudgeRefused,
)

PYTHON = "NEXUS_JUDGE_PYTHON"
"""Names the Python that has ragas, where it is not in `judge` below this one's own folder."""
_PROGRAM = Path(__file__).parent / "program" / "ragas_scores.py"
_STOP_SECONDS = 5.0
_SAID = 2000  # characters of its words that an error shows
# What reaches it: how to get out, what to trust, where it may write.  No credentials of stores.
_PASSED = (
    "PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_SILENT = {
    "RAGAS_DO_NOT_TRACK": "true",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "HF_HUB_OFFLINE": "1",
}
_WHAT_TO_DO = {
    "JudgeDown": "see that it runs and answers in time (NEXUS_JUDGE_URL, "
    "NEXUS_JUDGE_TIMEOUT_SECONDS), then run the job again",
    "JudgeRefused": "see that NEXUS_JUDGE_MODEL and NEXUS_JUDGE_API_KEY are what it takes",
    "JudgeNonsense": "take a stronger model as judge (NEXUS_JUDGE_MODEL), or `support`, which "
    "needs none",
}
_ERRORS = {"JudgeDown": JudgeDown, "JudgeRefused": JudgeRefused, "JudgeNonsense": JudgeNonsense}


class Judged(NamedTuple):
    """The score of one case, from 0 to 1."""

    id: str
    score: float


def judge_python() -> Path:
    """Return the Python that has ragas.

    Raises:
        JudgeNotInstalled: there is none.
    """
    named = os.environ.get(PYTHON, "")
    found = Path(named) if named else Path(sys.prefix, "judge", "bin", "python")
    if not os.access(found, os.X_OK):
        raise JudgeNotInstalled(
            f"there is no {found}, the Python with ragas: `make judge` installs it on a laptop, "
            f"the image nexus-trainer has it, and {PYTHON} names another one"
        )
    return found


@contextmanager
def judging(judge: Judge, cases: Iterable[dict[str, Any]]) -> Iterator[Iterator[Judged]]:
    """Have cases judged; gives their scores in the order that they become known.

    cases: as program/ragas_scores.py says.  The process ends with the block.

    Raises:
        JudgeNotInstalled: there is no environment with ragas.
        JudgeDown: no answer in time, or a failure that may pass.
        JudgeRefused: a request that will be refused again.
        JudgeNonsense: answers that cannot be used.
        JudgeFailed: the process ended for another reason.
    """
    python = judge_python()
    with tempfile.TemporaryDirectory(prefix="nexus-judge-") as scratch:
        log, asked = Path(scratch, "log"), Path(scratch, "cases")
        asked.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
        with log.open("wb") as said, asked.open("rb") as told:
            process = subprocess.Popen(
                [str(python), "-I", str(_PROGRAM)],
                stdin=told,
                stdout=subprocess.PIPE,
                stderr=said,
                env=_environment(judge, scratch),
                text=True,
                encoding="utf-8",
            )
        try:
            yield _scores(process, judge, log)
        finally:
            _stop(process)


def _scores(process: "subprocess.Popen[str]", judge: Judge, log: Path) -> Iterator[Judged]:
    out: IO[str] | None = process.stdout
    for line in out or ():
        told = json.loads(line)
        if kind := told.get("failed"):
            error = _ERRORS.get(kind, JudgeFailed)
            raise error(f"{judge}: {told['message']}; {_WHAT_TO_DO.get(kind, '')}")
        yield Judged(told["id"], told["score"])
    if process.wait() != 0:
        words = log.read_text(encoding="utf-8", errors="replace")[-_SAID:].strip()
        raise JudgeFailed(f"judging ended with {process.returncode}: {words}")


def _environment(judge: Judge, home: str) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {**passed, **_SILENT, "HOME": home, **judge.variables()}


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()

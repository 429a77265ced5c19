"""How far a run is: for Argo by its progress file, for people and the operator by lines on stderr.

Both are needed: Argo's file has steps alone, and only the log has loss and end (docs/adr/0029).
"""

import math
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nexus_api.training_progress import TrainingProgress
from nexus_pipelines.finetune.train.core import seconds_left

VARIABLE = "ARGO_PROGRESS_FILE"
_LINE_SECONDS = 15.0
"""The status follows the lines, so this bounds how often it is written."""


class Progress:
    """Tells of the steps of one run."""

    def __init__(self, total: int, *, file: str | None = None) -> None:
        self._total = total
        named = os.environ.get(VARIABLE, "") if file is None else file
        self._file = Path(named) if named else None
        self._said = float("-inf")

    def begin(self, done: int) -> None:
        """Tell how many steps earlier attempts completed."""
        self._write(done)

    def tell(
        self, done: int, *, loss: float, here: int, seconds: float, most: float = math.inf
    ) -> None:
        """Tell that `done` steps are complete; lines on stderr come every 15 seconds.

        Args:
            done: steps complete, those of earlier attempts among them.
            loss: loss of the newest step.
            here: steps of this attempt, which took `seconds`.
            seconds: what they took.
            most: seconds after which the training ends in any case.
        """
        self._write(done)
        now = time.monotonic()
        if now - self._said < _LINE_SECONDS and done != self._total:
            return
        self._said = now
        left = seconds_left(here, here + self._total - done, seconds)
        end = None if left is None else datetime.now(UTC) + timedelta(seconds=min(left, most))
        self.say(TrainingProgress(done=done, total=self._total, loss=loss, end=end).line())

    def say(self, text: str) -> None:
        """Write a line for a person."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def _write(self, done: int) -> None:
        """Write what Argo reads, whole or not at all; a file that fails stops nothing."""
        if self._file is None:
            return
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            partial.write_text(f"{done}/{self._total}", encoding="ascii")
            partial.replace(self._file)
        except OSError as error:
            self.say(f"progress cannot be written to {self._file}: {error.strerror}")
            self._file = None

"""How far a run is: for Argo by its progress file, for people by lines on stderr."""

import os
import sys
import time
from pathlib import Path

from nexus_pipelines.finetune.train.core import seconds_left

VARIABLE = "ARGO_PROGRESS_FILE"
_LINE_SECONDS = 10.0


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

    def tell(self, done: int, *, loss: float, here: int, seconds: float) -> None:
        """Tell that `done` steps are complete; lines on stderr come every ten seconds.

        Args:
            done: steps complete, those of earlier attempts among them.
            loss: loss of the newest step.
            here: steps of this attempt, which took `seconds`.
            seconds: what they took.
        """
        self._write(done)
        now = time.monotonic()
        if now - self._said < _LINE_SECONDS and done != self._total:
            return
        self._said = now
        left = seconds_left(here, here + self._total - done, seconds)
        rest = "" if left is None else f", about {_span(left)} left"
        self.say(f"step {done}/{self._total}, loss {loss:.4f}{rest}")

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


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

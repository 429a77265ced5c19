"""A platform on which a test holds a step at a moment of its choice, and kills what it likes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import held_step
from laptop import Platform
from waiting import eventually

SECONDS = 300


class HeldPlatform(Platform):
    """`nexus up` whose steps wait where `hold` says."""

    def command(self, *words: str) -> list[str]:
        if words[0] != "up":
            return super().command(*words)
        return [sys.executable, held_step.__file__, *words]

    def hold(self, job: str, command: str, place: str) -> None:
        """Have the next process of a step wait before it moves a file to such a place."""
        rule = self._rule(job, command)
        rule.parent.mkdir(exist_ok=True)
        written = rule.with_suffix(".new")
        written.write_text(place)
        written.rename(rule)

    def held(self, job: str, command: str) -> int:
        """Wait until a step is held; return its pid, which is the number of its group too."""
        place = Path(f"{self._rule(job, command)}.held")
        eventually(place.exists, what=f"{command} of {job} is held", seconds=SECONDS)
        pid = int(place.read_text())
        place.unlink()
        assert os.getpgid(pid) == pid
        return pid

    def kill(self, job: str, command: str) -> None:
        """Kill a step that is held, and all that it started, by SIGKILL."""
        os.killpg(self.held(job, command), signal.SIGKILL)

    def kill_and_hold(self, job: str, command: str, place: str) -> None:
        """Kill a step that is held, whose next try is then held too."""
        pid = self.held(job, command)
        self.hold(job, command, place)
        os.killpg(pid, signal.SIGKILL)

    def _rule(self, job: str, command: str) -> Path:
        return self.root.parent / held_step.HOLDS / f"{job}.{command}"

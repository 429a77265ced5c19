"""The laptop's platform whose steps wait where a test says: what is to be killed there holds still.

`python held_step.py up ...` is `nexus up`, whose steps run through `step` below, cold or from a
program held ready.  A step is the process that it always is; only, about to move a file to a place
that a rule names, it writes its pid and waits until it is killed, the file not moved.  A rule holds
one process: whoever comes next finds none.

Rules lie beside the data directory, as `holds/JOB.COMMAND`: a regular expression for the end of the
file's path.  An output parameter is a file by its number here, as `/0`, whatever path the template
names: a step that keeps nothing in the store is held by that.  The pid is then in
`holds/JOB.COMMAND.held`.
"""

import os
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

HOLDS = "holds"
_BELOW_DATA = 4  # folders from the data directory to a pod's: node, pods, namespace, name


def step() -> int | None:
    """Run a step of the pipelines under the rule that is there for it, if there is one."""
    from nexus_pipelines.cli import main

    data = Path(os.environ["NEXUS_POD_FOLDER"]).parents[_BELOW_DATA - 1]
    job = next((word[6:] for word in sys.argv if word.startswith("--job=")), "")
    rule = data.parent / HOLDS / f"{job}.{sys.argv[1]}"
    if rule.exists():
        sys.addaudithook(_Hold(rule))
    return main()


class _Hold:
    """Stops this process before a move; sees every `os.rename` and `os.replace` as they begin."""

    def __init__(self, rule: Path) -> None:
        self._rule, self._place = rule, re.compile(f"(?:{rule.read_text()})$")

    def __call__(self, event: str, about: tuple[Any, ...]) -> None:
        if event == "os.rename" and self._place.search(os.fsdecode(about[1])):
            self._place = re.compile(r"(?!)")  # what follows moves a file itself
            self._rule.write_text(str(os.getpid()))
            self._rule.rename(f"{self._rule}.held")
            threading.Event().wait()


def up() -> None:
    """Run `nexus` with the steps of this module."""
    from nexus_local.cli.main import main
    from nexus_local.node.container import passed_on
    from nexus_local.platform import run

    here = Path(__file__)
    commands = {**run.entry_points(), "nexus-pipelines": (sys.executable, str(here))}
    ready = replace(run.STEPS, target=f"{here.stem}:step")
    found = {**passed_on(os.environ), "PYTHONPATH": str(here.parent)}  # where `ready` finds it
    with (
        patch.object(run, "entry_points", lambda: commands),
        patch.object(run, "STEPS", ready),
        patch("nexus_local.node.warm.passed_on", lambda _: found),
    ):
        main()


if __name__ == "__main__":
    if sys.argv[1] == "up":
        up()
    else:
        sys.exit(step())

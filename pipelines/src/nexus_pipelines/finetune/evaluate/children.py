"""Programs of a runtime as child processes, which end with the block that started them."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nexus_pipelines.finetune.evaluate.engine import Program

STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Child:
    """A process that was started; `log` has all that it says."""

    program: Program
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll()

    def text(self) -> str:
        """Return its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End it, with what it started; after 10 s by force."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self.program.children:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()


@contextmanager
def started(programs: Sequence[Program], folder: Path) -> Iterator[tuple[Child, ...]]:
    """Start programs in their order, and end them in the other; their logs lie in `folder`."""
    with ExitStack() as stack:
        children = []
        for number, program in enumerate(programs):
            child = start(program, folder / f"log-{number}")
            stack.callback(child.stop)
            children.append(child)
        yield tuple(children)


def start(program: Program, log: Path) -> Child:
    """Start one program, to be ended with `Child.stop`."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=dict(program.environment),
            # One without children stays in the step's group: who kills the step's kills it too.
            start_new_session=program.children,
        )
    return Child(program, process, log)

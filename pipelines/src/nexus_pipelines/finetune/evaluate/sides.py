"""The runtimes of candidate and production: one after the other, or one process for both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Self

from nexus_pipelines.finetune.evaluate.engine import Served
from nexus_pipelines.finetune.evaluate.engines import engine_of
from nexus_pipelines.finetune.evaluate.runtime import Runtime

Serving = Callable[[Sequence[Served]], AbstractContextManager[tuple[Runtime, ...]]]


class Sides:
    """Starts what answers for a side, when it is asked for.

    An engine that serves adapters side by side is started once, with all of them: the weights are
    loaded once, and the same compiled kernels compute both sides.

    sides: by name, on one base.  serving: starts units, as `runtime.serving` does.
    """

    def __init__(self, sides: Mapping[str, Served], serving: Serving) -> None:
        self._sides = dict(sides)
        self._serving = serving
        self._open = ExitStack()
        self._shared: dict[str, Runtime] = {}

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started for several sides."""
        self._open.close()

    @contextmanager
    def runtime(self, name: str) -> Iterator[Runtime]:
        """Give the runtime of a side.  Raises as `runtime.serving`."""
        side = self._sides[name]
        if not engine_of(side.unit).together:
            with self._serving([side]) as (alone,):
                yield alone
            return
        if not self._shared:
            found = self._open.enter_context(self._serving(list(self._sides.values())))
            self._shared = dict(zip(self._sides, found, strict=True))
        yield self._shared[name]

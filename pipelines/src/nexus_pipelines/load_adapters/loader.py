"""Brings a server to what it should have, look by look."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from nexus_api.adapter_loading import AdaptersToLoad, AdapterToLoad, LoadedAdapters
from nexus_pipelines.load_adapters.core import GRACE_SECONDS, Seen, Trouble, looked, report
from nexus_pipelines.load_adapters.server import (
    MOST_WORDS,
    AdapterServer,
    ServerError,
    ServerGone,
    ServerSilent,
    Unanswered,
)
from nexus_pipelines.triton_repository.adapters import AdapterNotServed

FETCH_SECONDS = 1800.0
"""After this time a fetch has hung."""

log = logging.getLogger(__name__)

Read: TypeAlias = Callable[[], AdaptersToLoad | None]
Fetch: TypeAlias = Callable[[AdapterToLoad], "Future[None]"]
"""Begins to bring an adapter's files to their folder; the future's exception says what failed."""


class Loader:
    """One server and what is known of it.

    `step` is called by one thread, `report` and `ready` by any.  Nothing is kept over a restart:
    what is loaded is asked of the server, what is fetched is found in its folder.
    """

    def __init__(
        self,
        read: Read,
        fetch: Fetch,
        server: AdapterServer,
        clock: Callable[[], float],
        *,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """Take what reads the file, what fetches, the server, and a clock in seconds."""
        self._read, self._fetch, self._server, self._clock = read, fetch, server, clock
        self._grace = grace
        self._seen = Seen()
        self._coming: Future[None] | None = None
        self._begun = 0.0
        self._said = ""
        self._unanswered: set[str] = set()
        """Names that the server was given and that nobody may ask for yet."""

    @property
    def ready(self) -> bool:
        """Whether requests may come to the pod, as of the last look."""
        return self._seen.ready

    def report(self) -> LoadedAdapters:
        """Return what the pod has, as of the last look."""
        return report(self._seen)

    def step(self) -> None:
        """Look at file, files and server, and do what is to be done."""
        self._seen = replace(self._seen, wanted=self._read() or self._seen.wanted)
        self._arrived()
        seen = replace(self._seen, loaded=self._loaded())
        self._seen, todo = looked(seen, self._clock(), self._grace)
        if todo.fetch is not None:
            self._coming, self._begun = self._fetch(todo.fetch), self._clock()
            self._seen = replace(self._seen, fetching=todo.fetch.name)
        for adapter in todo.load:
            if not self._tried("load", adapter.name, adapter.folder):
                return
        for name in todo.unload:
            if not self._tried("unload", name, ""):
                return
        if todo.load or todo.unload:
            seen = replace(self._seen, loaded=self._loaded())
            self._seen, _ = looked(seen, self._clock(), self._grace)

    def _arrived(self) -> None:
        """Take in what a fetch that has ended came to; one that hangs is waited for no longer.

        It may come to its end all the same: two fetches of one folder wait for each other.
        """
        coming, name = self._coming, self._seen.fetching
        if coming is None:
            return
        wanted = self._seen.wanted.adapters if self._seen.wanted else []
        late = self._clock() - self._begun >= FETCH_SECONDS
        if not coming.done() and not late and name in {one.name for one in wanted}:
            return
        self._coming = None
        self._seen = replace(self._seen, fetching="")
        if not coming.done():
            if late:
                self._failed(name, f"it could not be fetched within {FETCH_SECONDS:g} s")
        elif (problem := coming.exception()) is None:
            self._seen = replace(self._seen, fetched=self._seen.fetched | {name})
            self._clear(name)
        else:
            words = f"it could not be fetched: {problem}"
            self._failed(name, str(problem) if isinstance(problem, AdapterNotServed) else words)

    def _loaded(self) -> frozenset[str] | None:
        wanted = self._seen.wanted.adapters if self._seen.wanted else []
        self._unanswered &= {one.name for one in wanted}
        try:
            return self._server.adapters() - self._unanswered
        except ServerSilent as problem:
            self._say(problem)
            return self._seen.loaded  # busy, with what it had
        except ServerGone:
            return None
        except ServerError as problem:
            self._say(problem)
            return None

    def _say(self, problem: ServerError) -> None:
        """Log what hinders a look, once while it stays the same."""
        if str(problem) != self._said:
            log.warning("%s", problem)
        self._said = str(problem)

    def _tried(self, what: str, name: str, folder: str) -> bool:
        """Load or unload one; tell whether the server is still there for the next."""
        try:
            if what == "load":
                self._load(name, folder)
            else:
                self._server.unload(name)
        except (ServerGone, ServerSilent) as problem:
            log.warning("%s was not %sed: %s", name, what, problem)
            return False
        except Unanswered as problem:
            self._failed(name, f"loaded, it does not answer: {problem}")
        except ServerError as problem:
            self._failed(name, f"vLLM does not {what} it: {problem}")
        else:
            log.info("%s is %sed", name, what)
            self._clear(name)
        return True

    def _load(self, name: str, folder: str) -> None:
        """Load one, which counts as loaded once it has answered a question.  Raises ServerError."""
        self._unanswered.add(name)
        self._server.load(name, folder)
        try:
            self._server.answer(name)
        except ServerGone:
            raise
        except ServerError as problem:
            with suppress(ServerError):  # hidden anyway, and loaded is asked again
                self._server.unload(name)
            raise Unanswered(str(problem)) from problem
        self._unanswered.remove(name)

    def _failed(self, name: str, words: str) -> None:
        before, now = self._seen.troubles.get(name), self._clock()
        words = words[:MOST_WORDS]
        trouble = before.again(words, now) if before else Trouble(words, now)
        log.warning("%s: %s (try %d)", name, words, trouble.tries)
        self._seen = replace(self._seen, troubles={**self._seen.troubles, name: trouble})

    def _clear(self, name: str) -> None:
        rest = {key: one for key, one in self._seen.troubles.items() if key != name}
        self._seen = replace(self._seen, troubles=rest)

"""What a pod's adapters come to, look by look: tables, and any order of events."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.adapter_loading import AdaptersToLoad, AdapterToLoad, version_name
from nexus_pipelines.load_adapters.core import (
    GRACE_SECONDS,
    LONGEST_WAIT_SECONDS,
    Seen,
    Todo,
    Trouble,
    looked,
    report,
)

OLD, NEW = "polite@1", "polite@2"


def one(name: str, *, needed: bool = False) -> AdapterToLoad:
    return AdapterToLoad(name=name, uri=f"s3://b/{name}/", folder=f"/f/{name}", needed=needed)


def wanted(*names: str, needed: tuple[str, ...] = ()) -> AdaptersToLoad:
    return AdaptersToLoad(adapters=[one(name, needed=name in needed) for name in names])


def seen(*loaded: str, of: AdaptersToLoad | None, **more: Any) -> Seen:
    made = Seen(wanted=of, loaded=frozenset(loaded), fetched=frozenset({OLD, NEW}))
    return replace(made, **more)


def todo(state: Seen, now: float = 0) -> Todo:
    return looked(state, now)[1]


def test_what_is_wanted_is_fetched_and_then_loaded() -> None:
    state = seen(of=wanted(OLD), fetched=frozenset())
    assert todo(state) == Todo(fetch=one(OLD))
    assert todo(replace(state, fetching=OLD)) == Todo()
    assert todo(replace(state, fetched=frozenset({OLD}))) == Todo(load=(one(OLD),))
    assert todo(seen(OLD, of=wanted(OLD))) == Todo()


def test_what_requests_ask_for_already_comes_first() -> None:
    state = seen(of=wanted(NEW, OLD, needed=(OLD,)), fetched=frozenset())
    assert todo(state).fetch == one(OLD, needed=True)
    assert [o.name for o in todo(replace(state, fetched=frozenset({OLD, NEW}))).load] == [OLD, NEW]


def test_files_are_fetched_while_the_server_starts() -> None:
    state = seen(of=wanted(OLD), loaded=None, fetched=frozenset())
    assert todo(state) == Todo(fetch=one(OLD))
    assert todo(replace(state, fetched=frozenset({OLD}))) == Todo()


def test_a_version_that_nobody_wants_stays_for_a_while() -> None:
    state, now = seen(OLD, NEW, of=wanted(NEW)), 100.0
    state, first = looked(state, now)
    assert first == Todo()
    state, later = looked(state, now + GRACE_SECONDS - 1)
    assert later == Todo()
    assert looked(state, now + GRACE_SECONDS)[1] == Todo(unload=(OLD,))


def test_the_grace_begins_anew_when_it_was_wanted_between() -> None:
    state, _ = looked(seen(OLD, NEW, of=wanted(NEW)), 0)
    state, _ = looked(replace(state, wanted=wanted(OLD, NEW)), GRACE_SECONDS - 1)
    state, _ = looked(replace(state, wanted=wanted(NEW)), GRACE_SECONDS)
    assert looked(state, GRACE_SECONDS + 1)[1] == Todo()


def test_nothing_is_unloaded_before_anything_was_read() -> None:
    state, _ = looked(seen(OLD, of=None), 0)
    assert todo(state, GRACE_SECONDS * 9) == Todo()
    assert not state.ready


@pytest.mark.parametrize(
    ("loaded", "needed", "tried", "before", "ready"),
    [
        ((OLD, NEW), (OLD,), (), False, True),
        ((OLD,), (OLD,), (), False, False),  # not without what the others may have
        ((OLD,), (OLD,), (NEW,), False, True),  # unless it was in vain
        ((OLD,), (OLD,), (), True, True),  # and one that answers goes on
        ((NEW,), (OLD,), (), True, False),
        ((NEW,), (OLD,), (OLD,), True, False),
        (None, (), (OLD, NEW), True, False),
    ],
)
def test_when_requests_may_come(
    loaded: tuple[str, ...] | None,
    needed: tuple[str, ...],
    tried: tuple[str, ...],
    before: bool,
    ready: bool,
) -> None:
    state = Seen(
        wanted=wanted(OLD, NEW, needed=needed),
        loaded=None if loaded is None else frozenset(loaded),
        troubles={name: Trouble("rank 64", 0) for name in tried},
        ready=before,
    )
    assert looked(state, 1)[0].ready is ready


def test_what_failed_is_tried_again_ever_more_seldom() -> None:
    trouble, waits = Trouble("no", 0), []
    for _ in range(9):
        wait = next(second for second in range(100) if trouble.over(trouble.at + second))
        waits.append(wait)
        trouble = trouble.again("no", trouble.at + wait)
    assert waits[:6] == [2, 4, 8, 16, 32, 60]
    assert max(waits) == LONGEST_WAIT_SECONDS
    state = seen(of=wanted(OLD), troubles={OLD: Trouble("no", 10)})
    assert todo(state, 11) == Todo()
    assert todo(state, 12) == Todo(load=(one(OLD),))


def test_the_report_tells_what_is_missing_and_why() -> None:
    state = seen(OLD, "x", of=wanted(OLD, NEW), troubles={NEW: Trouble("rank 64", 0)})
    told = report(looked(state, 0)[0])
    assert told.told == [OLD, NEW]
    assert told.loaded == [OLD, "x"]
    assert told.refused == {NEW: "rank 64"}
    assert report(Seen()).loaded == []


NAMES = [f"a@{number}" for number in range(4)]
EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("file"),
            st.lists(st.sampled_from(NAMES), unique=True, max_size=3),
            st.lists(st.booleans(), min_size=3, max_size=3),
        ),
        st.tuples(st.just("restart"), st.none(), st.none()),
        st.tuples(st.just("up"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.floats(0, 2 * GRACE_SECONDS), st.none()),
        st.tuples(st.just("fails"), st.sampled_from(NAMES), st.none()),
    ),
    max_size=30,
)


class Walk:
    """A pod that does as it is told, and what gateways and operator build on, held at each look."""

    def __init__(self) -> None:
        self.state = Seen(loaded=None)
        self.now, self.failing = 0.0, ""
        self.unwanted: dict[str, float] = {}

    @property
    def there(self) -> frozenset[str]:
        return self.state.loaded or frozenset()

    @property
    def names(self) -> set[str]:
        return {one.name for one in self.state.wanted.adapters} if self.state.wanted else set()

    @property
    def needed(self) -> set[str]:
        adapters = self.state.wanted.adapters if self.state.wanted else []
        return {one.name for one in adapters if one.needed}

    def happens(self, what: str, value: Any, marks: Any) -> None:
        if what == "file":
            adapters = [one(n, needed=m) for n, m in zip(value, marks, strict=False)]
            self.state = replace(self.state, wanted=AdaptersToLoad(adapters=adapters))
        elif what == "restart":
            self.state = replace(self.state, loaded=None)
        elif what == "up":
            self.state = replace(self.state, loaded=self.there)
        elif what == "wait":
            self.now += value
        else:
            self.failing = value

    def look(self) -> None:
        before = self.state
        self.state, todo = looked(before, self.now)
        given_up = self.there - self.names if self.state.wanted else set()
        self.unwanted = {name: self.unwanted.get(name, self.now) for name in given_up}
        assert not set(todo.unload) & self.names, "wanted, and unloaded"
        assert all(self.now - self.unwanted[name] >= GRACE_SECONDS for name in todo.unload)
        assert not {one.name for one in todo.load} & self.there, "loaded twice"
        assert {one.name for one in todo.load} <= self.state.fetched
        if self.state.ready:
            assert self.state.loaded is not None
            assert self.needed <= self.there
        elif before.ready:
            assert before.loaded is None or not self.needed <= self.there, "left for a new version"
        self._do(todo)

    def _do(self, todo: Todo) -> None:
        state = self.state
        troubles, loaded = dict(state.troubles), set(self.there)
        for adapter in todo.load:
            if adapter.name != self.failing:
                loaded.add(adapter.name)
                continue
            before = troubles.get(adapter.name)
            troubles[adapter.name] = (
                before.again("no", self.now) if before else Trouble("no", self.now)
            )
        fetched = state.fetched | ({todo.fetch.name} if todo.fetch else set())
        known = None if state.loaded is None else frozenset(loaded - set(todo.unload))
        self.state = replace(state, troubles=troubles, loaded=known, fetched=fetched)


@given(EVENTS)
def test_whatever_happens_nobody_is_asked_for_what_it_lacks(
    events: list[tuple[str, Any, Any]],
) -> None:
    walk = Walk()
    for event in [*events, ("up", None, None), *[("wait", 61.0, None)] * 8]:
        walk.happens(*event)
        walk.look()
    missing = walk.names - walk.there
    assert missing <= {walk.failing}, "it never came"
    if walk.state.wanted is not None:
        assert walk.state.ready is not bool(missing & walk.needed)


def test_a_version_has_a_name_of_its_own() -> None:
    assert version_name("polite", "s3://b/1/", "ab" * 32) == "polite@abababababab"
    assert version_name("polite", "s3://b/1/") != version_name("polite", "s3://b/2/")

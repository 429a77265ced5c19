"""The promise of the ledger under any order of uploads, deletions, syncs, crashes and late runs."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from postgres_server import PostgresServer
from sync_world import BROKEN, KEY, Steps, World, finish

from nexus_knowledge.ledger import Ledger, upgrade
from nexus_knowledge.vectors.memory import MemoryIndex

PATHS = st.sampled_from(["a", "b", "c"])
CONTENTS = st.sampled_from(["x", "yy", "zzz", f"{BROKEN}1", f"{BROKEN}2"])
# In memory where there is such a place: this is about order, not about disks.
_SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
_TEMPLATE = Path(tempfile.mkdtemp(dir=_SHM)) / "ledger.db"


class SyncMachine(RuleBasedStateMachine):
    """One sync at a time holds the lock; those that lost it may still run on, late."""

    @initialize(contents=st.fixed_dictionaries(dict.fromkeys("abc", st.none() | CONTENTS)))
    def begin(self, contents: dict[str, str | None]) -> None:
        self.world = World(Ledger(self.new_ledger()), MemoryIndex())
        self.sync: Steps | None = None
        self.late: list[Steps] = []
        self.calls: list[tuple[str, str, Steps]] = []
        self.ever: dict[str, set[str]] = {}
        self.gone: set[str] = set()  # deleted by the API, not stored since
        self.steady: dict[str, str] = {}  # cited at the last rest, not touched since
        for path, content in contents.items():
            if content is not None:
                self.store(path, content)
        self.come_to_rest()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.ledger.close()
            self.drop_ledger()

    def new_ledger(self) -> str:
        if not _TEMPLATE.exists():
            upgrade(f"sqlite:///{_TEMPLATE}")
        self.folder = Path(tempfile.mkdtemp(dir=_SHM))
        shutil.copy(_TEMPLATE, self.folder / "ledger.db")
        return f"sqlite:///{self.folder / 'ledger.db'}"

    def drop_ledger(self) -> None:
        shutil.rmtree(self.folder)

    # --- users

    @rule(path=PATHS, content=CONTENTS)
    def drop_into_the_bucket(self, path: str, content: str) -> None:
        self.store(path, content)

    @rule(path=PATHS, again=st.booleans())
    def remove_from_the_bucket(self, path: str, again: bool) -> None:
        held = self.world.bucket.objects.pop(path, None)
        self.steady.pop(path, None)
        if held is not None and again:  # the same bytes, stored later
            self.store(path, held[0])

    @rule(path=PATHS, content=CONTENTS, steps=st.integers(1, 2))
    def upload(self, path: str, content: str, steps: int) -> None:
        self.ever.setdefault(path, set()).add(content)
        self.calls.append(("upload", path, self.world.upload(path, content)))
        self.go_on(len(self.calls) - 1, steps)

    @rule(path=PATHS, steps=st.integers(1, 5))
    def delete(self, path: str, steps: int) -> None:
        self.calls.append(("delete", path, self.world.delete(path)))
        self.go_on(len(self.calls) - 1, steps)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def go_on_with_a_call(self, data: st.DataObject) -> None:
        self.go_on(data.draw(st.integers(0, len(self.calls) - 1)), 1)

    def go_on(self, which: int, steps: int) -> None:
        kind, path, call = self.calls[which]
        self.steady.pop(path, None)
        for _ in range(steps):
            step = next(call, None)
            if kind == "upload":
                self.gone.discard(path)
            elif step == "deleted in the ledger":
                self.gone.add(path)
            self.holds()
            if step is None:
                del self.calls[which]
                return

    @precondition(lambda self: self.calls)
    @rule()
    def gateway_dies(self) -> None:
        self.calls.clear()

    # --- syncs

    @rule(steps=st.sampled_from([1, 2, 3, 5, 8, 50]))
    def go_on_with_the_sync(self, steps: int) -> None:
        if self.sync is None:
            self.sync = self.world.sync()
        for _ in range(steps):
            if self.sync is not None and next(self.sync, None) is None:
                self.sync = None
            self.holds()

    @precondition(lambda self: self.sync is not None)
    @rule(runs_on=st.booleans())
    def sync_is_taken_for_dead(self, runs_on: bool) -> None:
        if runs_on and self.sync is not None:
            self.late.append(self.sync)
        self.sync = None

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def go_on_with_a_late_sync(self, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.late) - 1))
        if next(self.late[which], None) is None:
            del self.late[which]

    @rule(fingerprint=st.sampled_from(["f0", "f1"]))
    def change_the_spec(self, fingerprint: str) -> None:
        self.world.fingerprint = fingerprint

    @rule(path=PATHS)
    def ask_for_another_try(self, path: str) -> None:
        documents = self.world.ledger.documents(*KEY).documents
        self.world.ledger.reingest(*KEY, [one.document_id for one in documents if one.path == path])

    @rule()
    def lose_the_vectors(self) -> None:
        view = self.world.ledger.view(*KEY)
        self.steady.clear()
        if view is not None:
            self.world.vectors.drop(view.collection)
            self.world.ledger.collection_lost(*KEY, view.collection)

    @precondition(lambda self: self.sync is None)
    @rule()
    def delete_the_resource_and_make_it_anew(self) -> None:
        self.steady.clear()
        # A deletion that was cut short before the object went is forgotten with the old resource.
        self.gone.difference_update(self.world.bucket.objects)
        self.sync = self.world.teardown()
        next(self.sync, None)
        self.world.uid = f"u{int(self.world.uid[1:]) + 1}"

    # --- what holds

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.check(self.ever)
        visible = {path: chunks[0].text for path, chunks in self.world.visible().items()}
        for path in self.gone:
            assert path not in visible, f"{path} is cited after its deletion"
        for path, content in self.steady.items():
            assert visible.get(path) == content, f"{path} was cited, and nobody touched it"

    @rule()
    def come_to_rest(self) -> None:
        for steps in [*self.late, *([self.sync] if self.sync else [])]:
            finish(steps)
        self.late, self.sync = [], None
        self.calls.clear()
        for _ in range(2):
            finish(self.world.sync())
        self.holds()
        self.world.check_at_rest()
        written = self.world.written
        finish(self.world.sync())
        assert self.world.written == written, "an unchanged bucket cost something"
        self.world.check_at_rest()
        self.steady = {
            path: content
            for path, (content, _) in self.world.bucket.objects.items()
            if not content.startswith(BROKEN)
        }

    def store(self, path: str, content: str) -> None:
        self.ever.setdefault(path, set()).add(content)
        self.gone.discard(path)
        self.steady.pop(path, None)
        self.world.bucket.put(path, content)


SETTINGS = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SyncMachine.TestCase.settings = SETTINGS
TestSyncMachine = pytest.mark.timeout(1500)(SyncMachine.TestCase)


@pytest.mark.timeout(1500)
def test_the_same_on_postgresql(postgres: PostgresServer, migrated_postgres: str) -> None:
    class OnPostgres(SyncMachine):
        def new_ledger(self) -> str:
            self.url = postgres.new_database(migrated_postgres)
            return self.url

        def drop_ledger(self) -> None:
            postgres.drop_database(self.url)

    run_state_machine_as_test(OnPostgres, settings=settings(SETTINGS, max_examples=15))

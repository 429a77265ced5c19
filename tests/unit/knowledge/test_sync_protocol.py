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
)
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

    @initialize()
    def begin(self) -> None:
        if not _TEMPLATE.exists():
            upgrade(f"sqlite:///{_TEMPLATE}")
        self.folder = Path(tempfile.mkdtemp(dir=_SHM))
        shutil.copy(_TEMPLATE, self.folder / "ledger.db")
        ledger = Ledger(f"sqlite:///{self.folder / 'ledger.db'}")
        self.world = World(ledger, MemoryIndex())
        self.sync: Steps | None = None
        self.late: list[Steps] = []
        self.calls: list[tuple[str, str, Steps]] = []
        self.ever: dict[str, set[str]] = {}
        self.gone: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.ledger.close()
            shutil.rmtree(self.folder)

    # --- users

    @rule(path=PATHS, content=CONTENTS)
    def drop_into_the_bucket(self, path: str, content: str) -> None:
        self.world.bucket.put(path, content)
        self.stored(path, content)

    @rule(path=PATHS)
    def remove_from_the_bucket(self, path: str) -> None:
        self.world.bucket.objects.pop(path, None)

    @rule(path=PATHS)
    def touch_in_the_bucket(self, path: str) -> None:
        held = self.world.bucket.objects.get(path)
        if held is not None:
            self.drop_into_the_bucket(path, held[0])

    @rule(path=PATHS, content=CONTENTS)
    def upload(self, path: str, content: str) -> None:
        call = self.world.upload(path, content)
        next(call)
        self.stored(path, content)
        self.calls.append(("upload", path, call))

    @rule(path=PATHS)
    def delete(self, path: str) -> None:
        call = self.world.delete(path)
        next(call, None)
        self.calls.append(("delete", path, call))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def go_on_with_a_call(self, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.calls) - 1))
        kind, path, call = self.calls[which]
        step = next(call, None)
        if kind == "delete" and step == "deleted in the ledger":
            self.gone.add(path)
        if kind == "upload":
            self.gone.discard(path)
        if step is None:
            del self.calls[which]

    @precondition(lambda self: self.calls)
    @rule()
    def gateway_dies(self) -> None:
        self.calls.clear()

    # --- syncs

    @precondition(lambda self: self.sync is None)
    @rule()
    def start_a_sync(self) -> None:
        self.sync = self.world.sync()

    @precondition(lambda self: self.sync is not None)
    @rule(steps=st.sampled_from([1, 2, 5, 50]))
    def go_on_with_the_sync(self, steps: int) -> None:
        for _ in range(steps):
            if self.sync is not None and next(self.sync, None) is None:
                self.sync = None
            self.holds()

    @precondition(lambda self: self.sync is not None)
    @rule()
    def sync_dies(self) -> None:
        self.sync = None

    @precondition(lambda self: self.sync is not None)
    @rule()
    def sync_is_taken_for_dead_but_runs_on(self) -> None:
        assert self.sync is not None
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
        if view is not None:
            self.world.vectors.drop(view.collection)
            self.world.ledger.collection_lost(*KEY, view.collection)

    @precondition(lambda self: self.sync is None)
    @rule()
    def delete_the_resource_and_make_it_anew(self) -> None:
        self.sync = self.world.teardown()
        self.world.uid = f"u{int(self.world.uid[1:]) + 1}"
        # The old resource's teardown has begun; its uid was read before the new one came.

    # --- what holds

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.check(self.ever)
        for path in self.gone:
            assert path not in self.world.visible(), f"{path} is cited after its deletion"

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

    def stored(self, path: str, content: str) -> None:
        self.ever.setdefault(path, set()).add(content)
        self.gone.discard(path)


SyncMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestSyncMachine = pytest.mark.timeout(600)(SyncMachine.TestCase)

"""The ledger, method by method: what the state machine does not say by name."""

import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from nexus_knowledge.errors import (
    DocumentNotFound,
    IndexGone,
    LedgerOutdated,
    LedgerUnavailable,
    ListingOutdated,
)
from nexus_knowledge.ids import document_id
from nexus_knowledge.ledger import (
    Counts,
    DocumentState,
    Failed,
    Feedback,
    Ledger,
    Listed,
    Ready,
    Response,
    Reviewed,
    Settled,
    SyncPlan,
    upgrade,
)
from nexus_knowledge.ledger.database import connect
from nexus_knowledge.ledger.tables import Table

KEY = ("t", "i")


def listed(path: str, etag: str = "1", modified: float = 1.0) -> Listed:
    return Listed(path, f"t/i/{path}", etag, 10, modified)


def plan(ledger: Ledger, *listing: Listed, fingerprint: str = "f", limits: str = "") -> SyncPlan:
    token = ledger.begin_listing(*KEY, "u")
    return ledger.plan_sync(
        *KEY, "u", fingerprint=fingerprint, limits=limits, listing=listing, token=token
    )


def ready(ledger: Ledger, planned: SyncPlan, chunks: int = 2) -> None:
    outcomes = [Ready(one.document_id, one.generation, chunks, 3, "Title") for one in planned.work]
    settled = ledger.settle(*KEY, outcomes, collection=planned.collection)
    assert set(settled) <= {Settled.ACCEPTED}


def sync(ledger: Ledger, *listing: Listed, fingerprint: str = "f") -> SyncPlan:
    planned = plan(ledger, *listing, fingerprint=fingerprint)
    ready(ledger, planned)
    ledger.publish(*KEY, "u", collection=planned.collection)
    return planned


def name(path: str) -> str:
    return document_id(*KEY, path)


def fail(ledger: Ledger, planned: SyncPlan) -> None:
    outcomes = [
        Failed(one.document_id, one.generation, "Corrupt", "not a PDF") for one in planned.work
    ]
    ledger.settle(*KEY, outcomes, collection=planned.collection)


class TestTables:
    def test_migrations_make_the_tables_of_the_models(self, ledger_url: str) -> None:
        engine = connect(ledger_url)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
        engine.dispose()

    def test_several_may_migrate_at_once(self, empty_url: str) -> None:
        url = empty_url
        errors: list[BaseException] = []

        def run() -> None:
            try:
                upgrade(url)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with Ledger(url) as ledger:
            assert ledger.counts(*KEY) == Counts()

    def test_a_new_file_is_opened_beside_a_writer(self, tmp_path: Path) -> None:
        file = tmp_path / "ledger.db"
        writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        writer.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, writer.close)
        timer.start()
        engine = connect(f"sqlite:///{file}")
        try:
            with engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        finally:
            engine.dispose()
            timer.join()

    def test_a_release_lives_on_with_the_tables_of_the_next(
        self, ledger_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = connect(ledger_url).execution_options(writes=True)
        with engine.begin() as connection:
            for statement in (
                "ALTER TABLE documents ADD COLUMN later VARCHAR",
                "ALTER TABLE indexes ADD COLUMN later INTEGER NOT NULL DEFAULT 0",
                "CREATE TABLE later (id INTEGER PRIMARY KEY)",
                "UPDATE alembic_version SET version_num = '9999'",
            ):
                connection.execute(text(statement))
        upgrade(ledger_url)
        assert "newer release" in caplog.text
        with Ledger(ledger_url) as ledger:
            sync(ledger, listed("a"))
            assert ledger.counts(*KEY).indexed == 1
        with engine.connect() as connection:
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        assert found == "9999"
        engine.dispose()

    def test_answers_of_the_release_before_have_no_version(self, ledger_url: str) -> None:
        """Those that it wrote before the migration, and those that it still writes after it."""
        before = text(
            'INSERT INTO responses (response_id, tenant, model, "index", question, answer,'
            " passages, created_at) VALUES (:id, 't', 'm', '', 'q', 'a', '[]',"
            " '2026-01-02 03:04:05')"
        )
        engine = connect(ledger_url).execution_options(writes=True)
        with engine.begin() as connection:
            for statement in (
                "ALTER TABLE responses DROP COLUMN revision",
                "ALTER TABLE responses DROP COLUMN adapter_version",
                "UPDATE alembic_version SET version_num = '0001'",
            ):
                connection.execute(text(statement))
            connection.execute(before, {"id": "r1"})
        upgrade(ledger_url)
        with engine.begin() as connection:
            connection.execute(before, {"id": "r2"})
        engine.dispose()
        with Ledger(ledger_url) as ledger:
            found = {one.response_id: one for one in ledger.responses("t")}
        assert found.keys() == {"r1", "r2"}
        for one in found.values():
            assert (one.answer, one.revision, one.adapter_version) == ("a", "", "")

    def test_a_ledger_that_was_not_migrated_says_so(self, empty_url: str) -> None:
        with (
            Ledger(empty_url) as ledger,
            pytest.raises(LedgerOutdated, match="migrate it first"),
        ):
            ledger.counts(*KEY)

    def test_a_ledger_out_of_reach_is_transient(self, tmp_path: Path) -> None:
        with (
            Ledger(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}") as ledger,
            pytest.raises(LedgerUnavailable) as caught,
        ):
            ledger.counts(*KEY)
        assert caught.value.transient

    def test_writers_at_the_same_time_wait_for_each_other(self, ledger: Ledger) -> None:
        def upload(which: int) -> Callable[[], object]:
            return lambda: [ledger.register_upload(*KEY, listed(f"{which}/{n}")) for n in range(20)]

        threads = [threading.Thread(target=upload(which)) for which in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.counts(*KEY).pending == 80


class TestSync:
    def test_unchanged_documents_cost_nothing(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"), listed("b"))
        again = plan(ledger, listed("a"), listed("b"))
        assert (again.work, again.unchanged) == ([], 2)

    def test_a_plan_repeated_gives_the_same_generations(self, ledger: Ledger) -> None:
        token = ledger.begin_listing(*KEY, "u")
        first, second = (
            ledger.plan_sync(*KEY, "u", fingerprint="f", listing=[listed("a")], token=token)
            for _ in range(2)
        )
        assert first == second
        assert plan(ledger, listed("a")).work == first.work

    def test_a_listing_begun_later_wins(self, ledger: Ledger) -> None:
        token = ledger.begin_listing(*KEY, "u")
        plan(ledger, listed("a"))
        with pytest.raises(ListingOutdated):
            ledger.plan_sync(*KEY, "u", fingerprint="f", listing=[], token=token)

    def test_a_changed_document_keeps_its_old_version_until_published(self, ledger: Ledger) -> None:
        first = sync(ledger, listed("a"))
        second = plan(ledger, listed("a", "2"))
        ready(ledger, second)
        assert ledger.live(*KEY, [name("a")])[1] == {name("a"): first.work[0].generation}
        ledger.publish(*KEY, "u", collection=second.collection)
        assert ledger.live(*KEY, [name("a")])[1] == {name("a"): second.work[0].generation}
        (garbage,) = ledger.garbage(*KEY)
        assert garbage.generation == first.work[0].generation

    def test_a_vanished_document_is_not_cited_from_the_plan_on(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"), listed("b"))
        assert plan(ledger, listed("b")).removed == 1
        assert list(ledger.live(*KEY, [name("a"), name("b")])[1]) == [name("b")]
        assert ledger.document(*KEY, name("a")).state == DocumentState.DELETING
        ledger.garbage_done(*KEY, [one.id for one in ledger.garbage(*KEY)])
        with pytest.raises(DocumentNotFound):
            ledger.document(*KEY, name("a"))

    def test_a_good_version_outlives_a_bad_one(self, ledger: Ledger) -> None:
        first = sync(ledger, listed("a"))
        fail(ledger, plan(ledger, listed("a", "bad")))
        document = ledger.document(*KEY, name("a"))
        assert (document.state, document.reason) == (DocumentState.FAILED, "Corrupt")
        assert document.live_generation == first.work[0].generation
        assert plan(ledger, listed("a", "bad")).known_failures == 1
        assert plan(ledger, listed("a")).unchanged == 1
        assert ledger.document(*KEY, name("a")).reason == ""

    def test_what_a_failed_version_had_written_is_garbage(self, ledger: Ledger) -> None:
        planned = plan(ledger, listed("a"))
        fail(ledger, planned)
        (garbage,) = ledger.garbage(*KEY)
        assert garbage.generation == planned.work[0].generation

    def test_bytes_changed_back_give_up_what_was_begun(self, ledger: Ledger) -> None:
        first = sync(ledger, listed("a"))
        begun = plan(ledger, listed("a", "2"))
        ready(ledger, begun)
        assert plan(ledger, listed("a")).unchanged == 1
        assert ledger.publish(*KEY, "u", collection=begun.collection).flipped == 0
        assert ledger.live(*KEY, [name("a")])[1] == {name("a"): first.work[0].generation}
        assert [one.generation for one in ledger.garbage(*KEY)] == [begun.work[0].generation]

    def test_a_failure_is_tried_again_only_when_something_changed(self, ledger: Ledger) -> None:
        fail(ledger, plan(ledger, listed("a")))
        assert plan(ledger, listed("a")).work == []
        assert len(plan(ledger, listed("a"), limits="larger").work) == 1
        fail(ledger, plan(ledger, listed("a"), limits="larger"))
        assert len(plan(ledger, listed("a"), fingerprint="g").work) == 1
        fail(ledger, plan(ledger, listed("a"), fingerprint="g"))
        ledger.register_upload(*KEY, listed("a"))
        assert len(plan(ledger, listed("a"), fingerprint="g").work) == 1

    def test_reports_may_be_repeated_and_late_ones_are_cleaned_up(self, ledger: Ledger) -> None:
        first = plan(ledger, listed("a"))
        ready(ledger, first)
        ready(ledger, first)
        assert ledger.still_wanted(*KEY, first.work) == []
        plan(ledger, listed("a", "2"))
        ledger.garbage_done(*KEY, [one.id for one in ledger.garbage(*KEY)])
        late = [Ready(one.document_id, one.generation, 2) for one in first.work]
        assert ledger.settle(*KEY, late, collection=first.collection) == [Settled.SUPERSEDED]
        assert [one.generation for one in ledger.garbage(*KEY)] == [first.work[0].generation]

    def test_a_new_collection_waits_until_it_is_complete(self, ledger: Ledger) -> None:
        old = sync(ledger, listed("a"), listed("b"))
        new = plan(ledger, listed("a"), listed("b"), fingerprint="g")
        assert new.collection != old.collection
        one, other = new.work
        report = [Ready(one.document_id, one.generation, 5)]
        ledger.settle(*KEY, report, collection=new.collection)
        published = ledger.publish(*KEY, "u", collection=new.collection)
        assert (published.switched, published.waiting) == (False, 1)
        view = ledger.view(*KEY)
        assert view is not None
        assert (view.collection, view.fingerprint) == (old.collection, "f")
        assert len(ledger.live(*KEY, [name("a"), name("b")])[1]) == 2
        bad = [Failed(other.document_id, other.generation, "Corrupt", "no")]
        ledger.settle(*KEY, bad, collection=new.collection)
        published = ledger.publish(*KEY, "u", collection=new.collection)
        assert (published.switched, published.flipped) == (True, 1)
        assert published.collection == new.collection
        assert published.counts == Counts(total=2, indexed=1, failed=1, chunks=5)
        (garbage, *_), collections = ledger.garbage(*KEY), set[str]()
        collections = {g.collection for g in ledger.garbage(*KEY) if g.document_id is None}
        assert collections == {old.collection}
        assert garbage.collection in {old.collection, new.collection}

    def test_a_spec_changed_back_drops_what_was_begun(self, ledger: Ledger) -> None:
        old = sync(ledger, listed("a"))
        begun = plan(ledger, listed("a"), fingerprint="g")
        back = plan(ledger, listed("a"))
        assert (back.collection, back.unchanged) == (old.collection, 1)
        assert [one.collection for one in ledger.garbage(*KEY)] == [begun.collection]
        assert ledger.publish(*KEY, "u", collection=begun.collection).superseded

    def test_an_empty_index_can_be_searched(self, ledger: Ledger) -> None:
        sync(ledger)
        assert ledger.view(*KEY) is not None

    def test_what_a_sweep_needs(self, ledger: Ledger) -> None:
        planned = sync(ledger, listed("a"))
        version = (name("a"), planned.work[0].generation)
        staged = plan(ledger, listed("a"), listed("b"))
        being_written = (name("b"), staged.work[0].generation)
        expected = ledger.expected(*KEY, planned.collection)
        assert expected == {version: 2, being_written: None}
        orphans = [version, being_written, ("gone", 7)]
        assert ledger.discard(*KEY, planned.collection, orphans) == 1
        ledger.reingest(*KEY, [name("a"), "gone"])
        assert {one.path for one in plan(ledger, listed("a"), listed("b")).work} == {"a", "b"}

    def test_lost_vectors_are_built_anew_elsewhere(self, ledger: Ledger) -> None:
        planned = sync(ledger, listed("a"))
        assert not ledger.collection_lost(*KEY, "nx_other")
        assert ledger.collection_lost(*KEY, planned.collection)
        assert ledger.view(*KEY) is None
        assert ledger.live(*KEY, [name("a")])[1] == {}
        again = plan(ledger, listed("a"))
        assert again.collection != planned.collection
        assert len(again.work) == 1


class TestApi:
    def test_an_upload_shows_at_once_and_is_ingested_by_the_next_sync(self, ledger: Ledger) -> None:
        uploaded = ledger.register_upload(*KEY, listed("a b/ü.pdf"))
        assert uploaded.state == DocumentState.PENDING
        assert ledger.document(*KEY, uploaded.document_id) == uploaded
        sync(ledger, listed("a b/ü.pdf"))
        document = ledger.document(*KEY, uploaded.document_id)
        assert (document.state, document.title, document.pages, document.chunks) == (
            DocumentState.INDEXED, "Title", 3, 2,
        )  # fmt: skip

    def test_the_same_bytes_again_change_nothing(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"))
        again = ledger.register_upload(*KEY, listed("a", modified=9.0))
        assert again.state == DocumentState.INDEXED
        assert plan(ledger, listed("a", modified=9.0)).work == []

    def test_an_upload_during_a_listing_is_left_to_the_next_sync(self, ledger: Ledger) -> None:
        token = ledger.begin_listing(*KEY, "u")
        ledger.register_upload(*KEY, listed("new"))
        planned = ledger.plan_sync(*KEY, "u", fingerprint="f", listing=[], token=token)
        assert (planned.work, planned.removed) == ([], 0)
        assert ledger.document(*KEY, name("new")).state == DocumentState.PENDING

    def test_a_deletion_cut_short_is_finished_by_the_next_sync(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"))
        revision = ledger.live(*KEY, [])[0]
        deleted = ledger.delete_document(*KEY, name("a"), etag="1", modified=1.0)
        assert deleted.key == "t/i/a"
        assert ledger.live(*KEY, [name("a")]) == (revision + 1, {})
        planned = plan(ledger, listed("a"))
        assert (planned.work, planned.delete_keys) == ([], ["t/i/a"])
        ledger.garbage_done(*KEY, [one.id for one in ledger.garbage(*KEY)])
        assert plan(ledger, listed("a")).delete_keys == ["t/i/a"]
        plan(ledger)
        with pytest.raises(DocumentNotFound):
            ledger.document(*KEY, name("a"))

    def test_other_bytes_or_a_later_upload_end_a_deletion(self, ledger: Ledger) -> None:
        for later in (listed("a", "2"), listed("a", modified=2.0)):
            sync(ledger, listed("a"))
            ledger.delete_document(*KEY, name("a"))
            planned = plan(ledger, later)
            assert (len(planned.work), planned.delete_keys) == (1, [])

    def test_a_deletion_that_ended_leaves_no_tombstone(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"))
        ledger.delete_document(*KEY, name("a"))
        ledger.object_deleted(*KEY, name("a"))
        assert len(plan(ledger, listed("a")).work) == 1

    def test_unknown_documents_and_other_tenants(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"))
        for key in (KEY, ("other", "i"), ("t", "other")):
            document = name("a") if key != KEY else "none"
            with pytest.raises(DocumentNotFound):
                ledger.document(*key, document)
            with pytest.raises(DocumentNotFound):
                ledger.delete_document(*key, document)
            ledger.object_deleted(*key, document)
            assert ledger.live(*key, [document])[1] == {}
        ledger.register_upload("other", "i", listed("b"))
        assert ledger.live("other", "i", [name("a")])[1] == {}

    def test_documents_are_paged_in_the_order_of_their_paths(self, ledger: Ledger) -> None:
        paths = sorted(["a", "a/b", "b\n", "ü", 'q"', "-x", "z"])
        sync(ledger, *map(listed, paths))
        fail(ledger, plan(ledger, *map(listed, [*paths, "bad"])))
        seen, after = list[str](), None
        while True:
            page = ledger.documents(*KEY, after=after, limit=3)
            seen += [one.path for one in page.documents]
            if page.next is None:
                break
            after = page.next
        assert seen == sorted([*paths, "bad"])
        failed = ledger.documents(*KEY, state=DocumentState.FAILED)
        assert ([one.path for one in failed.documents], failed.next) == (["bad"], None)
        assert ledger.counts(*KEY) == Counts(total=8, indexed=7, failed=1, chunks=14)
        assert ledger.documents("no", "index").documents == []


class TestTeardown:
    def test_a_torn_down_index_leaves_nothing(self, ledger: Ledger) -> None:
        planned = sync(ledger, listed("a"))
        assert ledger.teardown(*KEY, "u")
        assert ledger.teardown(*KEY, "u")
        assert ledger.view(*KEY) is None
        assert ledger.live(*KEY, [name("a")])[1] == {}
        with pytest.raises(IndexGone):
            plan(ledger, listed("a"))
        with pytest.raises(IndexGone):
            ledger.register_upload(*KEY, listed("b"))
        with pytest.raises(IndexGone):
            ledger.publish(*KEY, "u", collection=planned.collection)
        assert not ledger.forget(*KEY, "u")
        garbage = ledger.garbage(*KEY)
        assert [(one.collection, one.document_id) for one in garbage] == [
            (planned.collection, None)
        ]
        ledger.garbage_done(*KEY, [one.id for one in garbage])
        assert ledger.forget(*KEY, "u")
        assert ledger.forget(*KEY, "u")
        assert ledger.counts(*KEY) == Counts()
        assert not ledger.teardown(*KEY, "u")

    def test_a_new_resource_of_the_same_name_takes_over(self, ledger: Ledger) -> None:
        sync(ledger, listed("a"))
        token = ledger.begin_listing(*KEY, "new")
        planned = ledger.plan_sync(*KEY, "new", fingerprint="f", listing=[listed("a")], token=token)
        assert planned.unchanged == 1
        assert not ledger.teardown(*KEY, "u")
        assert ledger.view(*KEY) is not None


class TestAnswers:
    def test_answers_and_feedback_are_kept_by_tenant(self, ledger: Ledger) -> None:
        when = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
        given = Response(
            "r1", "t", "assistant", "why?", "because", "i", [{"document": "a", "score": 0.5}], when,
            "assistant-5c1f", "7",
        )  # fmt: skip
        ledger.log_response(given)
        ledger.log_response(given)
        assert ledger.responses("t") == [given]
        assert ledger.responses("other") == []
        said = Feedback("r1", "t", -1, "better", "too short", when)
        assert ledger.add_feedback(said) == Reviewed("assistant", first_rating=True)
        assert not ledger.add_feedback(Feedback("r1", "other"))
        assert not ledger.add_feedback(Feedback("r2", "t"))
        again = Feedback("r1", "t", 1, created_at=when)
        assert ledger.add_feedback(again) == Reviewed("assistant", first_rating=False)
        assert said in ledger.feedback("t")
        assert len(ledger.feedback("t")) == 3

    def test_a_rating_is_the_first_though_something_was_said_before(self, ledger: Ledger) -> None:
        ledger.log_response(Response("r1", "t", "assistant", "why?", "because"))
        for said, first in (
            (Feedback("r1", "t", comment="hm"), False),
            (Feedback("r1", "other", -1), None),
            (Feedback("r1", "t", 1), True),
            (Feedback("r1", "t", comment="yes"), False),
        ):
            reviewed = ledger.add_feedback(said)
            assert (reviewed and reviewed.first_rating) == first


@pytest.mark.parametrize("name", ["\0", "a\0b", "\ud800", "x" * 5000, "'\"%\\"])
def test_no_text_is_more_than_a_name_that_no_document_has(ledger: Ledger, name: str) -> None:
    ledger.begin_listing("t", "i", "u")
    with pytest.raises(DocumentNotFound):
        ledger.document("t", "i", name)
    with pytest.raises(DocumentNotFound):
        ledger.delete_document("t", "i", name)
    assert ledger.live("t", "i", [name])[1] == {}
    assert ledger.counts("t", name).total == 0

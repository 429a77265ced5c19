"""What only the ledger on PostgreSQL can show: other writers, restarts, migrations under load."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
import pytest
from postgres_server import PostgresServer, temporary_postgres
from sqlalchemy import text

from nexus_knowledge.errors import (
    DocumentNotFound,
    LedgerConflict,
    LedgerUnavailable,
    UnsupportedUrl,
)
from nexus_knowledge.ledger import Feedback, Ledger, Listed, Ready, Response, upgrade
from nexus_knowledge.ledger.engine import connect
from nexus_knowledge.ledger.failures import errors, transaction

KEY = ("t", "i")


@pytest.fixture
def url(postgres: PostgresServer, migrated_postgres: str) -> str:
    return postgres.new_database(migrated_postgres)


def listed(path: str, etag: str = "1") -> Listed:
    return Listed(path, f"t/i/{path}", etag, 10, 1.0)


def at_once(works: list[Callable[[], object]]) -> list[object]:
    """Run each in a thread of its own, all released at the same moment."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        gate.wait(60)
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result() for future in [threads.submit(run, work) for work in works]]


def test_writers_of_one_new_index_take_turns(url: str) -> None:
    ledgers = [Ledger(url) for _ in range(8)]
    tokens = at_once([lambda one=one: one.begin_listing(*KEY, "u") for one in ledgers])  # type: ignore[misc]
    assert sorted(tokens) == list(range(1, 9))
    for one in ledgers:
        one.close()


def test_the_api_and_a_sync_never_block_each_other_for_good(url: str) -> None:
    with Ledger(url) as api, Ledger(url) as sync:

        def upload_and_delete(who: str) -> Callable[[], object]:
            def run() -> None:
                for number in range(20):
                    name = api.register_upload(*KEY, listed(f"{who}{number}")).document_id
                    with suppress(DocumentNotFound):  # a listing did not show it
                        api.delete_document(*KEY, name)
                        api.object_deleted(*KEY, name)

            return run

        def run_syncs() -> None:
            for generation in range(10):
                token = sync.begin_listing(*KEY, "u")
                listing = [listed(f"d{n}", str(generation)) for n in range(20)]
                plan = sync.plan_sync(*KEY, "u", fingerprint="f", listing=listing, token=token)
                done = [Ready(item.document_id, item.generation, 1) for item in plan.work]
                sync.settle(*KEY, done, collection=plan.collection)
                sync.publish(*KEY, "u", collection=plan.collection)
                sync.garbage_done(*KEY, [piece.id for piece in sync.garbage(*KEY)])

        at_once([upload_and_delete("a"), upload_and_delete("b"), run_syncs])
        counts = sync.counts(*KEY)
        assert counts.indexed == 20
        assert counts.failed == 0


def test_what_two_wrote_at_once_is_written_once_more(url: str) -> None:
    answer = Response("r1", "t", "m", "why?", "so", created_at=datetime.now(UTC))
    with Ledger(url) as ledger:
        at_once([lambda: ledger.log_response(answer)] * 8)
        assert len(ledger.responses("t")) == 1


def test_a_deadlock_is_run_again(url: str) -> None:
    """Two transactions that lock two rows in opposite orders: one is chosen, and run again."""
    engine = connect(url)
    with engine.begin() as connection:
        for name in ("a", "b"):
            connection.execute(
                text(
                    "INSERT INTO indexes (tenant, name, uid, tearing_down, next_generation,"
                    " touches, listing, revision) VALUES (:name, :name, '', false, 1, 0, 0, 0)"
                ),
                {"name": name},
            )
    both_hold_one = threading.Barrier(2)
    tries = []

    def lock(order: str) -> Callable[[], object]:
        @transaction
        def run() -> None:
            tries.append(order)
            with errors(), engine.begin() as connection:
                for number, name in enumerate(order):
                    connection.execute(
                        text("UPDATE indexes SET touches = touches + 1 WHERE name = :name"),
                        {"name": name},
                    )
                    if number == 0 and len(tries) <= 2:
                        both_hold_one.wait(60)

        return run

    at_once([lock("ab"), lock("ba")])
    assert len(tries) == 3
    with engine.connect() as connection:
        assert list(connection.scalars(text("SELECT touches FROM indexes"))) == [2, 2]
    engine.dispose()


def test_a_conflict_that_stays_is_transient() -> None:
    tries = []

    @transaction
    def never() -> None:
        tries.append(1)
        raise LedgerConflict("in the way")

    with pytest.raises(LedgerConflict) as caught:
        never()
    assert caught.value.transient
    assert len(tries) == 5


def test_text_of_people_is_kept_as_far_as_a_database_can(ledger: Ledger) -> None:
    odd = "nul \0 and half \ud83d a pair"
    ledger.log_response(Response("r", "t", odd, odd, odd, passages=[{"text": odd}]))
    ledger.add_feedback(Feedback("r", "t", 1, odd, odd))
    (kept,) = ledger.responses("t")
    assert kept.question == "nul \ufffd and half ? a pair"
    ledger.register_upload(*KEY, listed("z"))
    for path in ("a", "B", "ä", "Z", "-"):
        ledger.register_upload(*KEY, listed(path))
    paths = [one.path for one in ledger.documents(*KEY).documents]
    assert paths == sorted(paths) == ["-", "B", "Z", "a", "z", "ä"]


def test_urls_that_are_not_offered_are_refused_without_being_shown() -> None:
    for bad in ("mysql://u:secret@h/d", "secret", "postgresql+asyncpg://u:secret@h/d"):
        with pytest.raises(UnsupportedUrl) as caught:
            Ledger(bad)
        assert "secret" not in str(caught.value)


class TestOutages:
    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        with temporary_postgres() as own:
            yield own

    def test_a_restart_in_mid_use_is_transient_and_passes(self, server: PostgresServer) -> None:
        url = server.new_database()
        upgrade(url)
        with Ledger(url) as ledger:
            ledger.register_upload(*KEY, listed("a"))
            server.kill()
            for call in (lambda: ledger.counts(*KEY), lambda: ledger.begin_listing(*KEY, "u")):
                with pytest.raises(LedgerUnavailable) as caught:
                    call()
                assert caught.value.transient
            server.start()
            assert ledger.counts(*KEY).pending == 1
            assert ledger.begin_listing(*KEY, "u") == 2

    def test_a_server_that_became_read_only_is_left(self, server: PostgresServer) -> None:
        url = server.new_database()
        upgrade(url)
        name = url.rsplit("/", 1)[1]
        server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with Ledger(url) as ledger:
            with pytest.raises(LedgerUnavailable, match="read-only"):
                ledger.begin_listing(*KEY, "u")
            # What the next connection reaches is the new primary.
            server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
            assert ledger.begin_listing(*KEY, "u") == 1

    def test_a_missing_database_is_not_taken_for_a_missing_table(
        self, server: PostgresServer
    ) -> None:
        with Ledger(server.url("none")) as ledger, pytest.raises(LedgerUnavailable):
            ledger.counts(*KEY)


def test_a_migration_waits_for_another(postgres: PostgresServer, url: str) -> None:
    """Whoever comes second waits, and finds nothing left to do."""
    del postgres
    address = url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(address) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (0x6E657875,))
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(upgrade, url)
            with psycopg.connect(address, autocommit=True) as watcher:
                asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while watcher.execute(asked).fetchone() != (1,):
                    assert not waiting.done()
            other.rollback()
            waiting.result(120)

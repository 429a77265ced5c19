"""Champions: who may move them, that moves survive kills, and that movers do not cross."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from registry_world import Counted, Killed, aliases, asked

from nexus_registry import (
    Champions,
    Connection,
    MoveConflict,
    MoveNotAllowed,
    NotFound,
    NothingToRollBackTo,
    Outcome,
    Refused,
    Version,
    Versions,
)

Register = Callable[..., Version]


def test_promoting_makes_the_old_champion_the_previous_one(
    champions: Champions, versions: Versions, connection: Connection, model: str, register: Register
) -> None:
    register(1)
    register(2)
    versions.challenge(model, "2")
    first = champions.promote(model, "1", asked(request="a"))
    assert (first.champion.number, first.previous, first.moved) == ("1", None, True)
    assert aliases(connection, model) == {"champion": "1", "challenger": "2"}

    second = champions.promote(model, "2", asked(request="b"))
    assert (second.champion.number, second.previous, second.moved) == ("2", "1", True)
    assert second.champion.source == f"s3://nexus-models/{model}/2"
    assert aliases(connection, model) == {"champion": "2", "previous": "1"}
    trail = [(move.kind, move.before, move.after, move.by) for move in champions.trail(model)]
    assert trail == [("promote", None, "1", "anna"), ("promote", "1", "2", "anna")]
    assert "by anna: tests" in versions.version(model, "2").tags["nexus.promoted"]


def test_a_second_rollback_goes_one_further_back_never_to_the_bad_version(
    champions: Champions, connection: Connection, model: str, register: Register
) -> None:
    for number in (1, 2, 3):
        register(number)
        champions.promote(model, str(number), asked(request=f"up-{number}"))
    once = champions.roll_back(model, asked(request="down-1"))
    assert (once.champion.number, once.previous) == ("2", "1")
    assert aliases(connection, model) == {"champion": "2", "previous": "1"}
    twice = champions.roll_back(model, asked(request="down-2"))
    assert (twice.champion.number, twice.previous) == ("1", None)
    assert aliases(connection, model) == {"champion": "1"}
    with pytest.raises(NothingToRollBackTo, match="no earlier champion"):
        champions.roll_back(model, asked(request="down-3"))


def test_the_same_request_moves_once_however_often_it_comes(
    champions: Champions, model: str, register: Register
) -> None:
    for number in (1, 2, 3):
        register(number)
        champions.promote(model, str(number), asked(request=f"up-{number}"))
    champions.roll_back(model, asked(request="down"))
    again = champions.roll_back(model, asked(request="down"))
    assert (again.champion.number, again.moved) == ("2", False)
    # A promotion that is repeated after the rollback does not bring the bad version back.
    late = champions.promote(model, "3", asked(request="up-3"))
    assert (late.champion.number, late.moved) == ("2", False)
    assert len(champions.trail(model)) == 4


def test_the_gate_needs_a_verdict_that_still_holds(
    champions: Champions, model: str, register: Register
) -> None:
    register(1, nexus_verdict="AskPerson", nexus_challenged="")
    register(2, nexus_verdict="Promote", nexus_challenged="")
    register(3, nexus_verdict="Promote", nexus_challenged="")
    with pytest.raises(MoveNotAllowed, match="its verdict is AskPerson"):
        champions.promote(model, "1", asked(by="gate", request="a"))
    assert champions.promote(model, "2", asked(by="gate", request="b")).moved
    with pytest.raises(MoveNotAllowed, match=r"compared with champion \(none\).* is now 2"):
        champions.promote(model, "3", asked(by="gate", request="c"))
    champions.promote(model, "3", asked(by="anna", request="d"))
    with pytest.raises(MoveNotAllowed, match="name the person"):
        champions.roll_back(model, asked(by="gate", request="e"))
    champions.roll_back(model, asked(by="anna", request="f"))
    with pytest.raises(MoveNotAllowed, match="rolled back: only a person"):
        champions.promote(model, "3", asked(by="gate", request="g"))
    assert champions.promote(model, "3", asked(by="anna", request="h")).moved
    assert champions.releases(model).champion == "3"


def test_what_is_not_there_cannot_be_promoted(
    champions: Champions, model: str, register: Register
) -> None:
    with pytest.raises(NotFound):
        champions.promote(model, "1", asked())
    register(1)
    with pytest.raises(NotFound, match="version 7"):
        champions.promote(model, "7", asked())
    with pytest.raises(NothingToRollBackTo, match="no champion yet"):
        champions.roll_back(model, asked())
    assert champions.releases(model).champion is None


def test_a_rollback_passes_over_versions_that_were_deleted(
    champions: Champions, connection: Connection, model: str, register: Register
) -> None:
    for number in (1, 2, 3):
        register(number)
        champions.promote(model, str(number), asked(request=f"up-{number}"))
    connection.call("delete", lambda client: client.delete_model_version(model, "2"))
    assert champions.roll_back(model, asked(request="down")).champion.number == "1"


def test_aliases_moved_by_hand_are_put_right_by_the_next_move(
    champions: Champions, connection: Connection, model: str, register: Register
) -> None:
    for number in (1, 2, 3):
        register(number)
        champions.promote(model, str(number), asked(request=f"up-{number}"))
    connection.call("x", lambda client: client.set_registered_model_alias(model, "champion", "1"))
    champions.roll_back(model, asked(request="down"))
    assert aliases(connection, model) == {"champion": "2", "previous": "1"}


def test_a_record_that_was_spoilt_by_hand_is_refused(
    champions: Champions, connection: Connection, model: str, register: Register
) -> None:
    register(1)
    connection.call("x", lambda c: c.set_registered_model_tag(model, "nexus.releases", "[]"))
    with pytest.raises(Refused, match="changed it by hand"):
        champions.promote(model, "1", asked())


@pytest.mark.parametrize("kind", ["promote", "rollback"])
def test_killed_between_any_two_calls_a_move_is_finished_by_its_next_attempt(
    kind: str, url: str, model: str, register: Register
) -> None:
    champions = Champions(Connection(url))
    register(1)
    champions.promote(model, "1", asked(request="first"))
    died, dies_at = True, 0
    while died:
        number, before = register(dies_at + 2).number, champions.releases(model)
        if kind == "rollback":
            champions.promote(model, number, asked(request=f"up-{dies_at}"))
        move = partial(_move, kind, model, number, f"{kind}-{dies_at}")
        died = _dies(url, dies_at, move)
        move(Connection(url))
        after, trail = champions.releases(model), champions.trail(model)
        assert after.champion == (number if kind == "promote" else before.champion)
        assert [one.number for one in trail] == list(range(1, len(trail) + 1))
        assert [one.request for one in trail].count(f"{kind}-{dies_at}") == 1
        wanted = {"champion": after.champion, "previous": after.previous}
        assert aliases(Connection(url), model) == {k: v for k, v in wanted.items() if v}
        dies_at += 1
    assert dies_at > 8  # it was killed before each of its calls


def _move(kind: str, model: str, number: str, request: str, connection: Connection) -> Outcome:
    champions = Champions(connection)
    if kind == "promote":
        return champions.promote(model, number, asked(request=request))
    return champions.roll_back(model, asked(request=request))


def _dies(url: str, dies_at: int, move: Callable[[Connection], Outcome]) -> bool:
    """Kill a move before its call of this number; False when it had ended by then."""
    connection = Counted(url)
    connection.dies_at = dies_at
    try:
        move(connection)
    except Killed:
        return True
    return False


def test_movers_at_the_same_time_move_one_after_another_or_say_so(
    url: str, model: str, register: Register
) -> None:
    for number in range(1, 5):
        register(number)
    start, done, refused = threading.Barrier(4), [], []

    def mover(number: int) -> None:
        champions = Champions(Connection(url), sleep=lambda _: None)
        start.wait()
        try:
            done.append(champions.promote(model, str(number), asked(request=f"up-{number}")))
        except MoveConflict:
            refused.append(number)

    movers = [threading.Thread(target=mover, args=(number,)) for number in range(1, 5)]
    for one in movers:
        one.start()
    for one in movers:
        one.join()
    champions = Champions(Connection(url))
    for number in refused:
        champions.promote(model, str(number), asked(request=f"up-{number}"))
    releases, trail = champions.releases(model), champions.trail(model)
    assert len(done) + len(refused) == 4
    assert [move.number for move in trail] == [1, 2, 3, 4]
    assert [move.after for move in trail] == list(releases.champions)
    # Each move began where the one before had ended: none was lost.
    assert [move.before for move in trail] == [None, *releases.champions[:-1]]


def test_a_claim_of_a_mover_that_died_holds_others_up_for_minutes_only(
    url: str, model: str, register: Register
) -> None:
    register(1)
    dying = Counted(url)
    dying.dies_at = 3  # its claim is written
    with pytest.raises(Killed):
        Champions(dying).promote(model, "1", asked(by="bert", request="died"))
    with pytest.raises(MoveConflict, match=r"asked for by bert \(died\)"):
        Champions(Connection(url), sleep=lambda _: None).promote(model, "1", asked(request="new"))
    later = datetime.now(UTC) + timedelta(minutes=6)
    assert Champions(Connection(url), now=lambda: later).promote(model, "1", asked()).moved


@pytest.mark.parametrize("text", ["", "[]", '{"until": 3}', '{"until": "2026-11-21T12:00:00"}'])
def test_a_claim_that_somebody_wrote_by_hand_holds_nobody_up(
    text: str, champions: Champions, connection: Connection, model: str, register: Register
) -> None:
    register(1)
    connection.call("x", lambda c: c.set_registered_model_tag(model, "nexus.moving.x", text))
    assert champions.promote(model, "1", asked()).moved
    tags = connection.call("read", lambda client: client.get_registered_model(model)).tags
    assert "nexus.moving.x" not in tags

"""The rules by which champions move, over every sequence of moves."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_registry import (
    CHALLENGED_TAG,
    GATE,
    VERDICT_TAG,
    Asked,
    MoveNotAllowed,
    NothingToRollBackTo,
    Refused,
    Releases,
)
from nexus_registry.releases import promoted, rolled_back

NOW = datetime(2026, 11, 21, tzinfo=UTC)
VERSIONS = tuple("12345")
MOVES = st.lists(st.sampled_from([*VERSIONS, "back"]), max_size=30)


def asked(by: str = "anna", owner: str = "") -> Asked:
    return Asked(request="r", by=by, why="tests", at=NOW, owner=owner)


def after(moves: list[str]) -> list[Releases]:
    """Return the releases after each move that was possible."""
    seen = [Releases()]
    for move in moves:
        if move != "back":
            seen.append(promoted(seen[-1], move, asked(), {}))
        elif seen[-1].previous is not None:
            seen.append(rolled_back(seen[-1], asked(), VERSIONS))
    return seen


@given(MOVES)
def test_a_version_lies_on_the_stack_once_and_the_champion_on_top(moves: list[str]) -> None:
    for releases in after(moves):
        assert len(set(releases.champions)) == len(releases.champions)
        assert not set(releases.champions) & set(releases.withdrawn)
        assert releases.previous != releases.champion or releases.champion is None
        assert Releases.read(releases.text()) == releases


@given(MOVES)
def test_rollbacks_in_a_row_never_come_back_to_a_version_that_was_left(moves: list[str]) -> None:
    releases, left = after(moves)[-1], set[str]()
    while releases.previous is not None:
        assert releases.champion is not None
        left.add(releases.champion)
        releases = rolled_back(releases, asked(), VERSIONS)
        assert releases.champion not in left
    with pytest.raises(NothingToRollBackTo):
        rolled_back(releases, asked(), VERSIONS)


@given(MOVES, st.sampled_from(VERSIONS))
def test_a_rollback_undoes_the_promotion_before_it(moves: list[str], version: str) -> None:
    before = after(moves)[-1]
    if before.champion is None or version in before.champions:
        return
    undone = rolled_back(promoted(before, version, asked(), {}), asked(), VERSIONS)
    assert undone.champions == before.champions


@given(MOVES)
def test_moves_are_numbered_and_each_begins_where_the_last_ended(moves: list[str]) -> None:
    made = [one.last for one in after(moves) if one.last is not None]
    numbers = [move.number for move in dict.fromkeys(made)]
    assert numbers == list(range(1, len(numbers) + 1))
    seen = after(moves)
    for one, following in pairwise(seen):
        assert following.last is not None
        if following != one:
            assert (following.last.before, following.last.after) == (
                one.champion,
                following.champion,
            )


@given(MOVES, st.sampled_from(VERSIONS), st.sampled_from(["Promote", "AskPerson", "Reject", ""]))
def test_the_gate_promotes_only_what_it_judged_against_this_champion(
    moves: list[str], version: str, verdict: str
) -> None:
    now = after(moves)[-1]
    for challenged in (*VERSIONS, ""):
        tags = {VERDICT_TAG: verdict, CHALLENGED_TAG: challenged}
        try:
            then = promoted(now, version, asked(GATE), tags)
        except MoveNotAllowed:
            continue
        assert then == now or (
            verdict == "Promote"
            and challenged == (now.champion or "")
            and version not in now.withdrawn
        )


@given(MOVES, MOVES)
def test_who_comes_after_a_job_of_the_name_never_rolls_back_to_what_was_its(
    former: list[str], own: list[str]
) -> None:
    releases = Releases()
    for version in former:
        if version != "back":
            releases = promoted(releases, version, asked(owner="first"), {})
    assert releases.of("first") == releases
    assert releases.of("second").champion is None
    if releases.champions:
        with pytest.raises(NothingToRollBackTo, match="no champion yet"):
            rolled_back(releases, asked(owner="second"), VERSIONS)
    promoted_here = set[str]()
    for move in own:
        if move != "back":
            releases = promoted(releases, move, asked(owner="second"), {})
            promoted_here.add(move)
        elif releases.of("second").previous is not None:
            releases = rolled_back(releases, asked(owner="second"), VERSIONS)
        assert set(releases.of("second").champions) <= promoted_here


def test_the_gate_of_a_new_job_judges_against_no_champion_of_a_former_one() -> None:
    releases = promoted(Releases(), "1", asked(owner="first"), {})
    against_none = {VERDICT_TAG: "Promote", CHALLENGED_TAG: ""}
    then = promoted(releases, "2", asked(GATE, "second"), against_none)
    assert (then.champions, then.last and then.last.number) == (("2",), 2)
    assert then.last is not None
    assert (then.last.before, then.last.after) == ("1", "2")
    with pytest.raises(MoveNotAllowed, match="compared with champion 1"):
        promoted(releases, "2", asked(GATE, "second"), {**against_none, CHALLENGED_TAG: "1"})


def test_champions_of_a_record_without_an_owner_are_whose_job_asks_first() -> None:
    former = promoted(promoted(Releases(), "1", asked(), {}), "2", asked(), {})
    assert former.of("first").champions == ("1", "2")
    assert rolled_back(former, asked(owner="first"), VERSIONS).of("second").champions == ()


def test_a_person_may_name_a_version_of_a_former_job() -> None:
    releases = promoted(Releases(), "1", asked(owner="first"), {})
    then = promoted(releases, "1", asked(owner="second"), {})
    assert (then.owner, then.champions) == ("second", ("1",))


def test_fifty_champions_are_remembered() -> None:
    releases = Releases()
    for number in range(1, 61):
        releases = promoted(releases, str(number), asked(), {})
    assert releases.champions == tuple(str(number) for number in range(11, 61))


@pytest.mark.parametrize("by", ["", "  ", "an\nna", "x" * 129, "\x1b[31m"])
def test_a_name_that_says_nothing_is_refused(by: str) -> None:
    with pytest.raises(MoveNotAllowed, match="names nobody"):
        asked(by)


@pytest.mark.parametrize("text", ["", "[]", '{"champions": 1}', '{"last": {}}'])
def test_a_record_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="changed it by hand"):
        Releases.read(text)

"""Which passages an answer rests on."""

from __future__ import annotations

from gateway_scripted import hit
from hypothesis import given
from hypothesis import strategies as st

from nexus_gateway.chat.citations import cite
from nexus_knowledge.prompting.prompt import Passage
from nexus_knowledge.prompting.support import supports

PUMP = "The standby pump is test-run for fifteen minutes every Monday at 06:00."
FILTER = "A sand filter is backwashed when its head loss reaches 1.8 metres."
TANK = "The clear water tank holds 3,200 cubic metres."


def test_each_sentence_has_its_own_passage() -> None:
    answer = "The tank holds 3,200 cubic metres. The pump runs every Monday at 06:00."
    first, second = supports(answer, [PUMP, FILTER, TANK])
    assert answer[first.start : first.end] == "The tank holds 3,200 cubic metres."
    assert first.passages[0] == 2
    assert second.passages[0] == 0


def test_a_wrong_number_weighs_against_a_passage() -> None:
    right = "It opens at 1.8 metres"
    passages = [FILTER, FILTER.replace("1.8", "2.4")]
    assert supports(right, passages)[0].passages[0] == 0
    assert supports("It opens at 2.4 metres", passages)[0].passages[0] == 1


def test_decimal_points_do_not_end_a_sentence() -> None:
    (support,) = supports("The head loss reaches 1.8 metres.", [FILTER])
    assert (support.start, support.end) == (0, 33)


def test_other_scripts_are_compared_too() -> None:
    (support,) = supports("泵在星期一测试。", ["泵在星期一测试", FILTER])
    assert support.passages == (0,)
    (accents,) = supports("Die Pumpe läuft täglich.", ["Die Pumpe lauft taglich", FILTER])
    assert accents.passages == (0,)


def test_best_ranked_passage_is_cited_when_none_clearly_supports() -> None:
    passages = [Passage(1, hit(PUMP), PUMP), Passage(2, hit(TANK, 2), TANK)]
    citations, annotations = cite("I am not sure.", passages, "handbook")
    assert [c["number"] for c in citations] == [1]
    assert annotations[0]["url_citation"]["end_index"] == len("I am not sure.")


def test_empty_answer_cites_nothing() -> None:
    assert cite("  ", [Passage(1, hit(PUMP), PUMP)], "handbook") == ([], [])


@given(st.text(max_size=300), st.lists(st.text(max_size=100), max_size=4))
def test_spans_lie_in_the_answer_in_order(answer: str, passages: list[str]) -> None:
    last = 0
    for support in supports(answer, passages):
        assert last <= support.start < support.end <= len(answer)
        assert all(0 <= n < len(passages) for n in support.passages)
        last = support.end

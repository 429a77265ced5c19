"""Waiting ends with the first answer that says yes, or says what did not come."""

import pytest
from waiting import eventually


def test_the_first_answer_that_says_yes_is_returned() -> None:
    answers = iter([0, "", [], "there", "later"])
    assert eventually(lambda: next(answers), what="a word", pause=0) == "there"
    assert next(answers) == "later"


def test_what_did_not_come_is_named_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"^not within 0 s: a word; last saw ''$"):
        eventually(str, what="a word", seconds=0, pause=0)

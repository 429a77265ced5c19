"""The profile of the data that a run would learn from."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_pipelines.finetune.select.examples import Example, Message, Origin, Source
from nexus_pipelines.finetune.validate.profile import (
    MESSAGE_TOKENS,
    NAMED,
    Labelled,
    Length,
    Part,
    Profile,
    profile,
)

NOTHING: dict[str, Any] = {"dropped": {}, "redacted": {"examples": 0, "places": {}}}


def by_word(text: str) -> int:
    return len(text.split())


def example(
    answer: str, question: str = "Why?", *, source: Source = Source.FILES, **told: Any
) -> Example:
    return Example(
        messages=(Message("user", question), Message("assistant", answer)),
        source=source,
        origin=Origin("object", "key", "etag", 1),
        question=question,
        **told,
    )


def of(
    train: Sequence[Example], heldout: Sequence[Example] = (), *, length: Length | None = None
) -> Profile:
    return profile(train, heldout, NOTHING, length or Length(tokens=256))


def figures(found: Profile) -> dict[str, int]:
    return dict(found.figures())


EXAMPLES = st.lists(
    st.builds(
        example,
        st.text("ab ", min_size=1, max_size=40),
        st.text("ab ", min_size=1, max_size=40),
        source=st.sampled_from(Source),
        language=st.sampled_from(["", "en", "de", "pt-BR"]),
        topic=st.text("xyz", max_size=3),
    ),
    max_size=60,
)


def check_part(part: Part, given_: Sequence[Example], length: Length) -> None:
    assert part.examples == len(given_) == sum(part.sources.values())
    for labelled in (part.languages, part.topics):
        assert sum(labelled.named.values()) + labelled.others + labelled.untold == len(given_)
        assert len(labelled.named) <= NAMED
    assert part.topics.untold == sum(one.topic == "" for one in given_)
    assert part.languages.named.get("de", 0) == sum(one.language == "de" for one in given_)
    sizes = [length.measured(one) for one in given_]
    assert part.too_long == sum(whole > length.limit for whole, _ in sizes)
    for lengths, theirs in (
        (part.lengths, [whole for whole, _ in sizes]),
        (part.answer_lengths, [answer for _, answer in sizes]),
    ):
        if lengths is None:
            assert not theirs
            continue
        for percent, figure in ((50, lengths.median), (95, lengths.p95), (100, lengths.longest)):
            # The smallest length that so many of the examples do not exceed.
            assert figure in theirs
            assert 100 * sum(one <= figure for one in theirs) >= percent * len(theirs)
            assert 100 * sum(one < figure for one in theirs) < percent * len(theirs)


@given(EXAMPLES, EXAMPLES, st.integers(1, 30), st.sampled_from([None, by_word]), st.randoms())
def test_every_example_is_counted_once_under_each_heading(
    train: list[Example],
    heldout: list[Example],
    tokens: int,
    count: Callable[[str], int] | None,
    random: Any,
) -> None:
    length = Length(tokens, count)
    found = of(train, heldout, length=length)
    check_part(found.train, train, length)
    check_part(found.heldout, heldout, length)
    shuffled = random.sample(train, len(train))
    assert of(shuffled, heldout, length=length).model_dump_json() == found.model_dump_json()
    assert Profile.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_lengths_are_of_whole_conversations_and_of_the_answer_which_is_learnt() -> None:
    one = example("It is worn.", "Why does it leak?")
    assert Length(tokens=9).measured(one) == (28, 11)
    assert Length(tokens=9).limit == 36
    counted = Length(tokens=9, count=by_word)
    assert counted.measured(one) == (7 + 2 * MESSAGE_TOKENS, 3)
    assert counted.limit == 9


def test_a_single_long_example_shows_as_the_longest_alone() -> None:
    examples = [example("x" * 10) for _ in range(99)] + [example("x" * 2000)]
    part = of(examples).train
    assert part.answer_lengths is not None
    assert tuple(value for _, value in part.answer_lengths) == (10, 10, 2000)
    assert part.too_long == 1


def test_what_teaches_an_insult_is_counted_by_what_the_assistant_says() -> None:
    angry = example("Sorry to hear.", "You idiot, why?")
    assert of([angry, example("You idiot.")]).train.toxic == 1


def test_the_commonest_labels_are_named_and_rare_ones_summed_up() -> None:
    topics = ["seals"] * 3 + [f"t{number:02}" for number in range(NAMED + 4)] + [""]
    found = of([example("x", topic=topic) for topic in topics]).train.topics
    assert next(iter(found.named.items())) == ("seals", 3)
    assert len(found.named) == NAMED
    assert (found.others, found.untold) == (5, 1)


def test_a_language_that_is_called_others_is_not_taken_for_the_rest() -> None:
    tags = {**Counter({f"l{chr(97 + one)}": 2 for one in range(NAMED - 1)}), "others": 3, "zz": 1}
    found = of([example("x", language=tag) for tag, n in tags.items() for _ in range(n)])
    assert found.train.languages.named["others"] == 3
    assert dict(found.rows())["languages"].endswith("others 1")
    assert dict(found.rows())["languages"].startswith("others 3, ")


def test_what_was_left_out_and_redacted_is_what_select_said() -> None:
    told = {
        "dropped": {"Duplicate": 4, "NearDuplicate": 3, "RoleTokens": 2},
        "redacted": {"examples": 2, "places": {"email": 3}},
    }
    found = profile([example("x")], [], told, Length(tokens=64))
    assert (found.duplicates, found.redacted, found.redactions) == (7, 2, {"email": 3})


@pytest.mark.parametrize(("count", "unit"), [(None, "characters"), (by_word, "tokens")])
def test_figures_name_their_unit(count: Callable[[str], int] | None, unit: str) -> None:
    names = figures(of([example("It is.", language="de")], length=Length(64, count)))
    ranks = [name for name in names if "p95" in name]
    assert ranks == [
        f"data.{unit}.p95",
        f"data.answer.{unit}.p95",
    ]
    assert names["data.languages.de"] == names["data.sources.files"] == names["data.examples"] == 1


def test_of_nothing_there_is_no_length() -> None:
    nothing = of([])
    assert nothing.train.lengths is nothing.train.answer_lengths is None
    assert nothing.train.languages == Labelled(named={}, others=0, untold=0)
    assert dict(nothing.rows())["languages"] == "none"
    assert figures(nothing)["data.examples"] == 0


def test_topics_are_not_told_where_they_would_outlive_the_examples() -> None:
    found = of([example("x", topic="Ms Miller's pump")])
    assert "Miller" in found.model_dump_json()
    assert "Miller" not in str([*found.rows(), *found.figures()])

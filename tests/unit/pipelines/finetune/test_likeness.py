"""When two texts say the same, and what language they are in."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_evaluation.language import language_of
from nexus_pipelines.finetune.select.likeness import (
    NEAR,
    NearIndex,
    jaccard,
    normalised,
    particulars,
    shingles,
)

WORDS = [f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in "klmnrst"]


def sentence(chance: random.Random, count: int) -> list[str]:
    return chance.choices(WORDS, k=count)


HIDDEN = ["\u00ad", "\u200b", "\u200d", "\u2060", "\ufeff", "\u202e", "\ufe0f", "\u034f", "\u3164",
          "\U000e0041", "\U000e0100"]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_what_nobody_sees_makes_no_other_text(hidden: str) -> None:
    """A golden question with a soft hyphen in each word would be learnt and then asked."""
    plain = "Which valve closes when the Orion pump is over 90 degrees?"
    tricked = hidden.join(plain)
    assert normalised(tricked) == normalised(plain)
    assert particulars(tricked) == particulars(plain)


def test_nearly_all_pairs_above_the_limit_are_found_and_none_below() -> None:
    chance = random.Random(7)
    found = near = 0
    for _ in range(400):
        words = sentence(chance, 60)
        other = list(words)
        for _ in range(chance.randint(1, 6)):
            other[chance.randrange(60)] = chance.choice(WORDS)
        index = NearIndex()
        index.add(" ".join(words))
        likeness = jaccard(shingles(" ".join(words)), shingles(" ".join(other)))
        hit = bool(index.near(" ".join(other)))
        assert not hit or likeness >= NEAR
        near += likeness >= NEAR
        found += hit
    assert near > 100
    assert found / near > 0.93


def test_the_first_of_several_is_named_first_and_only_it_is_added() -> None:
    index = NearIndex()
    text = " ".join(sentence(random.Random(1), 40))
    assert index.add_unless_near(text)
    assert not index.add_unless_near(text.upper().capitalize())
    assert index.add("quite another text than that") == 1
    assert index.near(text) == [0]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_every_text_is_near_to_itself(text: str) -> None:
    index = NearIndex()
    index.add(text)
    assert index.near(text) == [0]
    assert normalised(normalised(text)) == normalised(text)


def test_numbers_and_names_tell_texts_of_one_pattern_apart() -> None:
    assert particulars("The pump P-17 has 4.5 bar. Ask Miller: She knows.") == {
        "p-17", "4.5", "miller"
    }  # fmt: skip


def test_scripts_without_spaces_count_by_character() -> None:
    assert len(shingles("水泵压力是四巴")) == 5


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("How often is the seal of the pump replaced?", "en"),
        ("Wie oft wird die Dichtung der Pumpe gewechselt?", "de"),
        ("Combien de fois faut-il changer le joint de la pompe ?", "fr"),
        ("¿Con qué frecuencia se cambia el sello de la bomba?", "es"),
        ("Ogni quanto si cambia la guarnizione della pompa?", "it"),
        ("Hoe vaak wordt de afdichting van de pomp vervangen?", "nl"),
        ("Com que frequência o selo da bomba é trocado?", "pt"),
        ("Как часто меняют уплотнение насоса?", "ru"),
        ("水泵的密封多久更换一次?", "zh"),
        ("ポンプのシールはどのくらいの頻度で交換しますか", "ja"),
        ("P-17: 4 bar", ""),
        ("", ""),
        ("Check fuse 7.", ""),
    ],
)
def test_languages_are_told_or_left_open(text: str, tag: str) -> None:
    assert language_of(text) == tag

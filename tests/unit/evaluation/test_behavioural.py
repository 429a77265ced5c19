"""Changes whose effect is known: what must stay, what must follow, and how answers are judged."""

from hypothesis import given
from hypothesis import strategies as st

from nexus_evaluation.behavioural import judge, perturb
from nexus_evaluation.golden import Context, GoldenItem
from nexus_evaluation.metrics.overlap import token_f1

PUMP = GoldenItem(
    id="pump",
    question="What temperature should the Orion pump never exceed?",
    references=("90 degrees", "at most 90 degrees"),
    contexts=(
        Context(document="a", text="The Orion pump stays below 90 degrees. It has 3 valves."),
        Context(document="b", text="Pumps are blue."),
    ),
    language="en",
)


def score(answer: str, item: GoldenItem) -> float:
    return token_f1(answer, item.references, item.language)


def changed(name: str, seed: int = 0) -> GoldenItem:
    (found,) = [one.item for one in perturb([PUMP], seed=seed) if one.name == name]
    return found


def test_each_change_is_what_its_name_says() -> None:
    assert changed("lower-case").question == "what temperature should the orion pump never exceed?"
    assert changed("no-question-mark").question == PUMP.question[:-1]
    assert changed("spaces").question.split() == PUMP.question.split()
    assert changed("courtesy").question == f"Please tell me: {PUMP.question}"
    assert changed("passages-reordered").contexts == PUMP.contexts[::-1]


def test_a_changed_number_changes_passages_and_references_alike() -> None:
    item = changed("another-number")
    number = item.references[0].split()[0]
    assert number != "90"
    assert item.references == (f"{number} degrees", f"at most {number} degrees")
    assert item.contexts[0].text == (
        f"The Orion pump stays below {number} degrees. It has 3 valves."
    )
    assert item.question == PUMP.question


@given(st.integers(0, 10_000))
def test_typos_leave_names_numbers_and_most_of_the_words(seed: int) -> None:
    item = changed("typos", seed)
    assert item.question != PUMP.question
    assert "Orion" in item.question
    before, after = PUMP.question.split(), item.question.split()
    assert len(before) == len(after)
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert 1 <= len(differing) <= 2
    assert all(abs(len(old) - len(new)) <= 1 for old, new in differing)


@given(st.integers(0, 100), st.integers(1, 5))
def test_changes_depend_on_seed_and_item_alone(seed: int, others: int) -> None:
    more = [PUMP.model_copy(update={"id": f"other{at}"}) for at in range(others)]
    alone = perturb([PUMP], seed=seed)
    among = [one for one in perturb([*more, PUMP], seed=seed) if one.origin == "pump"]
    assert tuple(among) == alone


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=20))
def test_any_item_can_be_changed(question: str, reference: str) -> None:
    item = GoldenItem(id="a", question=question, references=(reference,))
    for one in perturb([item]):
        assert one.item.question.strip()
        assert one.item.id == f"a~{one.name}"


def test_a_steady_model_that_reads_passes_everything() -> None:
    found = perturb([PUMP])
    answers = {one.item.id: one.item.references[0] for one in found} | {"pump": "90 degrees"}
    behaviours = judge(found, {"pump": PUMP}, answers, score)
    assert {one.name: one.share for one in behaviours} == {one.name: 1.0 for one in found}
    assert all(one.lower < 1.0 == one.upper for one in behaviours)


def test_a_model_that_answers_from_memory_fails_the_direction() -> None:
    found = perturb([PUMP])
    answers = {one.item.id: "90 degrees" for one in found} | {"pump": "90 degrees"}
    behaviours = {one.name: one for one in judge(found, {"pump": PUMP}, answers, score)}
    assert behaviours["another-number"].failed == ("pump~another-number",)
    assert behaviours["typos"].passed == 1


def test_a_model_that_stumbles_over_typos_fails_them() -> None:
    found = perturb([PUMP])
    answers = {one.item.id: one.item.references[0] for one in found} | {"pump": "90 degrees"}
    answers["pump~typos"] = "I do not understand."
    behaviours = {one.name: one for one in judge(found, {"pump": PUMP}, answers, score)}
    assert (behaviours["typos"].passed, behaviours["lower-case"].passed) == (0, 1)


def test_what_was_not_answered_failed() -> None:
    found = perturb([PUMP])
    assert all(one.passed == 0 for one in judge(found, {"pump": PUMP}, {}, score))

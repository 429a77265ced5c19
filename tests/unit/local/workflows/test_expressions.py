"""`when`, `depends` and references: what they read and what they refuse."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.workflows import conditions
from nexus_local.workflows.depends import read_depends
from nexus_local.workflows.durations import parse_duration
from nexus_local.workflows.errors import BadExpression, Unresolved, WorkflowError
from nexus_local.workflows.items import branches, parse_items
from nexus_local.workflows.substitution import fill


@pytest.mark.parametrize(
    ("when", "result"),
    [
        ("3 > 0", True),
        ("2.5 <= 2.5 && -1 < 0", True),
        ("pdf == pdf", True),
        ("'a b' == \"a b\"", True),
        ("pdf != docx || 1 > 2", True),
        ("!(true && false)", True),
        ('"5" == 5', False),
        ("b in (a, 'b', c)", True),
        ("3 in (1, 2)", False),
        ("'report.pdf' =~ '[.]pdf$' && 'x' !~ 'y'", True),
        ("apple < banana", True),
    ],
)
def test_conditions(when: str, *, result: bool) -> None:
    assert conditions.holds(when) is result


@pytest.mark.parametrize(
    "when",
    [
        "1 + 1 == 2",
        "a",
        "a.pdf == b",
        "(1 == 1",
        "1 == 1)",
        "'5' > 4",
        "f(1)",
        "a ? b : c",
        "== 1",
        "''",
    ],
)
def test_what_a_condition_may_not_hold(when: str) -> None:
    with pytest.raises(BadExpression, match="when expression"):
        conditions.holds(when)


@given(st.text(alphabet="ab1 &|!()=<>'\"-.,in", max_size=30))
def test_any_text_is_a_condition_or_an_error_that_says_so(when: str) -> None:
    try:
        conditions.holds(when)
    except BadExpression as error:
        message = str(error)
    else:
        message = repr(when)
    assert repr(when) in message


TASKS = st.sampled_from(["a", "b-2", "c3"])
RESULTS = st.sampled_from(["Succeeded", "Failed", "Errored", "Skipped", "Omitted"])


@st.composite
def formulas(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """A depends expression and the same as Python over `t(task, result)`."""
    if depth == 0 or draw(st.booleans()):
        task, result = draw(TASKS), draw(RESULTS)
        return f"{task}.{result}", f"t({task!r},{result!r})"
    left, right = draw(formulas(depth=depth - 1)), draw(formulas(depth=depth - 1))
    match draw(st.sampled_from(["&&", "||", "!"])):
        case "!":
            return f"!({left[0]})", f"(not ({left[1]}))"
        case "&&":
            return f"({left[0]}) && ({right[0]})", f"(({left[1]}) and ({right[1]}))"
        case _:
            return f"({left[0]}||{right[0]})", f"(({left[1]}) or ({right[1]}))"


@given(formulas(), st.dictionaries(TASKS, RESULTS, min_size=3))
def test_depends_evaluates_like_boolean_logic(
    formula: tuple[str, str], ended: dict[str, str]
) -> None:
    text, python = formula
    ended = {task: ended.get(task, "Succeeded") for task in ("a", "b-2", "c3")}
    names = ["Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned"]

    def results(task: str) -> dict[str, bool]:
        return {name: ended[task] == name for name in names}

    wanted = eval(python, {"t": lambda task, result: ended[task] == result})  # noqa: S307
    assert read_depends({"depends": text}).holds(results) is wanted


def test_a_bare_name_in_depends_means_it_went_well_or_was_skipped() -> None:
    depends = read_depends({"dependencies": ["a", "b"]})
    assert depends.tasks == ("a", "b")
    skipped = {"Succeeded": False, "Skipped": True, "Daemoned": False}
    omitted = {"Succeeded": False, "Skipped": False, "Daemoned": False}
    assert depends.holds(lambda _: skipped)
    assert not depends.holds({"a": skipped, "b": omitted}.__getitem__)


@pytest.mark.parametrize("text", ["a.Done", "a &&", "a b", "a == b", "'a'", "a and b.c.d"])
def test_what_depends_may_not_hold(text: str) -> None:
    with pytest.raises(BadExpression, match="depends"):
        read_depends({"depends": text})


def test_references_are_filled_once() -> None:
    values = {"a": "{{b}}", "b": "never"}
    assert fill({"x": ["<{{ a }}>", 3]}, values) == {"x": ["<{{b}}>", 3]}


def test_a_reference_without_a_value_is_an_error_unless_it_may_wait() -> None:
    assert fill("{{item.key}}-{{a}}", {"a": "1"}, keep=("item",)) == "{{item.key}}-1"
    with pytest.raises(Unresolved, match=r"failed to resolve \{\{tasks.x.status\}\}"):
        fill("{{tasks.x.status}}", {})


@given(st.text(), st.text(alphabet=string.ascii_letters, min_size=1))
def test_a_value_is_data_whatever_it_holds(value: str, name: str) -> None:
    assert fill(f"<{{{{{name}}}}}>", {name: value}) == f"<{value}>"


@pytest.mark.parametrize(
    ("item", "name", "value"),
    [
        ("a(b)", "t(0:ab)", "a(b)"),
        (7, "t(0:7)", "7"),
        (True, "t(0:true)", "true"),
        (["x", 1], "t(0:[x 1])", '["x",1]'),
        ({"b": 1, "a": "<x>"}, "t(0:a:<x>,b:1)", '{"a":"\\u003cx\\u003e","b":1}'),
    ],
)
def test_names_and_values_of_items(item: object, name: str, value: str) -> None:
    [branch] = branches("t", [item], {})
    assert branch.name == name
    assert branch.values["item"] == value


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '"a"', "x" * 500])
def test_what_is_no_list_of_items(text: str) -> None:
    with pytest.raises(WorkflowError, match="could not be parsed as a JSON list"):
        parse_items(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("2s", 2), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "s", "5 s", "1d", "2s!"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(WorkflowError, match="is not a duration"):
        parse_duration(text)

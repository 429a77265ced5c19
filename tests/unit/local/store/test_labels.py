"""Label selectors as kubectl writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.store.labels import Selector
from nexus_operator.cluster.errors import Invalid

LABELS = {"app": "gateway", "tier": "web", "llmops.nexus/index": "handbook"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app=gateway", True),
        ("app==gateway,tier=web", True),
        ("app=gateway,tier=db", False),
        ("app!=gateway", False),
        ("missing!=x", True),
        ("app in (gateway, console)", True),
        ("app notin (gateway,console),tier", False),
        ("missing notin (a)", True),
        ("!missing", True),
        ("!app", False),
        ("llmops.nexus/index = handbook , app", True),
    ],
)
def test_text_form(text: str, *, selected: bool) -> None:
    assert Selector.parse(text).matches(LABELS) is selected


@pytest.mark.parametrize("text", ["app=(", "a b", "app in gateway", "=x", "a=b)", "in (a)x"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="label selector"):
        Selector.parse(text)


def test_object_form() -> None:
    expressions = [{"key": "tier", "operator": "NotIn", "values": ["db"]}]
    selector = Selector.of({"matchLabels": {"app": "gateway"}, "matchExpressions": expressions})
    assert selector.matches(LABELS)
    assert not selector.matches({"app": "gateway", "tier": "db"})


words = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.dictionaries(words, words, max_size=4), st.dictionaries(words, words, max_size=4))
def test_equality_is_inclusion(wanted: dict[str, str], labels: dict[str, str]) -> None:
    text = ",".join(f"{key}={value}" for key, value in wanted.items())
    included = all(labels.get(key) == value for key, value in wanted.items())
    assert Selector.parse(text).matches(labels) is included
    assert Selector.equal(wanted).matches(labels) is included

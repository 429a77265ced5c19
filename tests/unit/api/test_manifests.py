"""Reading YAML: one meaning everywhere, errors with their line, and no text that brings it down."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.manifests import LARGEST, BadManifest, load_manifests, resolve

HEAD = "apiVersion: v1\nkind: A\n"


def load(text: str) -> Any:
    (manifest,) = load_manifests(HEAD + text)
    return manifest


def test_documents_are_split_and_empty_ones_skipped() -> None:
    text = f"---\n# nothing\n---\n{HEAD}a: 1\n---\n---\n{HEAD}a: 2\n..."
    assert [manifest["a"] for manifest in load_manifests(text)] == [1, 2]
    assert load_manifests("") == []
    assert load_manifests("# only a comment\n") == []


def test_lists_are_taken_apart() -> None:
    text = '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "B"}]}'
    assert load_manifests(text) == [{"apiVersion": "v1", "kind": "B"}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("~", None),
        ("0x10", 16),
        ("0o17", 15),
        ("010", 8),
        ("08", 8),
        ("1_000", 1000),
        ("5.0", 5),
        ("1e3", 1000),
        ("0.25", 0.25),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("_1", "_1"),
        ("2e-4", 0.0002),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("123456789012345678901234567890", 1.2345678901234568e29),
    ],
)
def test_scalar_means_what_it_means_to_kubernetes(text: str, value: Any) -> None:
    found = load(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("a: 1\nb: [1\nc: 2", 5, "no YAML"),
        ("a: 1\na: 2", 4, 'key "a" already set in map'),
        ("a: {b: &x {c: 1}, <<: *x, d: 2}", 3, ""),
        ("a: &x [*x]", 3, "inside what it names"),
        ("a: !!python/object:os.system x", 3, "does not fit the tag"),
        ("a: .nan", 3, "no number that JSON can write"),
        ("a:\n  ? [b]\n  : c", 4, "a key is text"),
        ("a: {<<: 5}", 3, "map merge requires map"),
        ("\x07", 3, "no YAML"),
        ("---\n- a", 4, "a manifest is a mapping"),
        ("---\na: 1", 4, "apiVersion is not set"),
        ("---\napiVersion: v1", 4, "kind is not set"),
        ("---\napiVersion: v1\nkind: 5", 4, "kind is not set"),
    ],
)
def test_error_names_the_line(text: str, line: int, fragment: str) -> None:
    if not fragment:
        assert load(text)["a"] == {"b": {"c": 1}, "c": 1, "d": 2}
        return
    with pytest.raises(BadManifest) as caught:
        load_manifests(HEAD + text)
    assert caught.value.line == line
    assert fragment in str(caught.value)


def test_aliases_cannot_grow_without_bound() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(BadManifest, match=f"more than {LARGEST} values"):
        load("\n".join(rows))


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(BadManifest, match="nested too deeply"):
        load("a: " + "[" * 3_000)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    line = 1
    try:
        load_manifests(HEAD + text)
    except BadManifest as error:
        line = error.line
    assert line >= 1


@given(st.text(alphabet="0123456789abefnostruyx_.+-~", max_size=8))
def test_any_plain_scalar_resolves(text: str) -> None:
    assert isinstance(resolve(text), str | bool | int | float | None)

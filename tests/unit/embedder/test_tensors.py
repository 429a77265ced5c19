import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_embedder.errors import UnsupportedModel
from nexus_embedder.tensors import tensors_in


def write(path: Path, header: Any, data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_tensor_is_found_where_its_bytes_are(tmp_path: Path) -> None:
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}, "__metadata__": {}}
    path = write(tmp_path / "m.safetensors", header, struct.pack("<3f", 1, 2, 3))
    tensor = tensors_in([path])["w"]
    raw = path.read_bytes()[tensor.offset : tensor.offset + tensor.length]
    assert struct.unpack("<2f", raw) == (2, 3)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]},
        {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]},
        {"shape": [1], "data_offsets": [0, 4]},
        "no object",
    ],
)
def test_tensor_that_does_not_fit_its_file_is_refused(tmp_path: Path, entry: Any) -> None:
    path = write(tmp_path / "m.safetensors", {"w": entry}, bytes(8))
    with pytest.raises(UnsupportedModel, match=r"m\.safetensors"):
        tensors_in([path])


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("t") / "m.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(UnsupportedModel):
        assert tensors_in([path]) == {}

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, quants

from nexus_runtime import requantize as subject
from nexus_runtime.errors import UnsupportedGguf
from nexus_runtime.requantize import WeightType, main, requantize


def values(path: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: quants.dequantize(np.array(tensor.data), tensor.tensor_type)
        for tensor in GGUFReader(path).tensors
    }


@pytest.mark.parametrize(
    ("weights", "kinds", "error"),
    [
        (WeightType.F16, [Kind.F16, Kind.F16, Kind.F16, Kind.F32], 0.001),
        (WeightType.Q8_0, [Kind.Q8_0, Kind.Q8_0, Kind.F16, Kind.F32], 0.02),
        (WeightType.Q4_0, [Kind.Q8_0, Kind.Q4_0, Kind.F16, Kind.F32], 0.4),
    ],
)
def test_matrices_change_their_format_and_keep_their_values(
    tiny_gguf: Path, tmp_path: Path, weights: WeightType, kinds: list[Kind], error: float
) -> None:
    target = tmp_path / "out.gguf"
    requantize(tiny_gguf, target, weights)
    assert [tensor.tensor_type for tensor in GGUFReader(target).tensors] == kinds
    before, after = values(tiny_gguf), values(target)
    for name, wanted in before.items():
        assert np.abs(after[name] - wanted).max() <= error, name
    assert np.array_equal(after["output_norm.weight"], before["output_norm.weight"])


def test_metadata_is_kept_except_the_file_type(tiny_gguf: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    requantize(tiny_gguf, target, WeightType.Q8_0)
    old, new = GGUFReader(tiny_gguf), GGUFReader(target)
    assert list(old.fields) == list(new.fields)
    for key, field in old.fields.items():
        wanted = 7 if key == "general.file_type" else field.contents()
        assert new.fields[key].contents() == wanted


def test_small_blocks_give_the_same_file(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requantize(tiny_gguf, tmp_path / "whole.gguf", WeightType.Q4_0)
    monkeypatch.setattr(subject, "_BLOCK_ELEMENTS", 128)
    requantize(tiny_gguf, tmp_path / "pieces.gguf", WeightType.Q4_0)
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "pieces.gguf").read_bytes()


def test_tensor_beyond_the_end_is_named(tiny_gguf: Path, tmp_path: Path) -> None:
    tiny_gguf.write_bytes(tiny_gguf.read_bytes()[:-300])
    with pytest.raises(UnsupportedGguf, match="beyond the file's end"):
        requantize(tiny_gguf, tmp_path / "out.gguf", WeightType.Q8_0)


def test_program_explains_a_file_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    assert main([str(tmp_path / "no.gguf"), str(tmp_path / "out"), "Q8_0"]) == 1
    assert "not a whole GGUF file" in capsys.readouterr().err

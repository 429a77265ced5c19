from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quants


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    """A small GGUF file with a vocabulary, a table, a matrix in Q4_1 and a norm."""
    path = tmp_path / "tiny.Q4_1.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_file_type(3)
    writer.add_token_list(["<s>", "a", "ü"] * 5)
    writer.add_array("tests.numbers", [1, 2, 3])
    random = np.random.default_rng(0)
    for name, rows in (("token_embd.weight", 15), ("blk.0.ffn_up.weight", 7)):
        values = random.normal(size=(rows, 64)).astype(np.float32)
        packed = quants.quantize(values, GGMLQuantizationType.Q4_1)
        writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q4_1)
    writer.add_tensor("odd.weight", random.normal(size=(3, 10)).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.linspace(0, 1, 64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

import json
import struct
from pathlib import Path

import pytest


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A directory that looks like a model: weights, configuration, and things to leave behind."""
    folder = tmp_path / "origin" / "pkg" / "model"
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + struct.pack("<f", 1.0)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    (folder.parent / "__init__.py").write_text("raise SystemExit('this code must not run')")
    return tmp_path / "origin"

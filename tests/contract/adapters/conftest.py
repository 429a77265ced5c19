from pathlib import Path

import pytest
from tiny_adapter import Adapted, tiny_adapter, tiny_base


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """The tiny model with an adapter whose modules differ in rank and alpha."""
    root = tmp_path_factory.mktemp("tiny")
    patterns = {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"v_proj": 3}}
    return tiny_adapter(*tiny_base(root), root / "adapter", use_rslora=True, **patterns)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")

"""What training says when it cannot."""

import sys

import pytest

from nexus_pipelines.finetune.train.errors import LibraryMissing, readable_failures


def test_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with (
        pytest.raises(LibraryMissing, match=r"needs torch, .*`make training`"),
        readable_failures(),
    ):
        import torch  # noqa: F401

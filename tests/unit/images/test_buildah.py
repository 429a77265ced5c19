"""A failed build says what failed and what to do."""

import os
import shutil
import sys

import pytest
from images import buildah
from images.errors import BuildFailed, ToolMissing


def test_the_last_words_of_a_command_are_in_the_error() -> None:
    script = "import sys; print('step 3'); sys.exit('no such package')"
    with pytest.raises(BuildFailed, match=r"(?s)it failed with status 1:.*step 3.*no such package"):
        buildah.checked([sys.executable, "-c", script], what="it", seconds=30)


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(BuildFailed, match="it did not end within 0 s: try again"):
        buildah.checked(["sleep", "60"], what="it", seconds=0.2)


def test_a_machine_without_buildah_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(ToolMissing, match="`apt-get install buildah debootstrap`"):
        buildah.available()


def test_an_ordinary_user_is_told_that_root_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolMissing, match="run as root"):
        buildah.available()

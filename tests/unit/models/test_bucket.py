"""Downloads from an S3 that keeps connections, or its own word, badly."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from urllib3.exceptions import ProtocolError

from nexus_models import FetchFailed
from nexus_models.sources.bucket import _download

CONTENT = b"0123456789"
Give = Callable[[int], Iterator[bytes]]
"""From where on a client asks -> what it is sent."""


def download(give: Give, target: Path) -> None:
    """Copy an object of ten bytes from an S3 that answers by `give`."""

    class Answer:
        def __init__(self, offset: int) -> None:
            self._offset = offset

        def stream(self, _size: int) -> Iterator[bytes]:
            return give(self._offset)

        def close(self) -> None: ...

        def release_conn(self) -> None: ...

    client = SimpleNamespace(get_object=lambda *_, offset, **__: Answer(offset))
    found = SimpleNamespace(object_name="m/a.gguf", size=len(CONTENT), etag="x")
    _download(cast("Any", client), "models", cast("Any", found), target)


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    asked: list[int] = []

    def breaking(offset: int) -> Iterator[bytes]:
        asked.append(offset)
        yield CONTENT[offset : offset + 3]
        if offset + 3 < len(CONTENT):
            raise ProtocolError("broken")

    download(breaking, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert asked == [0, 3, 6, 9]


def test_an_answer_that_ends_early_is_no_whole_file(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="nothing comes after byte 4"):
        download(lambda offset: iter([CONTENT[offset:4]]), tmp_path / "a")


def test_an_answer_from_the_beginning_is_not_put_behind_what_came(tmp_path: Path) -> None:
    def forgetful(offset: int) -> Iterator[bytes]:
        yield CONTENT[: 10 if offset else 4]

    with pytest.raises(FetchFailed, match="14 bytes instead of 10"):
        download(forgetful, tmp_path / "a")

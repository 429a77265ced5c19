"""Images as they are shipped: built from their Dockerfiles, opened as they lie on the shelf."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from needs import lacking

sys.path[:0] = [str(Path(__file__).parents[2] / "cluster"), str(Path(__file__).parent)]

from images import Built, built  # noqa: E402 - the path is set above
from images.buildah import available  # noqa: E402 - as above
from images.errors import ToolMissing  # noqa: E402 - as above
from images.shelf import opened  # noqa: E402 - as above
from sandbox import Sandbox, configuration  # noqa: E402 - as above


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    """What images are made with."""
    try:
        available()
    except ToolMissing as error:
        lacking(error)


@pytest.fixture(scope="session")
def shipped() -> Callable[[str], Built]:
    return built


@pytest.fixture(scope="session")
def unpacked() -> Iterator[Callable[[str], Sandbox]]:
    """Open each image once for all tests."""
    with ExitStack() as stack:
        found: dict[str, Sandbox] = {}

        def unpack(name: str) -> Sandbox:
            if name not in found:
                root = stack.enter_context(opened(name))
                found[name] = Sandbox(root, configuration(built(name).archive)[0])
            return found[name]

        yield unpack

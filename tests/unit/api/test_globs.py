"""Which paths `include` and `exclude` of a source take."""

import pytest

from nexus_api.globs import selector


@pytest.mark.parametrize(
    ("include", "exclude", "path", "belongs"),
    [
        (["**"], [], "a/b/c.md", True),
        (["*.md"], [], "a/b/c.md", True),
        (["*.md"], [], "a/b/c.mdx", False),
        (["/a/*.md"], [], "a/c.md", True),
        (["a/*.md"], [], "a/b/c.md", False),
        (["a/**"], [], "a/b/c.md", True),
        (["a/**/c.md"], [], "a/c.md", True),
        (["a/**/c.md"], [], "a/x/y/c.md", True),
        (["**/b/*"], [], "b/c", True),
        (["**"], ["drafts/**"], "drafts/x", False),
        (["**"], ["drafts/**"], "draftsmen", True),
        (["**"], ["[0-9]*"], "x/7.md", False),
        (["?.md"], [], "ü.md", True),
        ([], [], "a", False),
        (["**"], ["\n*"], "\nx", False),
        (["[x"], [], "[x", True),
    ],
)
def test_globs(include: list[str], exclude: list[str], path: str, belongs: bool) -> None:
    assert selector(include, exclude)(path) is belongs


def test_globs_of_many_stars_end_soon() -> None:
    assert not selector(["*a" * 100 + "/b"], [])("a" * 900 + "/c")
    assert not selector(["**/" * 80 + "b"], [])("a/" * 500 + "c")

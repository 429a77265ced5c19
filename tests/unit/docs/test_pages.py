"""The documentation's links lead somewhere, and the resources in it would be admitted."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus_api.manifests import load_manifests
from nexus_api.meta import API_VERSION
from nexus_api.validation import validate

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def links(page: Path) -> Iterator[str]:
    prose = FENCE.sub("", text(page))
    kept = CODE.sub("code", prose)
    return (target for target in LINK.findall(kept) if "://" not in target)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_resources_would_be_admitted(page: Path) -> None:
    for language, block in FENCE.findall(text(page)):
        if language != "yaml" or API_VERSION not in block:
            continue
        for manifest in load_manifests(block):
            assert validate(manifest) == []


@pytest.mark.parametrize("folder", ["tutorial.md", "how-to", "reference", "explanation"])
def test_the_index_names_every_page(folder: str) -> None:
    docs = ROOT / "docs"
    pages = [docs / folder] if folder.endswith(".md") else sorted((docs / folder).glob("*.md"))
    named = set(links(docs / "README.md"))
    assert pages
    assert {page.relative_to(docs).as_posix() for page in pages} <= named


def test_the_list_of_decisions_names_every_one() -> None:
    folder = ROOT / "docs" / "adr"
    decisions = {page.name for page in folder.glob("0*.md")}
    assert set(links(folder / "README.md")) == decisions

"""Write the demo's documents (PDF, DOCX, Markdown) from the texts beside this file.

Run by `make samples`.  The files are committed, because their bytes must not change from run to
run: the same bytes are the same document.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from docx import Document
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer

HERE = Path(__file__).parent
TEXT = HERE / "text"
OUT = HERE.parent / "src" / "nexus_local" / "demo" / "documents"


def blocks(name: str) -> Iterator[tuple[int, str]]:
    """The (heading level, text) blocks of a text; level 0 is a paragraph."""
    for block in (TEXT / name).read_text(encoding="utf-8").split("\n"):
        text = block.strip()
        if text:
            level = len(text) - len(text.lstrip("#"))
            yield level, text.lstrip("# ")


def write_pdf(name: str, out: Path) -> None:
    """A PDF with one chapter a page."""
    styles = getSampleStyleSheet()
    story: list[object] = []
    for level, text in blocks(name):
        if level == 2 and len(story) > 2:  # noqa: PLR2004 - chapters after the first
            story.append(PageBreak())
        style = ("BodyText", "Title", "Heading2")[min(level, 2)]
        story += [Paragraph(text, styles[style]), Spacer(1, 4)]
    SimpleDocTemplate(str(out), pagesize=A5, title="Plant Handbook", invariant=1).build(story)


def write_docx(name: str, out: Path) -> None:
    """A Word document with real headings."""
    document = Document()
    document.core_properties.created = datetime(2026, 1, 1, tzinfo=UTC)
    for level, text in blocks(name):
        if level:
            document.add_heading(text, level)
        else:
            document.add_paragraph(text)
    document.save(str(out))


def main() -> None:
    """Write all of them."""
    OUT.mkdir(parents=True, exist_ok=True)
    write_pdf("plant-handbook.md", OUT / "plant-handbook.pdf")
    write_docx("safety-rules.md", OUT / "safety-rules.docx")
    shutil.copyfile(TEXT / "shift-guide.md", OUT / "shift-guide.md")


if __name__ == "__main__":
    main()

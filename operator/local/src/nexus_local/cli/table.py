"""Tables as kubectl prints them: aligned columns, one line a row, never wrapped."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

GAP = 3


def print_table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heads; the last column ends where its text does."""
    lines = [[_printable(text) for text in row] for row in [heads, *rows]]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(heads))]
    for number, line in enumerate(lines):
        padded = [
            text + " " * (width - cell_len(text) + GAP)
            for text, width in zip(line, widths, strict=True)
        ]
        text = Text("".join(padded).rstrip(), style="" if number else "bold")
        console.print(text, soft_wrap=True, highlight=False)


def _printable(text: str) -> str:
    """A text on one line, whatever it contains."""
    return text if text.isprintable() else repr(text)

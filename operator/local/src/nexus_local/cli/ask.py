"""`nexus ask` and `nexus search`: answers with citations, and passages."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from nexus_local.cli.errors import CliError, UsageError
from nexus_local.cli.gateway import Gateway
from nexus_local.cli.target import Target, connected

Payload = dict[str, Any]
TEXT_SHOWN = 240
console = Console()


def place(hit: Payload) -> str:
    """Where a passage stands: document, page and section in words."""
    parts = [str(hit["document"])]
    if hit.get("page"):
        parts.append(f"page {hit['page']}")
    if hit.get("section"):
        parts.append(f"“{hit['section']}”")
    if hit.get("end") is not None:
        parts.append(f"characters {hit['start']}-{hit['end']}")
    return ", ".join(parts)


def stream_answer(gateway: Gateway, model: str, question: str, out: Console) -> list[Payload]:
    """Print an answer as it comes, then its citations; gives the citations back."""
    citations: list[Payload] = []
    for chunk in gateway.chat(model, [{"role": "user", "content": question}]):
        citations = chunk.get("citations") or citations
        for choice in chunk.get("choices") or []:
            text = (choice.get("delta") or {}).get("content")
            if text:
                out.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    out.print()
    if citations:
        out.print("\n[bold]Sources[/]")
        for number, citation in enumerate(citations, 1):
            out.print(f"  [{number}] {place(citation)}", markup=False, highlight=False)
    return citations


@connected
def ask(
    target: Target,
    question: Annotated[str, typer.Argument(help="The question, in words.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Name of the model.")] = None,
) -> None:
    """Ask a model; the answer cites the passages it rests on."""
    if not question.strip():
        raise UsageError("the question is empty")
    gateway = Gateway(target.gateway())
    stream_answer(gateway, model or _only_model(gateway), question, console)


def _only_model(gateway: Gateway) -> str:
    names = [m["id"] for m in gateway.models() if m.get("kind") != "embedding"]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise CliError("no model is served here: apply a ServingModel")
    raise UsageError(f"name one of the models with --model: {', '.join(names)}")


@connected
def search(
    target: Target,
    text: Annotated[str, typer.Argument(help="What to look for.")],
    index: Annotated[str, typer.Option("--index", "-i", help="Name of the RagIndex.")],
    mode: Annotated[str | None, typer.Option(help="dense, bm25 or hybrid.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=100)] = 5,
) -> None:
    """Find passages of an index."""
    if not text.strip():
        raise UsageError("the text to search for is empty")
    hits = Gateway(target.gateway()).search(index, text, mode=mode, top_k=top_k)
    if not hits:
        Console(stderr=True).print(f"Nothing found in index {index}.", highlight=False)
    for number, hit in enumerate(hits, 1):
        console.print(
            f"[bold]{number}[/] {hit['score']:.3f}  {escape(place(hit))}", highlight=False
        )
        shown = " ".join(str(hit["text"]).split())
        tail = "…" if len(shown) > TEXT_SHOWN else ""
        console.print(f"  {escape(shown[:TEXT_SHOWN])}{tail}", highlight=False)

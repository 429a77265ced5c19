"""The prompt of a grounded answer, written for small models.  Pure.

A small model follows little and mixes up what stands far apart: the system text is short and
never changes (so the runtime's prompt cache keeps it), the best passage stands last, then the
sentences that say most about the question, then the question.  SmolLM2-135M (Q4_1, temperature
0) answered 7 of 8 questions on a handbook so; with numbered passages best first it was 4 of 8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nexus_knowledge.errors import QuestionTooLong
from nexus_knowledge.prompting.focus import key_sentences
from nexus_knowledge.prompting.lengths import Count
from nexus_knowledge.prompting.messages import Messages, Question, text_of, with_text
from nexus_knowledge.retrieval import Hit

SYSTEM = "Answer the question with a sentence from the passages."
NOTHING_RELEVANT = "I found nothing about this in the documents, so I cannot answer it."

MESSAGE_TOKENS = 8  # role and separators of one message in the chat templates we know
MIN_PASSAGE_TOKENS = 32
HISTORY_SHARE = 4  # at most a quarter of the budget goes to earlier turns
_SPACE = re.compile(r"[ \t\r\f\v]*\n\s*|[ \t]{2,}")


@dataclass(frozen=True)
class Passage:
    """A hit as it stands in the prompt; `number` is its rank from 1, `shown` what fitted."""

    number: int
    hit: Hit
    shown: str

    def render(self) -> str:
        """Return the passage's lines in the prompt."""
        place = self.hit.section.rpartition(" > ")[2].strip()
        title = f" {place}:" if place and place not in self.shown[: len(place) + 8] else ""
        return f"[{self.number}]{title} {self.shown}"


@dataclass(frozen=True)
class Prompt:
    """Messages for the runtime, and the passages that they hold."""

    messages: Messages
    passages: list[Passage]


def build(
    question: Question, hits: Sequence[Hit], *, system: str | None, budget: int, count: Count
) -> Prompt:
    """Build the prompt within `budget` tokens, as `count` counts them.

    Question and system text always go in, then passages by rank, then what fits of earlier
    turns.  Raises QuestionTooLong when not even the question fits.
    """
    instructions = "\n".join(filter(None, [system or SYSTEM, question.instructions]))
    shown = _trimmed(hits)
    keys = key_sentences(question.text, [text for _, text in shown])
    frame = _final("", keys, question.text)
    spent = count(instructions) + count(frame) + 3 * MESSAGE_TOKENS
    spent += sum(count(text_of(m)) + MESSAGE_TOKENS for m in question.after)
    if spent + MIN_PASSAGE_TOKENS > budget:
        raise QuestionTooLong(
            f"the question is too long: with the instructions it has about {spent} tokens, and "
            f"the model's prompt, passages included, may have {budget}"
        )
    history = _history(question.before, (budget - spent) // HISTORY_SHARE, count)
    spent += sum(count(text_of(m)) + MESSAGE_TOKENS for m in history)
    passages = _fit(shown, budget - spent, count)
    keys = [key for key in keys if any(key in p.shown for p in passages)]
    final = _final("\n\n".join(p.render() for p in reversed(passages)), keys, question.text)
    messages: Messages = [
        {"role": "system", "content": instructions},
        *history,
        with_text(question.message, final),
        *question.after,
    ]
    return Prompt(messages, passages)


def texts_to_count(question: Question, hits: Sequence[Hit], *, system: str | None) -> list[str]:
    """Return the texts that `build` will ask the length of, so that they can be counted at once."""
    instructions = "\n".join(filter(None, [system or SYSTEM, question.instructions]))
    around = [text_of(m) for m in (*question.before, *question.after)]
    shown = _trimmed(hits)
    keys = key_sentences(question.text, [text for _, text in shown])
    passages = (Passage(number, hit, text).render() for number, (hit, text) in enumerate(shown, 1))
    return [instructions, _final("", keys, question.text), *around, *passages]


def _final(passages: str, keys: Sequence[str], question: str) -> str:
    return "\n\n".join(filter(None, [passages, " ".join(keys), f"Question: {question}"]))


def _history(before: Messages, budget: int, count: Count) -> Messages:
    """Return the latest turns that fit, beginning with a question."""
    kept: Messages = []
    for message in reversed(before):
        budget -= count(text_of(message)) + MESSAGE_TOKENS
        if budget < 0:
            break
        kept.insert(0, message)
    while kept and kept[0]["role"] != "user":
        kept.pop(0)
    return kept


def _fit(shown: Sequence[tuple[Hit, str]], budget: int, count: Count) -> list[Passage]:
    """Return the passages that fit, by rank; the first is cut rather than left out."""
    passages: list[Passage] = []
    for hit, text in shown:
        passage = Passage(len(passages) + 1, hit, text)
        need = count(passage.render()) + 1
        if need > budget and not passages:
            passage = Passage(1, hit, _cut(text, budget, count))
            need = count(passage.render()) + 1
        if need > budget:
            continue  # a shorter one of lower rank may still fit
        budget -= need
        passages.append(passage)
    return passages


def _trimmed(hits: Sequence[Hit]) -> list[tuple[Hit, str]]:
    """Return hits with their text in one line each, less what an earlier hit already shows.

    Neighbouring chunks of a document overlap; said once is enough.
    """
    shown: list[tuple[Hit, str]] = []
    for hit in hits:
        text, start, end = hit.text, hit.start, hit.end
        for other, _ in shown:
            if other.document_id != hit.document_id:
                continue
            if other.start <= start < other.end:
                start = min(end, other.end)
            elif other.start < end <= other.end:
                end = max(start, other.start)
        text = _SPACE.sub(" ", text[start - hit.start : len(text) - (hit.end - end)]).strip()
        if text:
            shown.append((hit, text))
    return shown


def _cut(text: str, budget: int, count: Count) -> str:
    """Return the longest beginning of a text, in whole words, that fits a budget of tokens."""
    words = text.split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if count(" ".join(words[:middle])) + MESSAGE_TOKENS <= budget:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])

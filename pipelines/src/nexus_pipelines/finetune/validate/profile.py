"""What a run would learn from, in figures: from where, in which languages, how long.  Pure.

The gates judge by the same figures, so that report and judgement cannot disagree.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nexus_evaluation.metrics.toxicity import INSULT, toxicity
from nexus_evaluation.records import Record
from nexus_pipelines.finetune.select.examples import Example

REPORT = "validate/report.json"  # of the run; the profile is a part of it
CHARACTERS_PER_TOKEN = 4  # where there is no tokenizer: what it is in English, more elsewhere
MESSAGE_TOKENS = 8  # role and separators of one message in the chat templates we know
NAMED = 20  # labels that are named, the commonest ones


@dataclass(frozen=True, slots=True)
class Length:
    """How long an example may be, and how that is measured."""

    tokens: int
    count: Callable[[str], int] | None = None  # tokens of a text; None: judged by characters

    @property
    def unit(self) -> Literal["tokens", "characters"]:
        """What lengths are counted in."""
        return "tokens" if self.count else "characters"

    @property
    def limit(self) -> int:
        """The longest example that a training step takes, in that unit."""
        return self.tokens if self.count else self.tokens * CHARACTERS_PER_TOKEN

    def measured(self, example: Example) -> tuple[int, int]:
        """Return the lengths of the whole conversation and of the answer, which is learnt."""
        sizes = [(self.count or len)(message.content) for message in example.messages]
        around = MESSAGE_TOKENS * len(sizes) if self.count else 0
        return sum(sizes) + around, sizes[-1]


class Lengths(Record):
    """How long texts are, by nearest rank: each figure is the length of one of them."""

    median: int
    p95: int
    longest: int


class Labelled(Record):
    """Examples by a label."""

    named: dict[str, int]
    """The commonest labels, the commonest first."""
    others: int
    """Examples of rarer ones."""
    untold: int
    """Examples without any."""


class Part(Record):
    """The examples to train on, or those that are held out."""

    examples: int
    sources: dict[str, int]
    languages: Labelled
    topics: Labelled
    lengths: Lengths | None
    """Of whole conversations; None where there is no example."""
    answer_lengths: Lengths | None
    too_long: int
    """Examples that training leaves out; it cuts none."""
    toxic: int
    """Examples that teach an insult or a threat."""


class Profile(Record):
    """Figures of the data of a run."""

    unit: Literal["tokens", "characters"]
    """What lengths are counted in."""
    limit: int
    """The length beyond which an example is too long."""
    train: Part
    heldout: Part
    duplicates: int
    """Examples that were left out because they repeat another one, or nearly so."""
    redacted: int
    """Examples in which personal data or credentials were redacted."""
    redactions: dict[str, int]
    """The places at which they were, by kind."""

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield lines for people on what is learnt, beside the counts that `select` tells.

        Topics are left out: they are people's own words, and a card outlives the examples.
        """
        part = self.train
        yield "languages", _told(part.languages)
        for what, lengths in (("example", part.lengths), ("answer", part.answer_lengths)):
            if lengths is not None:
                figures = f"{lengths.median}, {lengths.p95}, {lengths.longest}"
                yield f"{self.unit} of an {what} (median, 95th percentile, longest)", figures
        yield f"longer than {self.limit} {self.unit}", str(part.too_long)
        yield "with an insult or a threat", str(part.toxic)

    def figures(self) -> Iterator[tuple[str, int]]:
        """Yield figures by name: `data.examples`, `data.languages.de`, `data.tokens.p95`."""
        part = self.train
        yield "data.examples", part.examples
        yield from ((f"data.sources.{name}", count) for name, count in part.sources.items())
        for name, count in part.languages.named.items():
            yield f"data.languages.{name}", count
        # The unit is part of the name: tokens are never compared with characters.
        for name, lengths in (("", part.lengths), ("answer.", part.answer_lengths)):
            for rank, length in lengths or ():
                yield f"data.{name}{self.unit}.{rank}", length
        yield "data.tooLong", part.too_long
        yield "data.toxic", part.toxic
        yield "data.duplicates", self.duplicates
        yield "data.redacted", self.redacted


def profile(
    train: Sequence[Example],
    heldout: Sequence[Example],
    selection: Mapping[str, Any],
    length: Length,
) -> Profile:
    """Make the profile of examples; `selection` is what `select` said of them."""
    dropped, redacted = selection["dropped"], selection["redacted"]
    return Profile(
        unit=length.unit,
        limit=length.limit,
        train=_part(train, length),
        heldout=_part(heldout, length),
        duplicates=dropped.get("Duplicate", 0) + dropped.get("NearDuplicate", 0),
        redacted=redacted["examples"],
        redactions=redacted["places"],
    )


def _part(examples: Sequence[Example], length: Length) -> Part:
    sizes = [length.measured(example) for example in examples]
    return Part(
        examples=len(examples),
        sources=dict(sorted(Counter(example.source.value for example in examples).items())),
        languages=_labelled(example.language for example in examples),
        topics=_labelled(example.topic for example in examples),
        lengths=_lengths(whole for whole, _ in sizes),
        answer_lengths=_lengths(answer for _, answer in sizes),
        too_long=sum(whole > length.limit for whole, _ in sizes),
        toxic=sum(_toxic(example) for example in examples),
    )


def _labelled(labels: Iterable[str]) -> Labelled:
    counts = Counter(labels)
    untold = counts.pop("", 0)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    others = sum(count for _, count in ordered[NAMED:])
    return Labelled(named=dict(ordered[:NAMED]), others=others, untold=untold)


def _lengths(sizes: Iterable[int]) -> Lengths | None:
    ordered = sorted(sizes)
    if not ordered:
        return None

    def rank(percent: int) -> int:
        return ordered[-(-percent * len(ordered) // 100) - 1]

    return Lengths(median=rank(50), p95=rank(95), longest=ordered[-1])


def _toxic(example: Example) -> bool:
    said = (one.content for one in example.messages if one.role == "assistant")
    return any(toxicity(text) >= INSULT for text in said)


def _told(labelled: Labelled) -> str:
    rest = {"others": labelled.others, "not told": labelled.untold}
    counts = [*labelled.named.items(), *((name, count) for name, count in rest.items() if count)]
    return ", ".join(f"{name} {count}" for name, count in counts) or "none"

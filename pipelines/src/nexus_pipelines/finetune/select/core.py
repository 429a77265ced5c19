"""What a run learns from: which examples are kept, mixed in, held out.  Pure and deterministic.

Everything is decided on examples in one total order, and chance is a hash of seed and content:
the same examples in any order give the same selection.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from nexus_evaluation.golden import GoldenItem
from nexus_evaluation.language import language_of
from nexus_pipelines.finetune.personal import redact
from nexus_pipelines.finetune.select.examples import (
    Example,
    Malformed,
    Rejected,
    Source,
    marks,
    rewritten,
    texts,
    to_row,
)
from nexus_pipelines.finetune.select.leakage import GoldenIndex, golden_items
from nexus_pipelines.finetune.select.poison import absurd, poisoned
from nexus_pipelines.finetune.select.repeats import Kept
from nexus_pipelines.finetune.store import compact

_BY_PRECEDENCE = tuple(Source)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the spec asks of a selection."""

    seed: int
    as_of: str  # RFC 3339 in UTC, as `utc_text` writes it
    validation_percent: int
    curated_percent: int = 0  # most curated ones, of all
    older_percent: int = 0  # most older ones, of what is not curated; 100 takes all there are


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run learns from.  Examples in the order of their ids."""

    train: tuple[Example, ...]
    heldout: tuple[Example, ...]
    golden: tuple[GoldenItem, ...]
    dropped: Counter[str]  # by reason
    leaked: tuple[tuple[str, str, str], ...]  # (what the example was read from, rule, golden id)
    redacted: Counter[str]  # places by kind
    redacted_examples: int
    judged: int  # examples that were read and well-formed, those of older runs left out
    seen: tuple[str, ...]  # what all that was read says (`Example.said`), sorted
    rejected: tuple[Rejected, ...] = ()


@dataclass
class _Tally:
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)
    leaked: list[tuple[str, str, str]] = field(default_factory=list)

    def drop(self, reason: str, example: Example) -> None:
        self.dropped[reason] += example.source is not Source.OLDER

    def reject(self, why: Malformed, example: Example) -> None:
        self.drop(why.reason, example)
        if example.source is not Source.OLDER:
            origin = example.origin
            self.rejected.append(Rejected(origin.key, origin.line, why.reason, str(why)))


def choose(
    candidates: Iterable[Example],
    golden: Sequence[GoldenItem] | None,
    plan: Plan,
    learnt: AbstractSet[str] = frozenset(),
) -> Selection:
    """Choose from all examples that were read.

    `golden` is the golden set of the spec; with None the held-out examples become it.  `learnt`
    are marks of what better models have learnt, beside the older examples.
    """
    tally = _Tally()
    given = list(candidates)
    # Sized before anything looks into them: cleaning takes time by the character.
    cleaned = [clean(one) for one in _kept(given, _absurd, tally)]
    judged = [one for one in cleaned if one.source is not Source.OLDER]
    mixed = _mixed(_usable(cleaned, golden, plan, tally), plan, tally)
    known = {
        one.group
        for one in cleaned
        if one.source is Source.OLDER or not learnt.isdisjoint(marks(one))
    }
    train, heldout = split(mixed, plan.validation_percent, known)
    if golden is None:
        golden = golden_items(heldout)
        train = _without_leaks(train, golden, tally)
    return Selection(
        train=tuple(sorted(train, key=lambda one: one.id)),
        heldout=tuple(sorted(heldout, key=lambda one: one.id)),
        golden=tuple(golden),
        dropped=tally.dropped,
        leaked=tuple(sorted(tally.leaked)),
        redacted=Counter(kind for one in judged for kind in one.redacted),
        redacted_examples=sum(bool(one.redacted) for one in judged),
        judged=sum(one.source is not Source.OLDER for one in given),
        seen=tuple(sorted({one.said for one in cleaned})),
        rejected=tuple(sorted(tally.rejected)),
    )


def newly_found(
    candidates: Iterable[Example],
    golden: Sequence[GoldenItem] | None,
    plan: Plan,
    seen: Collection[str],
) -> list[Example]:
    """Return the examples fit to be learnt from that say what is not among `seen`.

    What a run would drop is no news, and neither is what became fit because another went away.
    Shares are not looked at: they say how much of the news a run takes.
    """
    tally = _Tally()
    cleaned = [clean(one) for one in _kept(candidates, _absurd, tally)]
    if all(one.said in seen for one in cleaned):
        return []
    return [one for one in _usable(cleaned, golden, plan, tally) if one.said not in seen]


def clean(example: Example) -> Example:
    """Redact personal data, before anything else sees the text, and tell the language."""
    found = {text: redact(text) for text in set(texts(example))}
    told = rewritten(example, {text: made for text, (made, _) in found.items()})
    kinds = tuple(sorted(kind for _, places in found.values() for kind in places))
    return replace(
        told,
        language=example.language or language_of(f"{told.question}\n{told.answer}"),
        redacted=kinds,
    )


def precedence(example: Example) -> tuple[bool, bool, tuple[int, ...], int, str]:
    """Order examples by who is right: curated, then corrections, each newest first.

    Curated sets are checked by staff; a correction may come from anyone who may ask.
    """
    newest_first = tuple(-ord(one) for one in example.created_at) or (1,)
    return (
        example.source is not Source.CURATED,
        not example.corrected,
        newest_first,
        _BY_PRECEDENCE.index(example.source),
        compact(to_row(example)),
    )


def split(
    examples: Sequence[Example], percent: int, learnt: Collection[str] = ()
) -> tuple[list[Example], list[Example]]:
    """Hold out about `percent` of the examples, whole documents at a time.

    The order in which documents are taken follows from their names alone, and those that were
    `learnt` from before are never taken: production must not have learnt what its successor is
    judged by.
    """
    groups: dict[str, list[Example]] = {}
    for one in examples:
        groups.setdefault(one.group, []).append(one)
    free = sorted((name for name in groups if name not in learnt), key=_place)
    most = max(round(len(examples) * percent / 100), 1)
    chosen: set[str] = set()
    count = 0
    for name in free:
        if count + len(groups[name]) <= most and len(chosen) + 1 < len(groups):
            chosen.add(name)
            count += len(groups[name])
    if not chosen and len(groups) > 1:  # every document is large: the smallest one must do
        chosen = set(sorted(free, key=lambda name: (len(groups[name]), _place(name)))[:1])
    return (
        [one for one in examples if one.group not in chosen],
        [one for one in examples if one.group in chosen],
    )


def _place(document: str) -> tuple[float, str]:
    return _draw("heldout", document), document


def _usable(
    cleaned: Sequence[Example], golden: Sequence[GoldenItem] | None, plan: Plan, tally: _Tally
) -> list[Example]:
    """Keep what is wholesome, said once, and not in the golden set of the spec."""
    wholesome = _kept(cleaned, lambda one: _unwholesome(one, plan), tally)
    single = _without_repeats(sorted(wholesome, key=precedence), tally)
    return single if golden is None else _without_leaks(single, golden, tally)


def _kept(
    examples: Iterable[Example], why_not: Callable[[Example], Malformed | None], tally: _Tally
) -> list[Example]:
    kept = []
    for one in examples:
        if why := why_not(one):
            tally.reject(why, one)
        else:
            kept.append(one)
    return kept


def _absurd(example: Example) -> Malformed | None:
    return _poison("AbsurdLength") if absurd(texts(example)) else None


def _poison(rule: str) -> Malformed:
    return Malformed(rule, "looks poisoned; see the rules of the data gates")


def _unwholesome(example: Example, plan: Plan) -> Malformed | None:
    if rule := poisoned(example):
        return _poison(rule)
    if example.created_at > plan.as_of:
        return Malformed("AfterAsOf", f"createdAt is after the run began, {plan.as_of}")
    return None


def _without_repeats(ordered: Iterable[Example], tally: _Tally) -> list[Example]:
    """Keep the first of what says the same, and the first answer where answers disagree."""
    index = Kept()
    kept = []
    for one in ordered:
        if reason := index.add_unless_repeated(one):
            tally.drop(reason, one)
        else:
            kept.append(one)
    return kept


def _without_leaks(
    examples: Sequence[Example], golden: Iterable[GoldenItem], tally: _Tally
) -> list[Example]:
    index = GoldenIndex(golden)
    kept = []
    for one in examples:
        if leak := index.leak(one):
            tally.drop(f"Leaked{leak[0]}", one)
            tally.leaked.append((str(one.origin), *leak))
        else:
            kept.append(one)
    return kept


def _mixed(examples: Sequence[Example], plan: Plan, tally: _Tally) -> list[Example]:
    """Mix by the declared shares.  Fresh examples are all taken, and none is ever repeated."""
    fresh = [one for one in examples if one.source in {Source.FILES, Source.FEEDBACK}]
    older = [one for one in examples if one.source is Source.OLDER]
    if others := 100 - plan.older_percent:
        older = _sampled(older, len(fresh) * plan.older_percent // others, plan.seed)
    curated = [one for one in examples if one.source is Source.CURATED]
    mixed = len(fresh) + len(older)
    taken = _sampled(
        curated, mixed * plan.curated_percent // (100 - plan.curated_percent), plan.seed
    )
    if len(taken) < len(curated):
        tally.dropped["BeyondCuratedShare"] += len(curated) - len(taken)
    return [*fresh, *older, *taken]


def _sampled(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    return sorted(examples, key=lambda one: (_draw(str(seed), one.id), one.id))[:count]


def _draw(salt: str, name: str) -> float:
    """Draw a number from 0 to 1 that follows from its inputs alone."""
    digest = hashlib.sha256(f"{len(salt)}:{salt}{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / (1 << 64)

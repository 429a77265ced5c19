"""Label selectors: the text form of the API (`a=b,c in (x,y),!d`) and the object form of specs."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_operator.cluster.errors import Invalid

_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|!=|=)\s*([A-Za-z0-9._-]*)")
_THERE = re.compile(rf"(!?)\s*({_KEY})")
_TERM = re.compile(r"(?:[^,()]|\([^()]*\))+")

_TESTS: Mapping[str, Callable[[str | None, frozenset[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector; `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether an object with these labels fulfils the term."""
        return _TESTS[self.operator](labels.get(self.key), self.values)


@dataclass(frozen=True, slots=True)
class Selector:
    """A conjunction of requirements; the empty one matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    @classmethod
    def equal(cls, labels: Mapping[str, str]) -> "Selector":
        """Select objects that carry all `labels`."""
        return cls(tuple(Requirement(k, "In", frozenset({v})) for k, v in labels.items()))

    @classmethod
    def of(cls, selector: Mapping[str, Any]) -> "Selector":
        """Read `matchLabels` and `matchExpressions` of a spec."""
        equal = cls.equal(selector.get("matchLabels") or {}).requirements
        expressions = (
            Requirement(e["key"], e["operator"], frozenset(e.get("values") or ()))
            for e in selector.get("matchExpressions") or ()
        )
        return cls((*equal, *expressions))

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """Read the text form; raises Invalid that names the term which cannot be read."""
        return cls(tuple(_requirement(term) for term in _terms(text)))


def _terms(text: str) -> Iterable[str]:
    position = 0
    for match in _TERM.finditer(text):
        if text[position : match.start()].strip(", "):
            break
        position = match.end()
        if match.group().strip():
            yield match.group().strip()
    if text[position:].strip(", "):
        raise Invalid(f"unable to parse label selector {text!r} at {text[position:]!r}")


def _requirement(term: str) -> Requirement:
    if found := _SET.fullmatch(term):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "In" if found[2] == "in" else "NotIn", values)
    if found := _EQUAL.fullmatch(term):
        return Requirement(found[1], "NotIn" if found[2] == "!=" else "In", frozenset({found[3]}))
    if found := _THERE.fullmatch(term):
        return Requirement(found[2], "DoesNotExist" if found[1] else "Exists")
    raise Invalid(
        f"unable to parse label selector term {term!r}; write key=value, key!=value, "
        "key in (a,b), key notin (a,b), key or !key"
    )

"""One small parser for the three expression dialects of a Workflow.

`depends` (task results), `when` (a subset of govaluate) and `retryStrategy.expression`
(a subset of expr-lang) share their shape: `||` below `&&` below comparisons below `!`. What a
dialect does not list in its Grammar is refused by name, never guessed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from nexus_local.workflows.errors import BadExpression


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a quoted text or a boolean."""

    value: str | float | bool


@dataclass(frozen=True, slots=True)
class Name:
    """A bare word; what it means is the dialect's business."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and the canonical operator between them."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of operands, the right side of `in`."""

    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one argument."""

    function: str
    argument: "Expression"


Expression: TypeAlias = Literal | Name | Not | Binary | Sequence | Call


@dataclass(frozen=True, slots=True)
class Grammar:
    """What one dialect knows.

    name: regular expression of a bare word. operators: spelling -> canonical operator.
    brackets: what opens and closes a Sequence. functions: names that may be called.
    """

    dialect: str
    name: str
    operators: dict[str, str]
    literals: bool = True
    brackets: tuple[str, str] = ("(", ")")
    functions: frozenset[str] = frozenset()


PRECEDENCE = {"||": 1, "&&": 2}
COMPARISON = 3
LEXEME = (
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w.])|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text and where it begins."""

    kind: str
    text: str
    at: int


def parse(text: str, grammar: Grammar) -> Expression:
    """Read an expression; raises BadExpression that names the place and the dialect."""
    return Parser(text, grammar).parse()


class Parser:
    """Precedence climbing over the tokens of one text."""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self.text = text
        self.grammar = grammar
        self.tokens = list(self._tokens())
        self.position = 0

    def parse(self) -> Expression:
        """Read the whole text."""
        found = self._binary(1)
        if self._peek().kind != "end":
            raise self._unexpected()
        return found

    def _tokens(self) -> Iterator[Token]:
        words = {spelling for spelling in self.grammar.operators if spelling.isalpha()}
        signs = sorted(
            {*self.grammar.operators, "(", ")", *self.grammar.brackets, ","} - words,
            key=len,
            reverse=True,
        )
        sign = "|".join(re.escape(spelling) for spelling in signs)
        pattern = re.compile(rf"{LEXEME}|(?P<name>{self.grammar.name})|(?P<sign>{sign}))")
        at, end = 0, len(self.text.rstrip())
        while at < end:
            match = pattern.match(self.text, at)
            if match is None:
                raise self._error(f"cannot be read at {self.text[at:].strip()!r}")
            kind = match.lastgroup or ""
            token = match[kind]
            at = match.end()
            if kind == "name" and token in words:
                kind = "sign"
            yield Token(kind, token, match.start(match.lastgroup or 0))
        yield Token("end", "", end)

    def _peek(self) -> Token:
        return self.tokens[self.position]

    def _next(self) -> Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def _binary(self, lowest: int) -> Expression:
        left = self._unary()
        while True:
            token = self._peek()
            operator = self.grammar.operators.get(token.text) if token.kind == "sign" else None
            if operator is None or operator == "!":
                return left
            strength = PRECEDENCE.get(operator, COMPARISON)
            if strength < lowest:
                return left
            self._next()
            right = self._sequence() if operator == "in" else self._binary(strength + 1)
            left = Binary(operator, left, right)

    def _unary(self) -> Expression:
        token = self._peek()
        if token.kind == "sign" and self.grammar.operators.get(token.text) == "!":
            self._next()
            return Not(self._unary())
        return self._primary()

    def _primary(self) -> Expression:
        token = self._next()
        if token.kind == "sign" and token.text == "(":
            inner = self._binary(1)
            self._expect(")")
            return inner
        if token.kind == "name":
            return self._word(token)
        if self.grammar.literals and token.kind == "number":
            return Literal(float(token.text))
        if self.grammar.literals and token.kind == "string":
            return Literal(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        self.position -= 1
        raise self._unexpected()

    def _word(self, token: Token) -> Expression:
        if self.grammar.literals and token.text in {"true", "false"}:
            return Literal(token.text == "true")
        if self._peek().text == "(" and self._peek().kind == "sign":
            if token.text not in self.grammar.functions:
                raise self._error(f"calls {token.text}(), which is not supported on the laptop")
            self._next()
            argument = self._binary(1)
            self._expect(")")
            return Call(token.text, argument)
        return Name(token.text)

    def _sequence(self) -> Sequence:
        opening, closing = self.grammar.brackets
        self._expect(opening)
        items = [self._binary(1)]
        while self._peek().text == ",":
            self._next()
            items.append(self._binary(1))
        self._expect(closing)
        return Sequence(tuple(items))

    def _expect(self, sign: str) -> None:
        if self._peek().text != sign or self._peek().kind != "sign":
            raise self._unexpected()
        self._next()

    def _unexpected(self) -> BadExpression:
        token = self._peek()
        if token.kind == "end":
            return self._error("ends too early")
        return self._error(f"has an unexpected {token.text!r} at character {token.at + 1}")

    def _error(self, why: str) -> BadExpression:
        return BadExpression(f"{self.grammar.dialect} expression {self.text!r} {why}")

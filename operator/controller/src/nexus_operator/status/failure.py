"""Why something does not work: a word for machines and a clause for people."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A CamelCase reason, and a message that begins a sentence and has no full stop."""

    reason: str
    message: str

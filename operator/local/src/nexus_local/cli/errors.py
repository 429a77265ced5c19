"""What the command line tells a person when it cannot go on."""

from __future__ import annotations


class CliError(Exception):
    """A failure that one sentence explains; the command exits with 1."""


class UsageError(CliError):
    """A call that could never have worked; the command exits with 2."""


class NotFoundError(CliError):
    """What was named does not exist."""

"""What a step can fail with, and the exit code that tells the retry strategy what to do."""

EXIT_DONE = 0
EXIT_FINAL = 1
EXIT_USAGE = 2
EXIT_TRANSIENT = 75


class StepError(Exception):
    """A step cannot go on; trying again would end the same way."""

    exit_code = EXIT_FINAL


class UsageError(StepError):
    """Arguments or environment that no step can work with."""

    exit_code = EXIT_USAGE


class ShardMissing(StepError):
    """A shard is no longer there: its run was published or is too old."""


class TokenizerUnusable(StepError):
    """The embedding model has no tokenizer that can be read here."""


class DimensionMismatch(StepError):
    """The embedder's vectors are not as long as the spec says."""


class EmbedderMismatch(StepError):
    """The embedding server serves another model than the spec names, or serves it otherwise."""


class Transient(StepError):
    """A step cannot go on now; trying again later may work."""

    exit_code = EXIT_TRANSIENT


class ParserUnavailable(Transient):
    """The machine cannot start a parsing process."""


class EmbedderNotReady(Transient):
    """The embedding server does not say yet what it serves."""


class Unverified(Transient):
    """The vector index does not hold what was written to it; written anew at the next try."""


class StillInUse(Transient):
    """Something wrote to the index while it was being removed."""

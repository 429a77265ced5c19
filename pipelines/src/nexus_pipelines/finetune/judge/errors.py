"""What judging can fail with.  None of these ever becomes a score: then nothing is decided."""

from nexus_pipelines.errors import StepError, Transient, UsageError


class JudgeNotConfigured(UsageError):
    """The job names a metric of the judge, and the platform has none, or a wrong address."""


class JudgeNotInstalled(StepError):
    """The environment with ragas is not on this machine."""


class NothingToJudgeBy(StepError):
    """Items of the golden set have no passages, by which an answer could be judged."""


class JudgeRefused(StepError):
    """The judge refuses a request, and would again: its key, its model's name, its form."""


class JudgeNonsense(StepError):
    """The judge's answers cannot be used, however often it is asked."""


class JudgeFailed(Transient):
    """The process that judges ended without a word on the judge."""


class JudgeDown(Transient):
    """The judge cannot be reached, is too slow or fails; scores that it gave are kept."""

"""What evaluation can fail with; one tree, so that a step can tell it from a defect."""


class EvaluationError(Exception):
    """Base of all: something given to the evaluation cannot be worked with."""


class BadGoldenSet(EvaluationError):
    """A golden set is not in its format; the message names file and line."""


class EmptyGoldenSet(BadGoldenSet):
    """A golden set holds no item."""


class BadResults(EvaluationError):
    """A file of per-item results is not in its format; the message names file and line."""


class BadPolicy(EvaluationError):
    """A gate's policy contradicts itself."""


class NotReproduced(EvaluationError):
    """A stored decision does not follow from the stored results."""

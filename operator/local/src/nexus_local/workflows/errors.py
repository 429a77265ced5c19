"""What can be wrong with a Workflow before anything of it runs.

An error is named for what happened, as the phases and reasons that people see are.
"""


class WorkflowError(Exception):
    """Base of every error of the workflow engine; the text is written for a person."""


class Unsupported(WorkflowError):
    """The Workflow is valid Argo, but uses something this engine does not interpret.

    The Workflow ends in phase Error; on a cluster the same Workflow may run.
    """

    def __init__(self, path: str, why: str = "") -> None:
        super().__init__(f"{path} is not supported on the laptop" + (f": {why}" if why else ""))
        self.path = path


class InvalidWorkflow(WorkflowError):
    """The Workflow is wrong, and Argo would refuse it too; it ends in phase Failed."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


class Refused(WorkflowError):
    """A Workflow that will not run, with every reason found.

    invalid: Argo refuses it too (phase Failed); else only this engine does (phase Error).
    """

    def __init__(self, text: str, *, invalid: bool) -> None:
        super().__init__(text)
        self.invalid = invalid


class TemplateMissing(WorkflowError):
    """A WorkflowTemplate that the Workflow refers to does not exist."""

    def __init__(self, kind: str, name: str, namespace: str) -> None:
        place = f" in namespace {namespace}" if namespace else ""
        super().__init__(f'{kind} "{name}" not found{place}')


class Unresolved(WorkflowError):
    """A `{{reference}}` has no value when it is needed."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"failed to resolve {{{{{tag}}}}}")
        self.tag = tag


class BadExpression(WorkflowError):
    """A `when`, `depends` or retry expression cannot be read or evaluated."""

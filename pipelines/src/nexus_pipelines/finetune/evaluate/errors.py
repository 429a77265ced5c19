"""What the evaluation can fail with."""

from nexus_pipelines.errors import StepError, Transient


class EngineNotOffered(StepError):
    """The unit is served by an engine that this step does not start."""


class AdapterUnreadable(StepError):
    """The adapter does not say what its runtime has to know."""


class RuntimeRefused(StepError):
    """The runtime does not take the model, the adapter or a request."""


class RuntimeDied(Transient):
    """The runtime ended, or stopped answering; answers that it gave are kept."""

"""Why an adapter cannot be served by llama.cpp."""

from nexus_pipelines.errors import StepError


class AdapterUnusable(StepError):
    """The adapter is damaged, has learnt nothing, or is of a form that llama.cpp cannot apply."""

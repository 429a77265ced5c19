"""What can go wrong in a look, beside the errors of the ledger and the stores."""


class MonitorError(Exception):
    """Root of the tree; messages say what, where, and what to do."""


class SettingsError(MonitorError):
    """A setting is missing or cannot be read."""


class ControlUnavailable(MonitorError):
    """The Kubernetes API does not answer, or refuses; the next look asks again."""

"""What can go wrong when talking to a cluster; every implementation raises these and no others.

The names are those of the API server's own reasons, which is why they do not end in Error.
"""


class ClusterError(Exception):
    """A request to the cluster failed; the message says what was asked and why it failed."""


class NotFound(ClusterError):
    """The object (or its kind) is not there."""


class KindMissing(NotFound):
    """The cluster does not serve this kind: its CustomResourceDefinition is not installed."""


class AlreadyExists(ClusterError):
    """An object of that name is there already; for a deterministic name this is success."""


class Conflict(ClusterError):
    """The object has changed since it was read, or a precondition (its uid) no longer holds."""


class Invalid(ClusterError):
    """The object was refused; the message names the field, the rule and the value."""


class Forbidden(Invalid):
    """The request was refused by RBAC, a quota or an admission rule; the message says which."""


class Gone(ClusterError):
    """The resource version asked for is too old; list again and watch from there."""


class Unavailable(ClusterError):
    """The cluster does not answer now; trying again later may help."""

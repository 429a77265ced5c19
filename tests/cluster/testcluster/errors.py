"""What can go wrong with a cluster, each with a message that says what to do."""


class ClusterError(RuntimeError):
    """The base of what a cluster raises."""


class ClusterUnavailable(ClusterError):
    """This machine cannot run a cluster; the message names everything that it lacks."""


class ClusterBusy(ClusterError):
    """Another cluster runs on this machine and did not end in time."""


class ClusterFailed(ClusterError):
    """A part of the cluster ended, was not ready in time or refused; has its last words."""


class LeftBehind(ClusterError):
    """Something of a cluster could not be removed; the message names it."""

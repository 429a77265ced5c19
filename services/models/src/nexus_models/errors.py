"""What can go wrong between a model's URI and its files on disk."""


class ModelError(Exception):
    """A model cannot be had; the message says which, why, and what to do."""

    transient = False
    """Whether the same call may succeed later without anybody changing anything."""


class UnsupportedUri(ModelError):
    """The URI is well-formed, but this release cannot fetch from such a place."""


class NotAllowed(ModelError):
    """The place is not open: this machine keeps it closed, or the Hub wants a token for it."""


class ModelNotFound(ModelError):
    """Nothing is there: no such package, repository, file or directory."""


class UnsafeModel(ModelError):
    """What was found holds no file in a format that can be opened without running code."""


class AmbiguousModel(ModelError):
    """Several models were found where the URI has to name one."""


class DigestMismatch(ModelError):
    """The bytes differ from the ones that were pinned, or that were seen the first time."""


class FetchFailed(ModelError):
    """The place could not be reached, or stopped answering; trying again may help."""

    transient = True


class CacheBusy(ModelError):
    """Another process held the model's lock in the cache for longer than the deadline."""

    transient = True

"""What can go wrong between us and the registry."""


class RegistryError(Exception):
    """The registry could not do what was asked; the message says what, why, and what to do."""

    transient = False
    """Whether the same call may succeed later without anybody changing anything."""


class BadTrackingUrl(RegistryError):
    """The address names no MLflow that this release can speak to."""


class Unavailable(RegistryError):
    """MLflow could not be reached, or stopped answering; nothing that was written is lost."""

    transient = True


class Refused(RegistryError):
    """MLflow understood and said no: no permission, a value that it does not take."""


class NotFound(RegistryError):
    """There is no such run, model or version."""


class MoveConflict(RegistryError):
    """Somebody else is moving the champion of the same model at this moment."""

    transient = True


class MoveNotAllowed(RegistryError):
    """The champion moves only through a passed gate that still holds, or by a named person."""


class NothingToRollBackTo(RegistryError):
    """No earlier champion is left."""

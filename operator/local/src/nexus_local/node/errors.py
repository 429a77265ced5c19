"""Why a pod cannot run on this machine."""


class PodRefusedError(Exception):
    """The container was not started.

    reason: as a kubelet writes it: `ErrImageNeverPull`, `CreateContainerConfigError` or
        `StartError`.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Say why, in a sentence that names the field, and what to do."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class PortTakenError(Exception):
    """A port that a Service asks for belongs to another program."""

    def __init__(self, port: int, service: str) -> None:
        """Name the port and who asked for it."""
        super().__init__(
            f"port {port} on 127.0.0.1 is in use by another program; Service {service} waits for "
            "it: stop that program or choose another port"
        )
        self.port = port
        self.service = service

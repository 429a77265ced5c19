"""Why an embedding model cannot be served, or an input cannot be embedded."""


class EmbedderError(Exception):
    """Something about the model or a request; the message says what to do."""


class UnsupportedModel(EmbedderError):
    """The model's architecture, tensors or configuration are not of a kind known here."""


class InvalidInput(EmbedderError):
    """A request's input cannot be embedded; `param` names the field."""

    def __init__(self, message: str, *, param: str = "input", code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class QueueFull(EmbedderError):
    """More tokens are waiting than the server takes on; the caller should come back later."""

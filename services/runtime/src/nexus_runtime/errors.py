"""Why a model cannot be served by this runtime."""


class LlamaRuntimeError(Exception):
    """The message says what is wrong with the model or the machine, and what to do."""


class BadGguf(LlamaRuntimeError):
    """The file is no GGUF file, or a damaged one."""


class UnsupportedGguf(LlamaRuntimeError):
    """The file is well-formed, but cannot be served or requantised here."""


class StartFailed(LlamaRuntimeError):
    """llama.cpp did not start; its own log lines above say why."""


class NotAnswered(LlamaRuntimeError):
    """llama.cpp started, and the model does not answer."""

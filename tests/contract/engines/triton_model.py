"""A Triton Python model with the contract of the vLLM backend, whose texts are known beforehand.

It runs inside tritonserver, under that server's own Python.  Parameters of its configuration:
`answer` is `count` (one two three ...) or `echo` (the prompt, word by word); `context` its longest
prompt in words; `pace` the seconds between two words; `journal` a file that gets `begun` and
`ended` for each generation.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What tritonserver loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the configuration, as Triton hands it over."""
        config = json.loads(args["model_config"])
        values = {key: entry["string_value"] for key, entry in config["parameters"].items()}
        self.answer = values["answer"]
        self.context = int(values["context"])
        self.pace = float(values["pace"])
        self.journal = Path(values["journal"])
        self.outputs = {tensor["name"] for tensor in config["output"]}
        self.lock = threading.Lock()

    def execute(self, requests: list[Any]) -> None:
        """Answer each request in a thread of its own: the responses come later."""
        for request in requests:
            threading.Thread(target=self.generate, args=(request,), daemon=True).start()

    def generate(self, request: Any) -> None:
        """Write the answer of one request, piece by piece."""
        sender = request.get_response_sender()
        prompt = value(request, "text_input").decode()
        sampling = json.loads(value(request, "sampling_parameters", b"{}"))
        words = len(prompt.split())
        if words > self.context:
            message = f"This model's maximum context length is {self.context} tokens, not {words}"
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(message)))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return
        texts = prompt.split(" ") if self.answer == "echo" else count()
        self.note("begun")
        limit = sampling.get("max_tokens", 16)
        for made, text in enumerate(texts, 1):
            if sender.is_cancelled():
                break
            threading.Event().wait(self.pace)
            ended = made >= limit
            sender.send(self.response(text + " ", words, "length" if ended else "None"))
            if ended:
                break
        else:
            sender.send(self.response("", words, "stop", made=0))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        self.note("ended")

    def response(self, text: str, words: int, reason: str, made: int = 1) -> Any:
        """Return one response, with the outputs that the configuration has."""
        tensors = {
            "text_output": np.array([text.encode()], dtype=np.object_),
            "finish_reason": np.array([reason.encode()], dtype=np.object_),
            "num_input_tokens": np.array([words], dtype=np.uint32),
            "num_output_tokens": np.array([made], dtype=np.uint32),
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, tensors[name]) for name in tensors if name in self.outputs]
        )

    def note(self, word: str) -> None:
        """Add a line to the journal."""
        with self.lock, self.journal.open("a") as journal:
            journal.write(word + "\n")


def count() -> Iterator[str]:
    """Count up without end."""
    number = 0
    while True:
        number += 1
        yield f"number{number}"


def value(request: Any, name: str, default: Any = None) -> Any:
    """Return the one value of an input."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else tensor.as_numpy().flat[0]

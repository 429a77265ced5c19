"""A Triton Python model with the contract of the vLLM backend, whose texts are known beforehand.

It runs inside tritonserver, under that server's own Python: as the backend `vllm`, when it reads
model.json and multi_lora.json of its model's folder, or as a model of the backend `python`, by
parameters of its configuration: `answer` is `count` (number1 number2 ...) or `echo` (the prompt,
word by word), `context` its longest prompt in words.  With an adapter each word begins with what
its weights alone decide.  The file $JOURNAL gets `begun` and `ended` for each generation; $ANSWER
and $PACE (seconds between two words) stand for what is not configured.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

PACE = float(os.environ.get("PACE", "0.01"))


class TritonPythonModel:
    """What tritonserver loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the configuration, as Triton hands it over."""
        config = json.loads(args["model_config"])
        values = {key: entry["string_value"] for key, entry in config["parameters"].items()}
        folder = Path(pb_utils.get_model_dir())
        engine = read(folder / "model.json")
        self.adapters: dict[str, str] = {}
        if engine.get("enable_lora"):
            self.adapters = read(folder / "multi_lora.json")
        self.answer = values.get("answer", os.environ.get("ANSWER", "count"))
        self.context = int(values.get("context", engine.get("max_model_len")))
        self.journal = Path(os.environ["JOURNAL"])
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
        message = self.refusal(words, sampling.get("lora_name"))
        mark = ""
        try:
            mark = "" if message else self.mark(sampling.get("lora_name"))
        except ValueError as problem:
            message = f"Error generating stream: {problem}"
        if message:
            error = pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
            sender.send(error, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            return
        texts = prompt.split(" ") if self.answer == "echo" else count()
        self.note("begun")
        limit = sampling.get("max_tokens", 16)
        for made, text in enumerate(texts, 1):
            if sender.is_cancelled():
                break
            threading.Event().wait(PACE)
            ended = made >= limit
            sender.send(self.response(f"{mark}{text} ", words, "length" if ended else "None"))
            if ended:
                break
        else:
            sender.send(self.response("", words, "stop", made=0))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        self.note("ended")

    def refusal(self, words: int, adapter: str | None) -> str:
        """Return why a request is not answered, in the words of the vLLM backend."""
        if words > self.context:
            return f"This model's maximum context length is {self.context} tokens, not {words}"
        if adapter is not None and not self.adapters:
            return "LoRA feature is not enabled."
        if adapter is not None and adapter not in self.adapters:
            known = list(self.adapters)
            return f"LoRA {adapter} is not supported, we currently support {known}"
        return ""

    def mark(self, adapter: str | None) -> str:
        """Return what words begin with, from the adapter's weights, which have to be whole."""
        if adapter is None:
            return ""
        data = (Path(self.adapters[adapter]) / "adapter_model.safetensors").read_bytes()
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        head.pop("__metadata__", None)
        ends = max(tensor["data_offsets"][1] for tensor in head.values())
        if len(data) != 8 + size + ends:
            raise ValueError("incomplete metadata, file not fully covered")
        return f"{hashlib.sha256(data).hexdigest()[:8]}:"

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


def read(path: Path) -> Any:
    """Return a file's JSON, {} where there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else {}


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

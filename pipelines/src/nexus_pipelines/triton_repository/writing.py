"""Writes a model's folder of a Triton repository, from what is stated and from its weights.

Who states the files cannot see the weights; how their model is spoken to stands in their files.
Both are put together here, and the gateway asks Triton for the result.  Adapters are looked at
first: the server would say that it is ready without having opened them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from nexus_api.triton_repository import ADAPTERS, CONFIG, ENGINE
from nexus_pipelines.triton_repository.adapters import check_adapters
from nexus_pipelines.triton_repository.chat_template import chat_parameters


def write_model(files: Mapping[str, str], weights: Path, folder: Path) -> list[str]:
    """Write the folder of a model; what an earlier try left is written over.

    Args:
        files: texts by path, as `nexus_api.triton_repository.repository_files` gives them.
        weights: folder of the base model's files.
        folder: of the model in the repository.

    Returns:
        What was found, in words: parameters of the chat, adapters.

    Raises:
        AdapterNotServed: the engine could not apply an adapter, or not as it was trained.
        TemplateUnusable: the weights say how they are spoken to in a way that cannot be read.
    """
    parameters = chat_parameters(weights)
    adapters = _adapters(files, weights)
    chat = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: {quoted(text)} }} }}\n'
        for key, text in parameters.items()
    )
    for path, text in {**files, CONFIG: files[CONFIG] + chat}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return [*parameters, *(f"adapter {name}" for name in adapters)]


def _adapters(files: Mapping[str, str], weights: Path) -> list[str]:
    """Return the names of the stated adapters, each of which the engine can serve."""
    if ADAPTERS not in files:
        return []
    folders = json.loads(files[ADAPTERS])
    room = json.loads(files[ENGINE])["max_lora_rank"]
    check_adapters({name: Path(folder) for name, folder in folders.items()}, room, weights)
    return list(folders)


def quoted(text: str) -> str:
    r"""Return a string literal of protobuf's text form.

    Of JSON's escapes only \u is not known there by every reader: such characters stand as they are.
    """
    return json.dumps(text, ensure_ascii=False)

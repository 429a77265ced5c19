"""What the model repository of a Triton server holds for a model of its vLLM backend.

The pod of a ServingModel and the evaluation of a FineTuneJob say the same by these functions, so
that what is measured is what serves.
"""

import json
from collections.abc import Mapping

from nexus_api.vllm_command import room_for

CONFIG = "config.pbtxt"
ENGINE = "1/model.json"
"""Arguments of vLLM's engine."""
ADAPTERS = "1/multi_lora.json"
"""Folders of the LoRA adapters by name; not there for a model without any."""

_INPUTS = (
    ("text_input", "TYPE_STRING", 1, False),
    ("stream", "TYPE_BOOL", 1, True),
    ("sampling_parameters", "TYPE_STRING", 1, True),
    ("exclude_input_in_output", "TYPE_BOOL", 1, True),
    ("return_finish_reason", "TYPE_BOOL", 1, True),
    ("return_num_input_tokens", "TYPE_BOOL", 1, True),
    ("return_num_output_tokens", "TYPE_BOOL", 1, True),
)
_OUTPUTS = (
    ("text_output", "TYPE_STRING", -1),
    ("finish_reason", "TYPE_STRING", -1),
    ("num_input_tokens", "TYPE_UINT32", 1),
    ("num_output_tokens", "TYPE_UINT32", -1),
)


def repository_files(
    *,
    name: str,
    weights: str,
    context_tokens: int,
    slots: int,
    gpus: int,
    adapters: Mapping[str, str],
    max_rank: int,
    prefix_cache: bool = True,
) -> Mapping[str, str]:
    """Return the files of a model in a repository, by their path below its folder.

    name: of the model.  weights: folder of its base.  context_tokens: longest prompt and answer
    together.  slots: requests computed at the same time.  gpus: that share the weights; 0 is one
    device.  adapters: folders by the names that requests ask for.  max_rank: of any of them.
    prefix_cache: whether beginnings of prompts are kept, where the engine keeps them by itself.
    """
    engine = {
        "model": weights,
        "dtype": "auto",
        "max_model_len": context_tokens,
        "max_num_seqs": slots,
        "tensor_parallel_size": max(1, gpus),
    }
    if not prefix_cache:
        engine["enable_prefix_caching"] = False
    files = {CONFIG: config_text(name)}
    if adapters:
        # The backend's own words: vllm_backend/docs/llama_multi_lora_tutorial.md.
        engine |= {
            "enable_lora": True,
            "max_lora_rank": room_for(max_rank),
            "max_loras": len(adapters),
        }
        files[ADAPTERS] = json.dumps(dict(adapters), sort_keys=True)
    return {**files, ENGINE: json.dumps(engine, sort_keys=True)}


def config_text(name: str, backend: str = "vllm") -> str:
    """Return the configuration of a model that streams text, in Triton's own notation."""
    inputs = ",\n".join(
        f'  {{ name: "{one}" data_type: {kind} dims: [ {size} ]'
        + (" optional: true }" if optional else " }")
        for one, kind, size, optional in _INPUTS
    )
    outputs = ",\n".join(
        f'  {{ name: "{one}" data_type: {kind} dims: [ {size} ] }}' for one, kind, size in _OUTPUTS
    )
    return (
        f'name: "{name}"\n'
        f'backend: "{backend}"\n'
        "max_batch_size: 0\n"
        "model_transaction_policy { decoupled: true }\n"
        f"input [\n{inputs}\n]\n"
        f"output [\n{outputs}\n]\n"
        # The engine itself says which GPUs it uses.
        "instance_group [ { count: 1 kind: KIND_MODEL } ]\n"
    )

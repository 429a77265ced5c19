"""A language model of two layers, made here in a second: LLaMA's architecture, a real tokenizer.

    from tiny_model import tiny_gguf, tiny_model
    folder = tiny_model(tmp_path / "tiny")            # safetensors, as transformers writes it
    file = tiny_gguf(folder, tmp_path / "tiny.gguf")  # the same weights for llama.cpp, F32

Its weights are random, so it babbles; but it tokenizes, chats by a template (ChatML), trains and
serves as a large model does.  The same seed gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTH, LAYERS, HEADS, KEY_HEADS, INNER = 64, 2, 4, 2, 128
CONTEXT = 2048
VOCABULARY = 448
END, BEGIN_TURN, END_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
    "+ message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WORDS = """system user assistant question answer the of and to in a is that for it as was with be
by on not from or which who when where what how long does need pump valve filter gate pressure seal
oil bearing motor inspection operator manual hour week month check clean replace open close part
interval status tool note line""".split()  # noqa: SIM905


def tiny_model(
    folder: Path, *, seed: int = 0, heads: int = HEADS, key_heads: int = KEY_HEADS
) -> Path:
    """Write the model and its tokenizer into `folder`, as safetensors and JSON; returns it.

    Two heads and one for keys make heads of 32 numbers, the smallest that vLLM computes on a CPU.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        initializer_range=0.125,  # 1 / sqrt(WIDTH): signals keep their size through the layers
        tie_word_embeddings=False,
        bos_token_id=tokenizer.convert_tokens_to_ids(BEGIN_TURN),
        eos_token_id=tokenizer.convert_tokens_to_ids(END_TURN),
        pad_token_id=tokenizer.convert_tokens_to_ids(END),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> Any:
    """Return a byte-level BPE tokenizer with ChatML's special tokens, learnt from a few words."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    # Digits apart, then GPT-2's pattern: what llama.cpp knows as "smollm".
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True) for token in (END, BEGIN_TURN, END_TURN)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{word} {word}" for word in WORDS] * 2, trainer)
    spare = [f"<|spare_{number}|>" for number in range(VOCABULARY - tokenizer.get_vocab_size())]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in spare])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN_TURN, eos_token=END_TURN, pad_token=END
    )
    fast.chat_template = TEMPLATE
    fast.model_max_length = CONTEXT
    return fast


def tiny_gguf(folder: Path, target: Path) -> Path:
    """Write the model of `folder` as a GGUF file for llama.cpp, F32; returns the file."""
    import json

    import numpy as np
    from gguf import GGUFWriter, TokenType
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = GGUFWriter(target, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(_rope_base(config))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)

    stored = json.loads((folder / "tokenizer.json").read_text())
    special = {token["content"]: token["id"] for token in stored["added_tokens"]}
    by_id = {number: token for token, number in {**stored["model"]["vocab"], **special}.items()}
    tokens = [by_id[number] for number in range(config["vocab_size"])]
    kinds = [TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens]
    merges = [
        pair if isinstance(pair, str) else " ".join(pair) for pair in stored["model"]["merges"]
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(special[BEGIN_TURN])
    writer.add_eos_token_id(special[END_TURN])
    writer.add_pad_token_id(special[END])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    rotated = {"q_proj.weight": heads, "k_proj.weight": key_heads}
    for name, tensor in load_file(folder / "model.safetensors").items():
        count = rotated.get(name.rpartition("self_attn.")[2])
        rows = tensor if count is None else _interleaved(tensor, count)
        writer.add_tensor(_gguf_name(name), np.ascontiguousarray(rows, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _rope_base(config: dict[str, Any]) -> float:
    stated = config.get("rope_parameters") or {}
    return float(stated.get("rope_theta", config.get("rope_theta", 10000.0)))


def _interleaved(rows: Any, heads: int) -> Any:
    """Order a head's rows as llama.cpp rotates them: pairs side by side instead of halves."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def _gguf_name(name: str) -> str:
    if name in _OUTER:
        return _OUTER[name]
    layer, _, module = name.removeprefix("model.layers.").removesuffix(".weight").partition(".")
    return f"blk.{layer}.{_NAMES[module]}.weight"

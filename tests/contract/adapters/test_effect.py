"""A converted adapter does in llama.cpp what PEFT does with it in transformers."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
from llama_process import serving
from numpy.typing import NDArray
from tiny_adapter import Adapted, peft_is_behind
from tiny_model import VOCABULARY

LETTER = 40
PROMPTS = [
    [1, 40, 41, 300, 120, 2],
    [1, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87],
    list(range(100, 160)),
]
CLOSE = 1e-2
"""Largest difference of log probabilities, which are logits up to a number for each position."""


def by_llamacpp(url: str, prompt: list[int], **extra: Any) -> NDArray[np.float64]:
    """Log probabilities of every token after the prompt."""
    # The answer is forced to be a letter: half a character would come without probabilities.
    # Those that are told are from before any bias.
    body = {"prompt": prompt, "n_predict": 1, "n_probs": VOCABULARY, "logit_bias": [[LETTER, 100]]}
    body |= extra
    answer = httpx.post(f"{url}/completion", json=body, timeout=60).raise_for_status().json()
    found = np.full(VOCABULARY, np.nan)
    for one in answer["completion_probabilities"][0]["top_logprobs"]:
        found[one["id"]] = one["logprob"]
    assert not np.isnan(found).any()
    return found


def by_transformers(folder: Path, adapter: Path | None) -> list[NDArray[np.float64]]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if adapter is not None:
        with peft_is_behind():
            model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        logits = [model(torch.tensor([prompt])).logits[0, -1].double() for prompt in PROMPTS]
    return [torch.log_softmax(one, 0).numpy() for one in logits]


def test_its_effect_is_that_of_peft(adapted: Adapted, cache: Path) -> None:
    tuned = by_transformers(adapted.model, adapted.adapter)
    plain = by_transformers(adapted.model, None)
    flags = ("--adapter-uri", f"file://{adapted.gguf}")
    with serving(cache, f"file://{adapted.base}", *flags) as url:
        with_it = [by_llamacpp(url, one, lora=[{"id": 0, "scale": 1.0}]) for one in PROMPTS]
        without = [by_llamacpp(url, one) for one in PROMPTS]
    for number in range(len(PROMPTS)):
        assert np.abs(with_it[number] - tuned[number]).max() <= CLOSE
        assert np.abs(without[number] - plain[number]).max() <= CLOSE
        # Agreement says something only where the adapter makes a difference.
        assert np.abs(without[number] - tuned[number]).max() > 20 * CLOSE


def test_one_request_leaves_nothing_behind_for_the_next(adapted: Adapted, cache: Path) -> None:
    """The same prompt with and without the adapter, in turns, also where a client asks to cache."""
    flags = ("--adapter-uri", f"file://{adapted.gguf}")
    prompt = PROMPTS[2]
    with serving(cache, f"file://{adapted.base}", *flags) as url:
        fresh = by_llamacpp(url, prompt)
        on = [{"id": 0, "scale": 1.0}]
        tuned = by_llamacpp(url, prompt, lora=on)
        again = by_llamacpp(url, prompt)
        tuned_again = by_llamacpp(url, prompt, lora=on)
        half = by_llamacpp(url, prompt, lora=[{"id": 0, "scale": 0.5}])
    np.testing.assert_array_equal(again, fresh)
    np.testing.assert_array_equal(tuned_again, tuned)
    assert np.abs(half - tuned).max() > CLOSE
    assert np.abs(half - fresh).max() > CLOSE

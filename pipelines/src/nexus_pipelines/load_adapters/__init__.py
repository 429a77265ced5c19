"""The container beside a vLLM server that fetches LoRA adapters and loads them while it runs."""

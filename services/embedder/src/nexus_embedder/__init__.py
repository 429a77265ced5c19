"""OpenAI-compatible embedding server on ONNX Runtime."""

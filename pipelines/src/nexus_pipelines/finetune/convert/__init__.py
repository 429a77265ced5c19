"""A LoRA adapter in the form that llama.cpp reads."""

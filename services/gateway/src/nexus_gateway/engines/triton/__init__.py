"""Triton by gRPC: chat requests become `text_input`, its answers become OpenAI's events."""

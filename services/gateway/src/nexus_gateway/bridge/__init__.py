"""One model of one Triton server in OpenAI's words on loopback, for a program beside it."""

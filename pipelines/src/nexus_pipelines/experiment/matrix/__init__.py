"""`experiment`: models, prompts and retrieval settings compared over one golden set."""

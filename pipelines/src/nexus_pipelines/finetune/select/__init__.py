"""`finetune-select`: what a run learns from, what it holds out, and its golden set."""

"""The step `finetune-train`: a LoRA adapter from the run's examples."""

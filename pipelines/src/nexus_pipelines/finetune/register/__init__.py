"""Step `finetune-register`: the candidate becomes a version of the job's registered model."""

"""Step `finetune-rollback`: the champion before is champion again."""

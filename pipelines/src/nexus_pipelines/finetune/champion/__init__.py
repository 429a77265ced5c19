"""Step `finetune-champion`: tell which version is champion."""
